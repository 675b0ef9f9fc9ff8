"""What takes long, or hangs, holds up its own kind of work alone."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from service.runtime import file_lock
from service.runtime.file_lock import locked
from service.volumes.source import OpenVolume
from service.volumes.view import BlockIndex
from tests.service.conftest import call_in_loop, is_loaded, parts
from tests.service.orders import LEARNED, ORDER, Gate, finish, order
from tests.service.wire import dataset, noise, post, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi.testclient import TestClient

    from tests.service.conftest import Serve

VIEW = f"/v1/views/box/{LEARNED}/u/c/0/0/0"


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> TestClient:
    """A service with one thread of each kind."""
    client = serve(data=tmp_path / "data", block=6, readers=1)
    send(client, "box", dataset(noise(3, 6, 6, 6)))
    send(client, "slow", dataset(noise(3, 6, 6, 6)))
    return client


class Stuck:
    """A function that waits until it may go on."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401 as it is
        self.entered.set()
        assert self.open.wait(PATIENCE_S)
        raise OSError


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    made = Stuck()
    yield made
    made.open.set()


def answers(client: TestClient, *, jobs: bool = True, views: bool = True) -> None:
    assert len(client.get("/v1/volumes").json()["volumes"]) >= 2
    assert client.get("/v1/volumes/box/zarr.json").is_success
    assert client.put("/v1/volumes/box/zarr.json", content=client.get("/v1/volumes/box/zarr.json").content).is_success
    assert client.get("/v1/jobs").is_success
    if views:
        assert client.get(VIEW).is_success
    if jobs:
        finish(client, order(client))


def test_bodies_that_take_long_hold_up_bodies(
    client: TestClient, stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts(client).sandbox, "read", stuck)
    with ThreadPoolExecutor(1) as threads:
        body = threads.submit(post, client, noise(3, 4, 4, 4))
        assert stuck.entered.wait(PATIENCE_S)
        answers(client)
        assert not body.done()
        stuck.open.set()


@pytest.mark.parametrize("method", ["read", "block"])  # opening reads too
def test_a_view_that_takes_long_holds_up_views(
    client: TestClient, stuck: Stuck, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    read = getattr(OpenVolume, method)

    def slow(self: OpenVolume, *rest: Any) -> Any:  # noqa: ANN401 as it is
        return read(self, *rest) if stuck.entered.is_set() else stuck()

    monkeypatch.setattr(OpenVolume, method, slow)
    with ThreadPoolExecutor(1) as threads:
        view = threads.submit(client.get, f"/v1/views/slow/{LEARNED}/u/c/0/0/0")
        assert stuck.entered.wait(PATIENCE_S)
        answers(client, views=False)
        assert post(client, noise(3, 4, 4, 4)).is_success
        assert not view.done()
        stuck.open.set()


def test_what_all_readers_have_left_is_not_computed(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    service, index, gate = parts(client), BlockIndex(0, (0, 0, 0)), Gate(client, monkeypatch, 0)
    cache, queue = service.chunk_cache, service.engine.batcher.queue

    def readers() -> list[int]:
        return [each.readers for each in cache._running.values()]

    async def read_and_leave() -> None:
        view = await service.threads.run(service.opener.view, "box", service.engine.registry.card(LEARNED))
        one, other = (asyncio.create_task(cache.block(view, index)) for _ in range(2))
        await asyncio.to_thread(wait_until, lambda: readers() == [2] and any(queue._queues))
        one.cancel()
        await asyncio.wait([one])
        assert readers() == [1]
        assert any(queue._queues)
        other.cancel()
        await asyncio.wait([other])
        await asyncio.to_thread(wait_until, lambda: not any(queue._queues))

    wait_until(lambda: is_loaded(client))
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(post, client, noise(3, 4, 4, 4))
        try:
            wait_until(lambda: queue.cells > 0 and not any(queue._queues))  # the device has it, and is held up
            call_in_loop(client, read_and_leave)
        finally:
            gate.open.set()
        assert first.result().is_success
    assert not readers()
    assert cache.computed == 0


@contextmanager
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Requests soon give up what another process holds."""
    with monkeypatch.context() as patch:
        patch.setattr(file_lock, "PATIENCE_S", 0.2)
        yield


def test_who_holds_the_lock_of_the_jobs_holds_up_jobs(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tmp_path / "data" / "replicas" / "alone"):
        with impatient(monkeypatch):
            refused = client.post("/v1/jobs", json={"source": "box", "target": "fine", "model": LEARNED})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        answers(client, jobs=False)
        assert post(client, noise(3, 4, 4, 4)).is_success
    answers(client)


def test_who_holds_one_volume_holds_up_that_volume(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tmp_path / "data" / "volumes" / ".generations" / "slow"):
        with impatient(monkeypatch):
            assert client.get(f"/v1/views/slow/{LEARNED}/zarr.json").status_code == 503
            assert client.delete("/v1/volumes/slow").status_code == 503
            answers(client, jobs=False)
        finish(client, order(client))
    assert client.get(f"/v1/views/slow/{LEARNED}/zarr.json").is_success


def test_a_job_waits_for_who_is_writing_into_its_target(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tmp_path / "data" / "volumes" / ".generations" / "fine"), impatient(monkeypatch):
        assert client.post("/v1/jobs", json=ORDER).status_code == 503
    finish(client, order(client))
