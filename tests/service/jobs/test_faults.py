"""Faults at random, the same in every run: nothing is lost, nothing is wrong, and the service lives on.

``FAULT_SEEDS=25 pytest tests/service/jobs/test_faults.py`` runs more of them.
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest
import torch
import xarray as xr

from models.blocks import PERIODIC
from models.convolution import NOWHERE
from models.superresolution import SuperResolution, upscale
from tests.service.conftest import parts, serve_as, serve_as_trilinear
from tests.service.orders import LEARNED
from tests.service.wire import dataset, from_npy, noise, npy, post, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2
    from fastapi.testclient import TestClient
    from numpy.typing import NDArray
    from torch import Tensor

    from models.catalogue import Catalogue
    from models.convolution import Axes

    Serve = Callable[..., TestClient]

SEEDS = range(int(os.environ.get("FAULT_SEEDS", "1")))
SHAPES = ((4, 4, 4), (4, 5, 6), (8, 4, 4), (8, 8, 8))


class Faulty(SuperResolution):
    """A model of which some batches fail, and the first.

    Args:
        model: what computes the others.
        draw: what decides.
        share: of the batches that fail.
        error: makes what they fail with.
    """

    def __init__(self, model: SuperResolution, draw: random.Random, share: float, error: type[Exception]) -> None:
        super().__init__(model.network)
        self.draw, self.share, self.error = draw, share, error
        self.failed = 0

    def forward(self, coarse: Tensor, circular: Axes = NOWHERE) -> Tensor:
        if self.draw.random() < self.share or not self.failed:
            self.failed += 1
            message = "injected"
            raise self.error(message)
        return super().forward(coarse, circular)


def idle(client: TestClient) -> None:
    """Nothing is held any more, and a good request is answered."""
    service = parts(client)
    wait_until(
        lambda: (
            service.slots.taken == 0 and service.engine.batcher.queue.cells == 0 and not service.chunk_cache._running
        )
    )
    wait_until(lambda: not any(service.engine.batcher.queue._queues))
    assert client.get("/health/ready").is_success
    assert not left(service.settings.data)


def left(folder: Path) -> list[Path]:
    """What was being written, and is not whole."""
    return [path for path in folder.rglob(".part*") if path.is_file()]


def right(response: httpx2.Response, wanted: NDArray[np.float32]) -> bool:
    """Whether it was answered, with the very bits; else it was refused as it should be."""
    if response.is_success:
        assert from_npy(response.content).tobytes() == wanted.tobytes()
        return True
    assert response.status_code in {429, 500, 503, 507}, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    if response.status_code in {429, 503}:
        assert int(response.headers["Retry-After"]) > 0
    return False


def volumes(draw: random.Random, count: int) -> list[NDArray[np.float32]]:
    return [noise(3, *draw.choice(SHAPES), seed=draw.randrange(99)) for _ in range(count)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, ValueError])
def test_batches_fail_at_random(serve: Serve, catalogue: Catalogue, seed: int, error: type[Exception]) -> None:
    """Out of memory is tried again in smaller parts, whatever else is raised one by one."""
    draw = random.Random(seed)  # noqa: S311 no secret
    client = serve(block=4, batch_wait_ms=2, max_requests=64)
    model = catalogue.load(LEARNED)
    sent = volumes(draw, 24)
    wanted = [upscale(model, volume, PERIODIC, block=4) for volume in sent]
    faulty = Faulty(model, draw, 0.3, error)
    serve_as(LEARNED, client, faulty)
    with ThreadPoolExecutor(8) as clients:
        responses = list(clients.map(lambda volume: post(client, volume, LEARNED), sent))
    answered = sum(map(right, responses, wanted))
    assert faulty.failed
    assert answered
    expected = 500 if error is ValueError else 503
    assert {response.status_code for response in responses} <= {200, expected}
    idle(client)
    serve_as(LEARNED, client, model)
    assert all(right(post(client, volume, LEARNED), fine) for volume, fine in zip(sent[:4], wanted[:4], strict=True))


def fill_disk(monkeypatch: pytest.MonkeyPatch, draw: random.Random, share: float) -> Callable[[], int]:
    """Let a share of the writes below any folder fail as on a full disk; gives how many did."""
    drawing = threading.Lock()
    full = 0

    def refuse() -> None:
        nonlocal full
        with drawing:
            if draw.random() < share:
                full += 1
                raise OSError(errno.ENOSPC, "No space left on device")

    write, replace = Path.write_bytes, Path.replace

    def write_bytes(self: Path, data: Any) -> int:  # noqa: ANN401 as Path has it
        half = len(data) // 2
        try:
            refuse()
        except OSError:
            write(self, bytes(data)[:half])
            raise
        return write(self, data)

    def replaced(self: Path, target: Path) -> Path:
        refuse()
        return replace(self, target)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    monkeypatch.setattr(Path, "replace", replaced)
    return lambda: full


@pytest.mark.parametrize("seed", SEEDS)
def test_the_disk_is_full_for_views_and_uploads(
    serve: Serve, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    client = serve(data=tmp_path / "data", block=4)
    source = noise(3, 8, 8, 8, seed=seed)
    send(client, "box", dataset(source).assign_attrs(boundary="periodic"))
    fine = upscale(catalogue.load(LEARNED), source, PERIODIC, block=4)
    keys = [(name, z, y, x) for name in range(3) for z in range(2) for y in range(2) for x in range(2)]
    draw = random.Random(seed)  # noqa: S311 no secret
    with monkeypatch.context() as patched:
        full = fill_disk(patched, draw, 0.3)
        statuses = []
        for name, z, y, x in 2 * keys:
            response = client.get(f"/v1/views/box/{LEARNED}/{'uvw'[name]}/c/{z}/{y}/{x}")
            statuses.append(response.status_code)
            if response.is_success:
                part = fine[name, 16 * z : 16 * z + 16, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
                assert response.content == part.tobytes()
            content = bytes([name, z, y, x])
            sent = client.put(f"/v1/volumes/other/{name}{z}{y}{x}", content=content)
            statuses.append(sent.status_code)
            found = client.get(f"/v1/volumes/other/{name}{z}{y}{x}")
            if sent.is_success:
                assert found.content == content
            else:
                assert found.status_code == 404 or found.content == content
        assert full()
    assert set(statuses) <= {200, 201, 204, 507}
    assert {200, 201, 507} <= set(statuses)
    idle(client)
    for name, z, y, x in keys:
        assert client.get(f"/v1/views/box/{LEARNED}/{'uvw'[name]}/c/{z}/{y}/{x}").is_success


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", ["disk", MemoryError, ValueError])
def test_jobs_are_resumed_until_they_are_right(
    serve: Serve,
    catalogue: Catalogue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    fault: type[Exception] | str,
) -> None:
    """A job fails and says why; what is done stays done, and at last it is the model's answer."""
    client = serve(data=tmp_path / "data", block=4)
    source = noise(3, 8, 8, 8, seed=seed)
    send(client, "box", dataset(source).assign_attrs(boundary="periodic"))
    model = catalogue.load(LEARNED)
    draw = random.Random(seed)  # noqa: S311 no secret
    with monkeypatch.context() as patched:
        if isinstance(fault, str):
            fill_disk(patched, draw, 0.1)
        else:
            serve_as(LEARNED, client, Faulty(model, draw, 0.3, fault))
        order = {"source": "box", "target": "fine", "model": LEARNED}
        job: dict[str, Any] = {}
        for _ in range(200):
            if job and job["state"] == "done":
                break
            response = client.post(f"/v1/jobs/{job['id']}/resume" if job else "/v1/jobs", json=None if job else order)
            if response.status_code == 507:
                continue
            assert response.status_code == 202, response.text
            job = response.json()
            wait_until(lambda number=job["id"]: ended(client, number))  # type: ignore[misc]
            job = client.get(f"/v1/jobs/{job['id']}").json()
            assert job["state"] == "done" or job["detail"]
    assert job["state"] == "done"
    found = xr.open_zarr(tmp_path / "data" / "volumes" / "fine", chunks=None)
    fine = np.stack([found[name].values for name in "uvw"])
    assert fine.tobytes() == upscale(model, source, PERIODIC, block=4).tobytes()
    serve_as(LEARNED, client, model)
    idle(client)


