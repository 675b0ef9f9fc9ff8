"""Many clients at once, and clients that leave."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest
import torch

from models.superresolution import upscale
from tests.service.conftest import call_in_loop, parts, serve_as_trilinear
from tests.service.orders import LEARNED
from tests.service.wire import NPY, Cramped, Gate, dataset, from_npy, noise, npy, post, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from fastapi.testclient import TestClient
    from starlette.types import Message

    from models.catalogue import Catalogue
    from service.engine.inference import InferenceRequest, InferenceResult

CLIENTS = 8


def metric(client: TestClient, name: str, **labels: str) -> float:
    return parts(client).metrics.registry.get_sample_value(f"eddylift_{name}", labels) or 0.0


def test_eight_clients_are_computed_together(
    serve: Callable[..., TestClient], catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(batch_wait_ms=1e3 * PATIENCE_S, max_batch_blocks=CLIENTS, max_batch_cells=1_000_000)
    volumes = [noise(3, 8, 8, 8, seed=seed) for seed in range(CLIENTS)]
    model = catalogue.load(LEARNED)
    wanted = [upscale(model, volume, ("periodic",) * 3) for volume in volumes]
    with ThreadPoolExecutor(CLIENTS) as clients:
        together = list(clients.map(lambda volume: post(client, volume, LEARNED), volumes))
    for response, right in zip(together, wanted, strict=True):
        np.testing.assert_array_equal(from_npy(response.content), right)
    assert metric(client, "batch_blocks_count", model=LEARNED) < CLIENTS
    assert metric(client, "batch_blocks_sum", model=LEARNED) == CLIENTS
    assert metric(client, "batch_requests_bucket", model=LEARNED, le="1.0") <= 1
    queue = parts(client).engine.batcher.queue
    monkeypatch.setattr(queue, "limits", dataclasses.replace(queue.limits, wait_s=0))
    for volume, right in zip(volumes, wanted, strict=True):
        np.testing.assert_array_equal(from_npy(post(client, volume, LEARNED).content), right)


def test_small_requests_pass_a_large_one(serve: Callable[..., TestClient]) -> None:
    client, gate = serve(block=4, max_batch_blocks=2), Gate()
    serve_as_trilinear(client, gate)
    with ThreadPoolExecutor(2) as clients, gate:
        large = clients.submit(post, client, noise(3, 4, 4, 160))
        assert gate.entered.wait(PATIENCE_S)
        small = clients.submit(post, client, noise(3, 4, 4, 4))
        wait_until(lambda: metric(client, "queue_blocks") == 39)
        gate.open.set()
        assert small.result(PATIENCE_S).status_code == 200
        assert large.result(PATIENCE_S).status_code == 200
    assert sum(gate.batches) == 41


@pytest.mark.parametrize("limit", [{"max_requests": 1}, {"max_queue_cells": 64}])
def test_a_full_service_says_when_to_come_back(serve: Callable[..., TestClient], limit: dict[str, int]) -> None:
    client, gate = serve(**limit), Gate()
    serve_as_trilinear(client, gate)
    with ThreadPoolExecutor(1) as clients, gate:
        first = clients.submit(post, client, noise(3, 4, 4, 4))
        assert gate.entered.wait(PATIENCE_S)
        refused = post(client, noise(3, 4, 4, 4))
        assert refused.status_code == 429
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert int(refused.headers["Retry-After"]) >= 1
        gate.open.set()
        assert first.result(PATIENCE_S).status_code == 200
    wait_until(lambda: metric(client, "open_requests") == 0 and metric(client, "queue_cells") == 0)
    assert post(client, noise(3, 4, 4, 4)).status_code == 200
    assert metric(client, "errors_total", kind="busy") == 1


def test_a_batch_that_does_not_fit_is_served_in_parts(serve: Callable[..., TestClient]) -> None:
    client, coarse = serve(block=4), noise(3, 4, 4, 32)
    right = from_npy(post(client, coarse).content)
    serve_as_trilinear(client, Cramped(3, torch.OutOfMemoryError("full")))
    np.testing.assert_array_equal(from_npy(post(client, coarse).content), right)
    assert metric(client, "out_of_memory_total") >= 1


@pytest.mark.parametrize(
    ("error", "status"), [(torch.OutOfMemoryError("full"), 503), (ZeroDivisionError("a secret of ours"), 500)]
)
def test_a_block_that_cannot_be_computed(serve: Callable[..., TestClient], error: Exception, status: int) -> None:
    client = serve()
    right = parts(client).engine.registry.get("trilinear-x4")
    serve_as_trilinear(client, Cramped(0, error))
    response = post(client, noise(3, 4, 4, 4))
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "secret" not in response.text
    serve_as_trilinear(client, right)
    assert post(client, noise(3, 4, 4, 4)).status_code == 200


@pytest.mark.parametrize("sent", [0, 100, None], ids=["before its body", "in its body", "while it waits"])
def test_a_client_that_leaves_leaves_nothing_behind(serve: Callable[..., TestClient], sent: int | None) -> None:
    client, gate = serve(block=4, max_batch_blocks=1), Gate()
    serve_as_trilinear(client, gate)
    body = npy(noise(3, 4, 4, 40))
    arrived: list[Message] = [{"type": "http.request", "body": body[:sent], "more_body": sent is not None}]

    async def receive() -> Message:
        if arrived:
            return arrived.pop()
        if sent is None:
            await anyio.to_thread.run_sync(gate.entered.wait)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        """Nobody is there to read it."""

    async def call() -> None:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/upscale",
            "query_string": b"model=trilinear-x4",
            "headers": [(b"content-type", NPY.encode())],
        }
        await client.app(scope, receive, send)

    call_in_loop(client, call)
    wait_until(lambda: metric(client, "open_requests") == 0 and metric(client, "queue_blocks") == 0)
    assert metric(client, "requests_total", route="/v1/upscale", method="POST", status="499") == 1
    gate.open.set()
    assert post(client, noise(3, 4, 4, 4)).status_code == 200
    if sent is None:
        assert metric(client, "dropped_blocks_total") == 9
        assert sum(gate.batches) == 2


def test_a_request_that_the_device_does_not_begin_in_time_is_refused(
    serve: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, gate = serve(request_deadline_s=PATIENCE_S), Gate()
    engine = parts(client).engine
    assert engine.deadline_s == PATIENCE_S
    serve_as_trilinear(client, gate)
    with ThreadPoolExecutor(2) as clients, gate:
        begun = clients.submit(post, client, noise(3, 4, 4, 4))
        assert gate.entered.wait(PATIENCE_S)
        monkeypatch.setattr(engine, "deadline_s", 0.2)
        late = clients.submit(post, client, noise(3, 4, 4, 4)).result(PATIENCE_S)
        assert late.status_code == 503
        assert late.json()["type"] == "urn:eddylift:problem:overdue"
        assert int(late.headers["Retry-After"]) >= 1
        assert metric(client, "queue_blocks") == 0
        # This one waits for longer, but was begun.
        gate.open.set()
        assert begun.result(PATIENCE_S).status_code == 200
    assert gate.batches == [1]


def test_jobs_wait_for_those_who_wait(
    serve: Callable[..., TestClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(data=tmp_path)
    queue, submitted = parts(client).engine.batcher.queue, []
    submit = queue.submit

    def note(request: InferenceRequest) -> Future[InferenceResult]:
        submitted.append(request.background)
        return submit(request)

    monkeypatch.setattr(queue, "submit", note)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    assert post(client, noise(3, 4, 4, 4)).status_code == 200
    assert client.get("/v1/views/box/trilinear-x4/u/c/0/0/0").status_code == 200
    order = client.post("/v1/jobs", json={"source": "box", "target": "fine", "model": "trilinear-x4"})
    job = f"/v1/jobs/{order.json()['id']}"
    wait_until(lambda: client.get(job).json()["state"] == "done")
    assert submitted == [False, False, True]
