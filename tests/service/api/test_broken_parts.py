"""What is broken costs what needs it, and is seen in readiness."""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from fastapi.testclient import TestClient
from zarr.storage import LocalStore

from service.app import create_app
from service.problems import Problem, decoding, is_out_of_descriptors, storing
from service.settings import Settings
from tests.service.conftest import call_in_loop, parts
from tests.service.orders import finish, order
from tests.service.wire import NPY, dataset, noise, npy, send
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from models.catalogue import Catalogue
    from tests.service.conftest import Serve

UPSCALE = "/v1/upscale?model=trilinear-x4"


def upscales(client: TestClient) -> bool:
    return client.post(UPSCALE, content=npy(noise(3, 4, 4, 4)), headers={"Content-Type": NPY}).is_success


@pytest.mark.parametrize("card", ["{", "[]", '{"name": "broken"}', "\x00"])
def test_a_broken_card_costs_its_model(serve: Serve, catalogue: Catalogue, tmp_path: Path, card: str) -> None:
    shutil.copytree(catalogue.folder, tmp_path / "weights")
    (tmp_path / "weights" / "broken").mkdir()
    (tmp_path / "weights" / "broken" / "card.json").write_text(card)
    client = serve(weights=tmp_path / "weights", data=tmp_path / "data")
    assert [each["name"] for each in client.get("/v1/models").json()["models"]] == catalogue.names()
    assert client.get("/v1/models/broken").status_code == 503
    wait_until(lambda: "its card cannot be read" in client.get("/health/ready").json()["failures"].get("broken", ""))
    assert "broken" not in client.get("/health/ready").json()["models"]
    assert upscales(client)