def ended(client: TestClient, job: str) -> bool:
    return client.get(f"/v1/jobs/{job}").json()["state"] in {"done", "failed", "cancelled"}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_clock_steps(
    serve: Serve, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """By hours, forward and back, at every look at it."""
    draw = random.Random(seed)  # noqa: S311 no secret
    client = serve(data=tmp_path / "data", block=4, rate_per_s=1e6, request_deadline_s=PATIENCE_S)
    source = noise(3, 8, 8, 8, seed=seed)
    send(client, "box", dataset(source).assign_attrs(boundary="periodic"))
    model = catalogue.load(LEARNED)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + draw.uniform(-1e5, 1e5))
    sent = volumes(draw, 20)
    with ThreadPoolExecutor(8) as clients:
        responses = list(clients.map(lambda volume: post(client, volume, LEARNED), sent))
    for volume, response in zip(sent, responses, strict=True):
        assert right(response, upscale(model, volume, PERIODIC, block=4))
    job = client.post("/v1/jobs", json={"source": "box", "target": "fine", "model": LEARNED}).json()
    wait_until(lambda: ended(client, job["id"]))
    assert client.get(f"/v1/jobs/{job['id']}").json()["state"] == "done"
    found = xr.open_zarr(tmp_path / "data" / "volumes" / "fine", chunks=None)
    fine = np.stack([found[name].values for name in "uvw"])
    assert fine.tobytes() == upscale(model, source, PERIODIC, block=4).tobytes()
    idle(client)


