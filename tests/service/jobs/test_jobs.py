"""A job makes the volume that a request is answered, whatever happens in between, and computes nothing twice."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from service.jobs.checks import open_view
from service.jobs.dask_worker import Task, Worker, fill_blocks
from service.jobs.executor import is_stored
from service.jobs.spec import JobSpec
from service.problems import Problem
from service.volumes.blocks import BlockComputer
from service.volumes.files import write_whole
from service.volumes.view import BlockIndex
from tests.service.conftest import parts
from tests.service.orders import LEARNED, ORDER, THREE, Gate, fine, finish, look, order, wait_until_cancelled, wanted
from tests.service.wire import dataset, noise, post, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue

    Serve = Callable[..., TestClient]


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> TestClient:
    return serve(data=tmp_path / "data", block=4)


@pytest.mark.parametrize("boundary", ["periodic", "periodic,wall,open"])
def test_a_job_makes_what_a_request_is_answered(
    client: TestClient, catalogue: Catalogue, tmp_path: Path, boundary: str
) -> None:
    velocity = noise(3, 5, 8, 9)
    send(client, "box", dataset(velocity).assign_attrs(boundary=boundary))
    done = finish(client, order(client))
    assert (done["blocks"], done["blocks_done"], done["detail"]) == (2 * 2 * 3, 12, None)
    assert np.array_equal(fine(tmp_path), wanted(catalogue, velocity, boundary))
    told = client.get("/v1/volumes/fine").json()
    assert (told["cells"], told["problem"]) == ([20, 32, 36], None)
    # What a job made is a volume like any other.
    assert client.get(f"/v1/views/fine/{LEARNED}/zarr.json").status_code == 200


def test_times_and_frames(client: TestClient, catalogue: Catalogue, tmp_path: Path) -> None:
    velocity = noise(4, 3, 4, 5, 6)
    send(client, "box", dataset(velocity))
    assert finish(client, order(client))["blocks"] == 4 * 4
    finish(client, order(client, target="three", model=THREE))
    every, three = fine(tmp_path), fine(tmp_path, "three")
    for level in range(4):
        assert np.array_equal(every[:, level], wanted(catalogue, velocity[level]))
    for level in range(2):
        assert np.array_equal(three[:, level], wanted(catalogue, velocity[level : level + 3], model=THREE))


def test_cancelling_stops_and_resuming_goes_on(
    client: TestClient, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    velocity = noise(3, 8, 8, 16)
    send(client, "box", dataset(velocity))
    gate = Gate(client, monkeypatch, 5)
    job = order(client)
    wait_until(lambda: look(client, job)["blocks_done"] >= 3)
    running = look(client, job)
    assert running["state"] == "running"
    assert running["voxels_per_second"] > 0
    assert running["seconds_left"] > 0
    for method, path in (("DELETE", "box"), ("PUT", "box/u/c/0/0/0"), ("DELETE", "fine"), ("DELETE", "fine/zarr.json")):
        assert client.request(method, f"/v1/volumes/{path}").status_code == 409
    busy = client.post("/v1/jobs", json=ORDER)
    assert (busy.status_code, busy.json()["detail"]) == (409, "another job uses fine")
    assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    stopped = parts(client).jobs.runner.executor.computed
    gate.open.set()
    assert post(client, velocity, LEARNED).is_success  # the device has gone on since
    assert parts(client).jobs.runner.executor.computed == stopped < 16
    assert client.post(f"/v1/jobs/{job}/resume").status_code == 202
    finish(client, job)
    assert parts(client).jobs.runner.executor.computed == 16
    assert np.array_equal(fine(tmp_path), wanted(catalogue, velocity))
    again = order(client)  # everything is there
    assert finish(client, again)["blocks_done"] == 16
    assert parts(client).jobs.runner.executor.computed == 16


def test_events_tell_until_the_end(client: TestClient) -> None:
    send(client, "box", dataset(noise(3, 8, 8, 8)))
    job = order(client)
    with client.stream("GET", f"/v1/jobs/{job}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line.startswith("data:")]
    events = [json.loads(line.removeprefix("data:")) for line in lines]
    assert events[-1]["state"] == "done"
    assert events[-1]["blocks_done"] == 8
    done = [event["blocks_done"] for event in events]
    assert done == sorted(done)


def test_jobs_wait_for_each_other_and_are_listed(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    gate = Gate(client, monkeypatch, 0)
    first, second = order(client), order(client, target="other")
    wait_until(lambda: look(client, first)["state"] == "running")
    assert look(client, second)["state"] == "queued"
    assert [job["id"] for job in client.get("/v1/jobs").json()["jobs"]] == [second, first]
    assert client.post(f"/v1/jobs/{second}/cancel").json()["state"] == "cancelled"
    gate.open.set()
    finish(client, first)


@pytest.mark.parametrize(
    ("changes", "status", "detail"),
    [
        ({"source": "nothing"}, 404, "there is no volume nothing"),
        ({"model": "nothing"}, 404, "there is no model"),
        ({"target": "box"}, 422, "expected another volume than the source"),
        ({"target": "../box"}, 422, "expected up to 100 letters"),
        ({"target": "taken"}, 409, "there is a volume taken already, and it has other content"),
        ({"boundary": "slippery"}, 422, "boundary: slippery"),
        ({"model": THREE}, 422, "expected at least 3"),
        ({"kind": "other"}, 422, "kind"),
    ],
)
def test_orders_that_cannot_be(client: TestClient, changes: dict[str, str], status: int, detail: str) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    send(client, "taken", dataset(noise(3, 4, 4, 4, seed=1)))
    response = client.post("/v1/jobs", json={**ORDER, **changes})
    assert response.status_code == status, response.text
    assert detail in response.json()["detail"]
    assert client.get("/v1/jobs").json() == {"jobs": []}


def test_a_job_that_is_not_there(client: TestClient) -> None:
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/resume")):
        assert client.request(method, f"/v1/jobs/nothing{path}").status_code == 404


def test_bad_values_fail_the_job_alone(client: TestClient) -> None:
    velocity = noise(3, 8, 4, 4)
    velocity[2, 7, 1, 1] = np.inf
    send(client, "box", dataset(velocity))
    assert "w: inf at (z, y, x)" in finish(client, order(client), "failed")["detail"]
    send(client, "good", dataset(noise(3, 4, 4, 4)))
    finish(client, order(client, source="good", target="other"))


def test_a_full_disk_fails_the_job_and_room_lets_it_go_on(
    client: TestClient, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    velocity = noise(3, 8, 8, 8)
    send(client, "box", dataset(velocity))
    written = itertools.count()

    def fills_up(path: Path, content: bytes, spare: int) -> None:
        if "/c/" in str(path) and next(written) >= 15:
            raise OSError(28, "No space left on device")
        write_whole(path, content, spare)

    with monkeypatch.context() as patch:
        patch.setattr("service.volumes.local_storage.write_whole", fills_up)
        job = order(client)
        assert "No space left on device" in finish(client, job, "failed")["detail"]
    computed = parts(client).jobs.runner.executor.computed
    files = [path for path in (tmp_path / "data" / "volumes" / "fine").rglob("c/*/*/*") if path.is_file()]
    done = Counter(path.parts[-3:] for path in files)
    whole = sum(count == 3 for count in done.values())
    assert 0 < whole < 8
    client.post(f"/v1/jobs/{job}/resume")
    finish(client, job)
    assert parts(client).jobs.runner.executor.computed == computed + 8 - whole
    assert np.array_equal(fine(tmp_path), wanted(catalogue, velocity))


def test_a_disk_is_not_filled_to_the_last_byte(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Jobs and uploads stop where the disk has no more bytes than stay free; views let go of older blocks."""
    free = [2**40]
    monkeypatch.setattr("service.volumes.files.shutil.disk_usage", lambda _: SimpleNamespace(free=free[0]))
    client = serve(data=tmp_path / "data", spare_bytes=2**20, block=4)
    send(client, "box", dataset(noise(3, 8, 8, 8)))
    before, after = (f"/v1/views/box/{LEARNED}/u/c/0/0/{x}" for x in range(2))
    kept = client.get(before).content
    free[0] = 2**20 - 1
    response = client.put("/v1/volumes/other/a", content=b"1")
    assert response.status_code == 507
    assert "less than 1048576 bytes of the disk are free" in response.json()["detail"]
    assert client.get("/v1/volumes/other").status_code == 404
    job = order(client)
    assert "less than 1048576 bytes" in finish(client, job, "failed")["detail"]
    shelter = parts(client).chunk_cache.store
    drop = shelter._drop_oldest

    def room() -> None:
        drop()
        free[0] = 2**20

    monkeypatch.setattr(shelter, "_drop_oldest", room)
    assert client.get(after).is_success
    names = {path.name for path in shelter.root.rglob("*") if path.is_file()}
    assert names == {"0", "1"}  # of the older block, not all three chunks
    assert len([path for path in shelter.root.rglob("*") if path.is_file()]) == 5
    assert client.get(before).content == kept  # computed anew
    client.post(f"/v1/jobs/{job}/resume")
    finish(client, job)


