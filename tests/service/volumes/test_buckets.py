"""Volumes in S3, through a server that speaks its protocol, well and badly."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import obstore
import pytest
import xarray as xr
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from obstore.store import S3Store
from werkzeug.serving import make_server
from zarr.storage import ObjectStore

from service.settings import Settings
from tests.service.conftest import parts
from tests.service.orders import LEARNED, Gate, finish, look, order, wanted
from tests.service.wire import dataset, files_of, noise, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from fastapi.testclient import TestClient
    from numpy.typing import NDArray

    from models.catalogue import Catalogue

    Serve = Callable[..., TestClient]

SOURCE, TARGET = "s3://flows/runs/box.zarr", "s3://flows/made/fine.zarr"
ORDER = {"source": SOURCE, "target": TARGET, "model": LEARNED}


class Server:
    """An S3 server, of which some requests fail: before anything is done, or after it was.

    Attributes:
        failing: share of requests that fail.
        fails: what stands in the queries that all fail; nothing spares all.
    """

    def __init__(self) -> None:
        self.app: Any = DomainDispatcherApplication(create_backend_app)
        self.random = np.random.default_rng(5)
        self.failing = 0.0
        self.failed = 0
        self.fails = ""
        self.writes: list[str] = []
        self.signatures: list[str] = []
        self._server = make_server("127.0.0.1", 0, self, threaded=True)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        httpx2.put(f"{self.address}/flows", timeout=PATIENCE_S).raise_for_status()
        httpx2.put(f"{self.address}/private", timeout=PATIENCE_S).raise_for_status()

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401 of WSGI
        if environ["REQUEST_METHOD"] == "PUT":
            self.writes.append(environ["PATH_INFO"])
        self.signatures.append(environ.get("HTTP_AUTHORIZATION", ""))
        hit = self.fails and self.fails in environ["QUERY_STRING"]
        if not hit and self.random.random() >= self.failing:
            answer: Iterable[bytes] = self.app(environ, start)
            return answer
        self.failed += 1
        if self.failed % 2:
            for _ in self.app(environ, lambda *_: None):
                pass
        start("503 Slow Down", [("Content-Length", "0")])
        return [b""]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def store(self, address: str) -> S3Store:
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        return S3Store(
            bucket, prefix=prefix, config={"endpoint": self.address, "region": "us-east-1"},
            client_options={"allow_http": True},
        )  # fmt: skip

    def put(self, address: str, content: xr.Dataset) -> None:
        store = self.store(address)
        for key, value in files_of(content).items():
            obstore.put(store, key, value)

    def velocity(self, address: str) -> NDArray[np.float32]:
        with xr.open_zarr(ObjectStore(self.store(address), read_only=True), consolidated=True) as found:
            return np.stack([found[each].values for each in "uvw"])


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        server = Server()
        yield server
        server.close()


@pytest.fixture
def server(running: Server) -> Server:
    """With nothing in it."""
    running.failing = running.failed = 0
    running.fails = ""
    for bucket in ("s3://flows", "s3://private"):
        store = running.store(bucket)
        for found in obstore.list(store).collect():
            obstore.delete(store, found["path"])
    running.writes.clear()
    return running


@pytest.fixture
def client(server: Server, serve: Serve, tmp_path: Path) -> TestClient:
    allowed = ("flows", "private/mine")
    return serve(data=tmp_path / "data", block=4, s3_buckets=allowed, s3_endpoint=server.address, s3_fresh_s=0.2)


@pytest.mark.parametrize("boundary", ["periodic", "periodic,wall,open"])
def test_from_bucket_to_bucket(client: TestClient, server: Server, catalogue: Catalogue, boundary: str) -> None:
    velocity = noise(3, 5, 8, 9)
    server.put(SOURCE, dataset(velocity).assign_attrs(boundary=boundary))
    assert finish(client, order(client, ORDER))["blocks"] == 12
    assert np.array_equal(server.velocity(TARGET), wanted(catalogue, velocity, boundary))


def test_between_bucket_and_folder(client: TestClient, server: Server, catalogue: Catalogue, tmp_path: Path) -> None:
    velocity = noise(3, 4, 5, 6)
    send(client, "box", dataset(velocity))
    finish(client, order(client, ORDER, source="box"))
    assert np.array_equal(server.velocity(TARGET), wanted(catalogue, velocity))
    server.put(SOURCE, dataset(velocity))
    finish(client, order(client, ORDER, target="fine"))
    with xr.open_zarr(tmp_path / "data" / "volumes" / "fine", consolidated=True) as found:
        assert np.array_equal(found["w"].values, wanted(catalogue, velocity)[2])


def test_a_view_of_a_bucket(client: TestClient, server: Server, catalogue: Catalogue) -> None:
    velocity = noise(3, 5, 6, 7)
    server.put(SOURCE, dataset(velocity))
    view = f"/v1/views/s3:flows:runs:box.zarr/{LEARNED}"
    assert client.get(f"{view}/zarr.json").json()["attributes"]["eddylift_source"] == SOURCE
    chunk = np.frombuffer(client.get(f"{view}/v/c/0/0/0").content, np.float32).reshape(12, 12, 16)
    assert np.array_equal(chunk, wanted(catalogue, velocity)[1, :12, :12, :16])
    server.put(SOURCE, dataset(2 * velocity))  # another volume now
    wait_until(lambda: client.get(f"{view}/v/c/0/0/0").content != chunk.tobytes())


def test_jobs_read_what_is_there_now(server: Server, serve: Serve, tmp_path: Path, catalogue: Catalogue) -> None:
    """Whatever else has listed the bucket before: chunks would be new, and what describes them old."""
    client = serve(data=tmp_path / "data", block=4, s3_buckets=("flows",), s3_endpoint=server.address, s3_fresh_s=1e6)
    server.put(SOURCE, dataset(noise(3, 4, 4, 4)))
    finish(client, order(client, ORDER))
    velocity = noise(3, 5, 4, 4, seed=1)
    server.put(SOURCE, dataset(velocity))
    finish(client, order(client, ORDER, target="s3://flows/made/next.zarr"))
    assert np.array_equal(server.velocity("s3://flows/made/next.zarr"), wanted(catalogue, velocity))


def test_a_server_that_fails_one_request_in_ten(client: TestClient, server: Server, catalogue: Catalogue) -> None:
    velocity = noise(3, 8, 9, 8)
    server.put(SOURCE, dataset(velocity))
    server.failing = 0.1
    finish(client, order(client, ORDER))
    server.failing = 0
    assert server.failed > 0
    assert np.array_equal(server.velocity(TARGET), wanted(catalogue, velocity))


def test_a_server_that_is_away_fails_the_job_which_goes_on(
    server: Server, serve: Serve, tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(
        data=tmp_path / "data", block=4, s3_buckets=("flows",), s3_endpoint=server.address, s3_patience_s=0.5
    )
    velocity = noise(3, 8, 8, 8)
    server.put(SOURCE, dataset(velocity))
    gate = Gate(client, monkeypatch, 3)
    job = order(client, ORDER)
    wait_until(lambda: look(client, job)["blocks_done"] >= 2)
    server.failing = 1.0
    gate.open.set()
    detail = finish(client, job, "failed")["detail"]
    assert "cannot be reached: the object store answers" in detail
    assert client.post("/v1/jobs", json={**ORDER, "target": "s3://flows/other"}).status_code == 502
    server.failing = 0
    computed = parts(client).jobs.runner.executor.computed
    assert client.post(f"/v1/jobs/{job}/resume").status_code == 202
    finish(client, job)
    assert np.array_equal(server.velocity(TARGET), wanted(catalogue, velocity))
    assert computed < parts(client).jobs.runner.executor.computed <= computed + 6


def test_a_group_that_cannot_be_listed_is_not_called_a_bad_one(server: Server, serve: Serve, tmp_path: Path) -> None:
    client = serve(
        data=tmp_path / "data", block=4, s3_buckets=("flows",), s3_endpoint=server.address, s3_patience_s=0.2
    )
    server.put(SOURCE, dataset(noise(3, 4, 4, 4)))
    view = f"/v1/views/s3:flows:runs:box.zarr/{LEARNED}/zarr.json"
    server.fails = "delimiter"
    answer = client.get(view)
    assert (answer.status_code, "cannot be reached" in answer.json()["detail"]) == (502, True)
    server.fails = ""
    assert client.get(view).status_code == 200


@pytest.mark.parametrize(
    ("options", "scope"), [({"s3_region": "eu-west-3"}, "/eu-west-3/s3/aws4_request"), ({"s3_anonymous": True}, None)]
)
def test_requests_are_signed_for_the_region_unless_buckets_are_public(
    server: Server, serve: Serve, tmp_path: Path, options: dict[str, Any], scope: str | None
) -> None:
    client = serve(data=tmp_path / "data", s3_buckets=("flows",), s3_endpoint=server.address, **options)
    server.put(SOURCE, dataset(noise(3, 4, 4, 4)))
    server.signatures.clear()
    client.get(f"/v1/views/s3:flows:runs:box.zarr/{LEARNED}/zarr.json")
    assert server.signatures
    for signature in server.signatures:
        assert scope in signature if scope else not signature


def test_what_is_done_is_not_computed_again(
    client: TestClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put(SOURCE, dataset(noise(3, 8, 8, 8)))
    gate = Gate(client, monkeypatch, 4)
    job = order(client, ORDER)
    wait_until(lambda: look(client, job)["blocks_done"] >= 3)
    assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    gate.open.set()
    computed = parts(client).jobs.runner.executor.computed
    client.post(f"/v1/jobs/{job}/resume")
    finish(client, job)
    assert parts(client).jobs.runner.executor.computed == 8 > computed


@pytest.mark.parametrize(
    ("changes", "status", "detail"),
    [
        ({"source": "s3://other/box.zarr"}, 403, "lies in no bucket that this service may use"),
        ({"source": "s3://private/box.zarr"}, 403, "lies in no bucket"),
        ({"source": "s3://private/mineral/box.zarr"}, 403, "lies in no bucket"),
        ({"target": "s3://other/fine.zarr"}, 403, "lies in no bucket"),
        ({"source": "s3://flows"}, 422, "expected the name of a stored volume, or s3://bucket/path"),
        ({"source": "s3://flows/../private/box"}, 422, "expected the name of a stored volume"),
        ({"source": "s3://flows/a b"}, 422, "expected the name of a stored volume"),
        ({"source": "http://169.254.169.254/latest"}, 422, "expected the name of a stored volume"),
        ({"source": "file:///etc"}, 422, "expected the name of a stored volume"),
        ({"source": "s3://flows/nothing"}, 404, "there is nothing at s3://flows/nothing"),
        ({"target": SOURCE}, 422, "expected another volume than the source"),
        ({"target": f"{SOURCE}/fine"}, 422, "expected another volume than the source"),
        ({"target": "s3://flows/runs"}, 422, "expected another volume than the source"),
        ({"target": "s3://flows/taken"}, 409, "there is a volume s3://flows/taken already"),
        ({"target": "s3://flows/notes"}, 409, "there is a volume s3://flows/notes already"),
    ],
)
def test_orders_that_cannot_be(
    client: TestClient, server: Server, changes: dict[str, str], status: int, detail: str
) -> None:
    server.put(SOURCE, dataset(noise(3, 4, 4, 4)))
    server.put("s3://flows/taken", dataset(noise(3, 4, 4, 4, seed=1)))
    obstore.put(server.store("s3://flows/notes"), "readme.txt", b"mine")
    server.writes.clear()
    response = client.post("/v1/jobs", json={**ORDER, **changes})
    assert response.status_code == status, response.text
    assert detail in response.json()["detail"]
    assert not server.writes


def test_an_allowed_folder_of_a_bucket(client: TestClient, server: Server) -> None:
    server.put("s3://private/mine/box", dataset(noise(3, 4, 4, 4)))
    finish(client, order(client, ORDER, source="s3://private/mine/box"))


def test_of_two_services_one_has_the_target(client: TestClient, server: Server, serve: Serve, tmp_path: Path) -> None:
    """They see each other by what lies in the bucket alone."""
    server.put(SOURCE, dataset(noise(3, 4, 4, 4)))
    finish(client, order(client, ORDER))
    other = serve(data=tmp_path / "other", block=4, s3_buckets=("flows",), s3_endpoint=server.address)
    taken = other.post("/v1/jobs", json={**ORDER, "model": "trilinear-x4"})
    assert taken.status_code == 409
    finish(other, order(other, ORDER))  # the same volume: all is there
    assert parts(other).jobs.runner.executor.computed == 0


@pytest.mark.parametrize("buckets", [("",), ("/",), ("s3://flows",), ("flows", " ")])
def test_settings_that_name_no_bucket(buckets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="s3_buckets"):
        Settings(s3_buckets=buckets)