class Leaver:
    """A client that speaks ASGI to the app itself, and hangs up after so many messages.

    Args:
        pieces: of the body.
        stay: messages that it sends, and takes, before it is gone.
    """

    def __init__(self, pieces: list[bytes], stay: int) -> None:
        self.pieces = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        if self.pieces:
            self.pieces[-1]["more_body"] = False
        self.stay = stay

    async def receive(self) -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        if not self.stay or not self.pieces:
            await anyio.sleep(0.002 * self.stay)
            return {"type": "http.disconnect"}
        self.stay -= 1
        return self.pieces.pop(0)

    async def send(self, _message: Any) -> None:  # noqa: ANN401 as ASGI has it
        if not self.stay:
            raise OSError(errno.EPIPE, "gone")
        self.stay -= 1

    async def __call__(self, app: Any, path: str, query: str, method: str) -> None:  # noqa: ANN401
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"a"), (b"content-type", b"application/x-npy")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        try:
            await app(scope, self.receive, self.send)
        except OSError as error:
            assert error.errno == errno.EPIPE  # noqa: PT017 nobody else is told


@pytest.mark.parametrize("seed", SEEDS)
def test_clients_leave_at_every_stage(serve: Serve, catalogue: Catalogue, tmp_path: Path, seed: int) -> None:
    """Before, in and after the body, while it is computed, and while the answer is sent; others are answered."""
    draw = random.Random(seed)  # noqa: S311 no secret
    client = serve(data=tmp_path / "data", block=4, max_requests=200)
    source = noise(3, 8, 8, 8, seed=seed)
    send(client, "box", dataset(source).assign_attrs(boundary="periodic"))
    model = catalogue.load(LEARNED)
    sent = volumes(draw, 8)
    body = npy(source)
    pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)]
    portal = client.portal
    assert portal is not None
    query = f"model={LEARNED}"
    with ThreadPoolExecutor(8) as clients:
        good = [clients.submit(post, client, volume, LEARNED) for volume in sent]
        gone = [
            portal.start_task_soon(Leaver(list(pieces), stay), client.app, *where)
            for stay in range(0, len(pieces) + 6, 2)
            for where in (
                ("/v1/upscale", query, "POST"),
                ("/v1/volumes/other/a", "", "PUT"),
                (f"/v1/views/box/{LEARNED}/u/c/0/0/{stay % 2}", "", "GET"),
            )
        ]
        for future in gone:
            future.result(PATIENCE_S)
        for volume, response in zip(sent, good, strict=True):
            assert right(response.result(PATIENCE_S), upscale(model, volume, PERIODIC, block=4))
    idle(client)
    serve_as_trilinear(client, model)
    assert right(post(client, source), upscale(model, source, PERIODIC, block=4))