def test_a_source_that_changes_fails_the_job(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("service.volumes.uploads.TAG_TTL_S", 0.0)
    send(client, "box", dataset(noise(3, 8, 8, 16)))
    gate = Gate(client, monkeypatch, 3)
    job = order(client)
    wait_until(lambda: look(client, job)["blocks_done"] >= 2)
    path = tmp_path / "data" / "volumes" / "box" / "u" / "c" / "0" / "0" / "0"  # behind the service's back
    os.utime(path)
    gate.open.set()
    assert "box has changed since it was opened" in finish(client, job, "failed")["detail"]


def test_a_job_of_what_is_no_more_is_not_resumed(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither from another source into blocks of the first, nor into a volume of somebody else's."""
    send(client, "box", dataset(noise(3, 8, 8, 8)))
    gate = Gate(client, monkeypatch, 3)
    job = order(client)
    wait_until(lambda: look(client, job)["blocks_done"] >= 2)
    client.post(f"/v1/jobs/{job}/cancel")
    gate.open.set()
    client.delete("/v1/volumes/box")
    send(client, "box", dataset(noise(3, 8, 8, 8, seed=1)))
    refused = client.post(f"/v1/jobs/{job}/resume")
    assert (refused.status_code, look(client, job)["state"]) == (409, "cancelled")
    client.delete("/v1/volumes/fine")
    mine = send(client, "fine", dataset(noise(3, 4, 4, 4)))
    assert client.post(f"/v1/jobs/{job}/resume").status_code == 409
    assert {key: client.get(f"/v1/volumes/fine/{key}").content for key in mine} == mine


def test_of_two_orders_for_one_target_one_wins(client: TestClient) -> None:
    send(client, "box", dataset(noise(3, 8, 8, 8)))
    with ThreadPoolExecutor(8) as people:
        orders = [{**ORDER, "model": model} for model in (LEARNED, "trilinear-x4") * 4]
        answers = list(people.map(lambda order: client.post("/v1/jobs", json=order), orders))
    won = [answer.json()["model"] for answer in answers if answer.status_code == 202]
    assert {answer.status_code for answer in answers} == {202, 409}
    assert len(set(won)) == 1
    for answer in answers:
        if answer.status_code == 202:
            finish(client, answer.json()["id"])
    assert client.get("/v1/volumes/fine/zarr.json").json()["attributes"]["eddylift_model"] == won[0]


def test_a_model_that_cannot_be_loaded_fails_the_job(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))

    def broken(_: str) -> None:
        message = "the weights are torn"
        raise ValueError(message)

    monkeypatch.setattr(parts(client).engine.registry, "get", broken)
    assert "the weights are torn" in finish(client, order(client), "failed")["detail"]


def test_cancelling_waits_for_what_is_being_written(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing is written into a target that was dropped since."""
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    writing, go_on = threading.Event(), threading.Event()
    begun, ended = [], []

    def slow(path: Path, content: bytes, spare: int) -> None:
        begun.append(path)
        if "/c/" in str(path):
            writing.set()
            go_on.wait(PATIENCE_S)
        write_whole(path, content, spare)
        ended.append(path)

    monkeypatch.setattr("service.volumes.local_storage.write_whole", slow)
    job = order(client)
    assert writing.wait(PATIENCE_S)
    with ThreadPoolExecutor(1) as other:
        cancelling = other.submit(client.post, f"/v1/jobs/{job}/cancel")
        wait_until_cancelled(client, job)
        assert not cancelling.done()
        go_on.set()
        assert cancelling.result().json()["state"] in {"cancelled", "done"}
    assert begun == ended
    client.delete("/v1/volumes/fine")
    assert client.get("/v1/volumes/fine").status_code == 404


def test_a_target_that_is_replaced_meanwhile_stays_as_it_is(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    gate, job = Gate(client, monkeypatch, 0), order(client)
    box, target = (tmp_path / "data" / "volumes" / name for name in ("box", "fine"))
    wait_until((target / "zarr.json").exists)
    shutil.rmtree(target)
    shutil.copytree(box, target)
    gate.open.set()
    assert "it has other content" in finish(client, job, "failed")["detail"]
    assert len([*target.rglob("*")]) == len([*box.rglob("*")])


def test_while_the_list_of_jobs_is_locked_no_volume_changes(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))

    def locked() -> None:
        message = "database is locked"
        raise sqlite3.OperationalError(message)

    with monkeypatch.context() as patch:
        patch.setattr(parts(client).jobs.repository, "unfinished", locked)
        refused = client.delete("/v1/volumes/box")
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:eddylift:problem:jobs-unavailable")
    assert client.delete("/v1/volumes/box").is_success


def test_a_service_that_is_stopped_goes_on_at_the_next_start(
    serve: Serve, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(data=tmp_path / "data", block=4)
    velocity = noise(3, 8, 8, 16)
    send(client, "box", dataset(velocity))
    Gate(client, monkeypatch, 5)
    job = order(client)
    wait_until(lambda: look(client, job)["blocks_done"] >= 3)
    portal = client.portal
    assert portal is not None
    portal.call(parts(client).jobs.close)
    again = serve(data=tmp_path / "data", block=4)
    assert finish(again, job)["blocks_done"] == 16
    assert parts(again).jobs.runner.executor.computed <= 13
    assert np.array_equal(fine(tmp_path), wanted(catalogue, velocity))


def test_what_goes_wrong_with_the_list_once_goes_wrong_once(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.manager.POLL_S", 0.01)
    monkeypatch.setattr("service.jobs.runner.RETRY_S", 0.01)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    jobs = parts(client).jobs
    end, unfinished, fails = jobs.runner._end, jobs.repository.unfinished, {"end", "look"}

    def ends(*what: Any) -> None:  # noqa: ANN401
        if "end" in fails:
            fails.discard("end")
            raise sqlite3.OperationalError
        end(*what)

    def looks() -> Any:  # noqa: ANN401
        if "look" in fails:
            fails.discard("look")
            raise KeyError
        return unfinished()

    monkeypatch.setattr(jobs.runner, "_end", ends)
    finish(client, order(client))
    monkeypatch.setattr(jobs.repository, "unfinished", looks)
    wait_until(lambda: not fails)
    assert jobs._watcher is not None
    assert not jobs._watcher.done()


def test_a_worker_that_a_job_left_writes_to_no_target_that_is_gone(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    service, place = parts(client), BlockIndex(0, (0, 0, 0))
    blocks = BlockComputer(service.engine, service.threads)
    worker = Worker(service.engine, service.opener, blocks, service.threads)
    monkeypatch.setattr("service.jobs.dask_worker.worker_parts", lambda: worker)
    portal = client.portal
    assert portal is not None
    view, target = (
        open_view(JobSpec(source="box", target="fine", model=LEARNED), service.engine.registry, service.opener),
        service.opener.storages.find("fine"),
    )
    task = Task.of(view, target)
    with pytest.raises(Problem, match="it has other content"):
        portal.call(fill_blocks, task, (place,))
    assert target.is_free()
    target.begin(view.documents)
    portal.call(fill_blocks, task, (place,))
    assert is_stored(view, target, place)


def test_names_of_others(client: TestClient, catalogue: Catalogue, tmp_path: Path) -> None:
    velocity = noise(3, 4, 5, 6)
    theirs = {"u": "ux", "v": "uy", "w": "uz", "z": "depth"}
    send(client, "box", dataset(velocity).rename(theirs))
    names = {value: key for key, value in theirs.items()}
    assert client.post("/v1/jobs", json=ORDER).status_code == 422
    finish(client, order(client, names=names))
    assert np.array_equal(fine(tmp_path), wanted(catalogue, velocity))
    option = ",".join(f"{key}:{value}" for key, value in names.items())
    chunk = client.get(f"/v1/views/box/{LEARNED};names={option}/u/c/0/0/0")
    assert np.array_equal(
        np.frombuffer(chunk.content, np.float32).reshape(16, 12, 12), wanted(catalogue, velocity)[0, :, :12, :12]
    )
    assert client.get(f"/v1/views/box/{LEARNED}/zarr.json").status_code == 422
    for bad in ({"nothing": "u"}, {"ux": "uy"}, {"ux": "u", "uy": "u"}):
        response = client.post("/v1/jobs", json={**ORDER, "names": bad, "target": "other"})
        assert response.status_code == 422
        assert "names" in response.json()["detail"]