def test_a_forecasting_model_whose_card_cannot_be_read_is_named(
    serve: Serve, catalogue: Catalogue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(catalogue.folder, tmp_path / "weights")
    folder = tmp_path / "weights" / "forecast" / "broken"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text("{")
    client = serve(weights=tmp_path / "weights", data=tmp_path / "data")
    for _ in range(2):
        assert client.get("/v1/forecast/models").is_success
        ready = client.get("/health/ready").json()
        assert ready["status"] == "ready"
        assert "broken cannot be served: its card cannot be read" in ready["failures"]["broken"]
    assert caplog.text.count("broken cannot be served") == 1
    shutil.rmtree(folder)
    assert "broken" not in client.get("/health/ready").json()["failures"]


def test_a_model_that_breaks_after_the_start_is_named(
    serve: Serve, catalogue: Catalogue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(catalogue.folder, tmp_path / "weights")
    client = serve(weights=tmp_path / "weights", data=tmp_path / "data")
    wait_until(lambda: {*catalogue.names()} <= {*parts(client).engine.registry._models})
    (tmp_path / "weights" / "late").mkdir()
    (tmp_path / "weights" / "late" / "card.json").write_text("{")
    for _ in range(2):
        assert "late" not in {each["name"] for each in client.get("/v1/models").json()["models"]}
    assert "its card cannot be read" in client.get("/health/ready").json()["failures"]["late"]
    assert caplog.text.count("late cannot be served") == 1


def test_models_that_cannot_be_listed_are_tried_again(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> list[str]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("service.app.RETRY_S", 0.01)
    settings = Settings(weights=catalogue.folder, data=tmp_path, device="cpu", threads=1)
    with monkeypatch.context() as patch:
        patch.setattr("models.catalogue.Catalogue.names", fail)
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            wait_until(lambda: "cannot be listed" in client.get("/health/ready").json()["detail"])
            for path in ("/health/ready", "/v1/models", "/v1/models/trilinear-x4"):
                assert client.get(path).status_code == 503, path
            patch.undo()
            wait_until(lambda: client.get("/health/ready").is_success)
            assert upscales(client)


def test_a_broken_list_costs_the_jobs(serve: Serve, tmp_path: Path) -> None:
    client = serve(data=tmp_path)
    assert client.get("/health/ready").json()["jobs"] is None
    (tmp_path / "jobs.sqlite").write_bytes(b"no database" * 1000)
    wait_until(lambda: client.get("/health/ready").json()["jobs"] == "file is not a database")
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    body = {"source": "box", "target": "fine", "model": "trilinear-x4"}
    for answer in (client.get("/v1/jobs"), client.get("/v1/jobs/none"), client.post("/v1/jobs", json=body)):
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:eddylift:problem:jobs-unavailable"
    assert upscales(client)
    assert client.get("/v1/views/box/trilinear-x4/u/c/0/0/0").is_success
    assert "eddylift_ready 1.0" in client.get("/metrics").text
    assert client.delete("/v1/volumes/box").is_success


def test_a_job_waits_while_no_more_files_can_be_opened(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, tries = serve(data=tmp_path), iter(range(100))
    monkeypatch.setattr("service.jobs.runner.RETRY_S", 0.01)
    runner = parts(client).jobs.runner
    begin = runner._opener.storages.find

    def find(name: str) -> object:
        if name == "box" and next(tries) < 3:
            reason = OSError(errno.EMFILE, "Too many open files")
            raise Problem("malformed", "w is stored in chunks that do not decode") from reason
        return begin(name)

    send(client, "box", dataset(noise(3, 4, 4, 4)))
    monkeypatch.setattr(runner, "check", lambda _: ())
    monkeypatch.setattr(runner._opener.storages, "find", find)
    finish(client, order(client))
    assert next(tries) > 3


def test_where_an_error_comes_from_is_found() -> None:
    full, other = OSError(errno.ENFILE, "full"), OSError(errno.ENOSPC, "full")
    wrapped = ValueError()
    wrapped.__context__ = full
    assert is_out_of_descriptors(ExceptionGroup("", [other, wrapped]))
    assert not is_out_of_descriptors(ExceptionGroup("", [other]))
    assert not is_out_of_descriptors(None)


FAULTS = [(errno.EMFILE, "unready"), (errno.EIO, "not-stored"), (errno.EACCES, "not-stored"), (errno.ENOSPC, "no-room")]


@pytest.mark.parametrize(("number", "kind"), FAULTS)
@pytest.mark.parametrize("broken", ["w/c/0/0/0", "zarr.json", "folder"])
def test_a_fault_of_the_disk_is_no_fault_of_a_volume(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: str, broken: str
) -> None:
    client, get = serve(data=tmp_path), LocalStore.get
    path = "/v1/views/box/trilinear-x4/u/c/0/0/0"
    send(client, "box", dataset(noise(3, 4, 4, 4)))

    def fail(*_: object) -> NoReturn:
        raise OSError(number, "it says")

    async def read(self: LocalStore, key: str, *rest: object) -> object:
        return fail() if key == broken else await get(self, key, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "get", read)
        if broken == "folder":
            patch.setattr("service.volumes.content_tag._members", fail)
        answer = client.get(path)
    assert answer.json()["type"] == f"urn:eddylift:problem:{kind}"
    assert answer.status_code >= 500
    assert ("Retry-After" in answer.headers) == (kind == "unready")
    assert client.get(path).is_success


THEIRS = [OSError("torn"), TimeoutError(), ConnectionResetError(errno.ECONNRESET, "it says")]
SHORT = [*((OSError(number, "it says"), kind) for number, kind in FAULTS), (MemoryError(), "out-of-memory")]


@pytest.mark.parametrize(("cause", "kind"), [*SHORT, *((each, "malformed") for each in THEIRS)])
def test_errors_of_libraries_are_told_from_those_of_the_host(cause: Exception, kind: str) -> None:
    with pytest.raises(Problem) as caught, decoding(field="u", value="bytes", expected="a chunk"):
        raise RuntimeError from cause
    assert caught.value.kind == kind
    assert caught.value.detail.startswith("u")


def raising(error: Exception) -> Callable[..., NoReturn]:
    """A function that only raises this."""

    def fail(*_: object) -> NoReturn:
        raise error

    return fail


@pytest.mark.parametrize(("error", "kind"), SHORT)
def test_a_fault_of_the_host_is_answered_as_one_wherever_it_is(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    client = serve(data=tmp_path)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    asked: dict[str, Callable[[], Any]] = {
        "service.volumes.uploads.UploadStore.names": lambda: client.get("/v1/volumes"),
        "service.api.routes.volumes.answer_file": lambda: client.get("/v1/volumes/box/zarr.json"),
        "service.volumes.chunk_cache.DiskCache.get": lambda: client.get("/v1/views/box/trilinear-x4/u/c/0/0/0"),
        "service.formats.volume._read_array": lambda: client.post(
            UPSCALE, content=npy(noise(3, 4, 4, 4)), headers={"Content-Type": NPY}
        ),
        "starlette.requests.Request.body": lambda: client.post("/v1/jobs", json={}),
    }
    for part, ask in asked.items():
        with monkeypatch.context() as patch:
            patch.setattr(part, raising(error))
            answer = ask()
        assert (part, answer.json()["type"]) == (part, f"urn:eddylift:problem:{kind}")
        assert answer.status_code >= 500
        assert ("Retry-After" in answer.headers) == (answer.status_code == 503)


@pytest.mark.parametrize(("error", "kind"), [SHORT[-1], SHORT[-2]])
def test_a_fault_of_the_host_is_named_by_the_job_that_it_ends(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    client = serve(data=tmp_path)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    monkeypatch.setattr("service.jobs.executor.LocalExecutor.fill", raising(error))
    assert "the job cannot go on" in finish(client, order(client), "failed")["detail"]
    assert f'eddylift_job_failures_total{{kind="{kind}"}} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, "no-room"),
        (errno.EDQUOT, "no-room"),
        (errno.EACCES, "not-stored"),
        (errno.EROFS, "not-stored"),
        (errno.EMFILE, "unready"),
    ],
)
def test_what_a_disk_refuses_is_named(number: int, kind: str) -> None:
    with pytest.raises(Problem, match="box cannot be written") as caught, storing("box"):
        raise OSError(number, "no")
    assert caught.value.kind == kind


def test_series_of_alerts_are_there_before_the_first_of_their_kind(client: TestClient) -> None:
    samples = client.get("/metrics").text
    assert 'eddylift_errors_total{kind="no-room"}' in samples
    assert 'eddylift_job_failures_total{kind="no-room"} 0.0' in samples


def test_jobs_that_wait_are_limited(serve: Serve, tmp_path: Path) -> None:
    client = serve(data=tmp_path, max_queued_jobs=1)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    slots = parts(client).jobs.runner._slots
    call_in_loop(client, slots.acquire)
    job = order(client)
    refused = client.post("/v1/jobs", json={"source": "box", "target": "other", "model": "trilinear-x4"})
    assert refused.status_code == 429
    slots.release()
    finish(client, job)
    finish(client, order(client, target="other"))


def test_those_who_watch_a_job_are_limited_and_hold_no_turn(serve: Serve, tmp_path: Path) -> None:
    client = serve(data=tmp_path, max_event_streams=1, max_client_requests=1)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    slots = parts(client).jobs.runner._slots
    call_in_loop(client, slots.acquire)
    job = order(client)
    services = parts(client)
    with services.streams.take("somebody"):
        assert client.get(f"/v1/jobs/{job}/events").status_code == 429
    slots.release()
    finish(client, job)
    assert client.get(f"/v1/jobs/{job}/events").is_success
    assert services.streams.taken == 0
