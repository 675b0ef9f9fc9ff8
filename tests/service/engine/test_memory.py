"""What does not fit the device is computed in parts, or once there is room."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.blocks import PERIODIC
from models.catalogue import TRILINEAR, Catalogue
from models.convolution import NOWHERE
from models.networks import Architecture, Network
from models.superresolution import SuperResolution
from service.engine.batcher import RECOVERY
from service.engine.device import Device, Gpu
from service.engine.engine import Engine
from service.engine.inference import VolumeRequest
from service.engine.registry import ModelRegistry
from service.problems import Problem
from service.runtime.threads import Threads
from tests.service.engine.conftest import Watched, check, request, sample
from tests.service.wire import Cramped, Gate, noise
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

    from models.catalogue import Card
    from models.convolution import Axes
    from service.engine.batcher import Batcher
    from service.engine.device import PendingResult
    from service.engine.inference import InferenceRequest, InferenceResult
    from tests.service.engine.conftest import Start


def full() -> None:
    message = "CUDA out of memory"
    raise torch.OutOfMemoryError(message)


def test_page_locked_memory_is_freed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be what is short: its errors say no more than that there is no memory."""
    freed = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append("GPU"))
    monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: freed.append("host"), raising=False)
    Gpu.release(object.__new__(Gpu))
    assert freed == ["GPU", "host"]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("FIND was unable to find an engine to execute this computation"),
        RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
        MemoryError(),
    ],
)
def test_a_batch_that_does_not_fit_is_halved(start: Start, error: Exception) -> None:
    model, batcher = Cramped(2, error), start(batch_blocks=8)
    made = request(model, 4, 4, 72)
    check(made, batcher.queue.submit(made))
    # What was learned of the first batch holds for the rest of it and for the next ones.
    assert model.batches == [8, 4, *[2] * 9]
    assert sample(batcher, "out_of_memory_total") == 2


def test_larger_batches_are_tried_again_later(start: Start) -> None:
    model = Cramped(1, torch.OutOfMemoryError("full"))
    batcher = start(batch_blocks=2)
    batcher.queue.submit(request(model, 4, 4, 8)).result(PATIENCE_S)
    model.room = 2
    model.batches.clear()
    batcher.queue.submit(request(model, 4, 4, 4 * (RECOVERY + 4))).result(PATIENCE_S)
    assert model.batches[0] == 1
    assert model.batches[-1] == 2


def test_a_block_that_never_fits_fails_its_request_alone(start: Start) -> None:
    class Picky(Cramped):
        def forward(self, coarse: torch.Tensor, circular: Axes = NOWHERE) -> torch.Tensor:
            if (coarse.mean(dim=(1, 2, 3, 4, 5)).round() == 7).any():
                raise self.error
            return super().forward(coarse, circular)

    model = Picky(8, torch.OutOfMemoryError("full"))
    batcher = start(wait_s=0.2, batch_blocks=4)
    requests = [request(model, seed=seed) for seed in (1, 7, 2, 3)]
    futures = [batcher.queue.submit(made) for made in requests]
    with pytest.raises(Problem, match="4 x 4 x 4") as refusal:
        futures[1].result(PATIENCE_S)
    assert refusal.value.kind == "out-of-memory"
    for index in (0, 2, 3):
        check(requests[index], futures[index])
    model.error = ZeroDivisionError("a bug")
    futures = [batcher.queue.submit(request(model, seed=seed)) for seed in (1, 7, 2, 3)]
    with pytest.raises(ZeroDivisionError):
        futures[1].result(PATIENCE_S)
    assert all(futures[index].result(PATIENCE_S) for index in (0, 2, 3))
    assert sample(batcher, "queue_cells") == 0


def test_a_batch_takes_no_more_than_the_memory_holds(start: Start) -> None:
    gate, small = Gate(), Gate()
    gate.open.set()
    small.open.set()

    class Small(Device):
        def room(self, model: SuperResolution) -> int | None:
            return 2 * 4 * 4 * 6 + 1 if model is small else None

    batcher = start(device=Small(torch.device("cpu")))
    for _ in range(2):
        batcher.queue.submit(request(small, 4, 4, 20)).result(PATIENCE_S)
    assert small.batches == 2 * [2, 2, 1]
    batcher.queue.submit(request(gate, 4, 4, 20, name="other")).result(PATIENCE_S)
    assert gate.batches == [5]


def test_a_model_that_does_not_fit_to_be_measured_is_computed_block_by_block(start: Start) -> None:
    class Full(Device):
        def room(self, model: SuperResolution) -> int | None:  # noqa: ARG002 as of a device
            message = "CUDA out of memory"
            raise torch.OutOfMemoryError(message)

    gate = Gate()
    gate.open.set()
    made = request(gate, 4, 4, 4 * (RECOVERY + 3))
    start(made, device=Full(torch.device("cpu")))
    check(made, made.future)
    assert gate.batches == [*[1] * RECOVERY, 2, 1]  # more once that has gone well for long


def test_an_error_while_measuring_fails_its_request_alone(start: Start) -> None:
    errors = [RuntimeError("an illegal instruction")]

    class Broken(Device):
        def room(self, model: SuperResolution) -> int | None:  # noqa: ARG002 as of a device
            if errors:
                raise errors.pop()
            return None

    gate = Gate()
    gate.open.set()
    batcher = start(device=Broken(torch.device("cpu")))
    with pytest.raises(RuntimeError, match="illegal"):
        batcher.queue.submit(request(gate)).result(PATIENCE_S)
    made = request(gate)
    check(made, batcher.queue.submit(made))
    assert sample(batcher, "queue_cells") == 0


def test_a_batch_that_does_not_fit_waits_for_those_ahead_of_it(start: Start) -> None:
    """What they hold may be what it lacked."""
    model, device = Gate(), Watched(depth=2)
    model.open.set()
    device.when[1] = full
    made = request(model, 4, 4, 16)
    start(made, device=device, batch_blocks=2)
    check(made, made.future)
    assert device.events[:4] == ["launch 0", "launch 1", "land 0", "launch 2"]
    assert model.batches == [2, 1, 1]


def test_a_block_that_does_not_fit_beside_those_ahead_of_it_is_tried_again(start: Start) -> None:
    model, device = Gate(), Watched(depth=2)
    model.open.set()
    device.when[1] = full
    made = request(model, 4, 4, 8)
    batcher = start(made, device=device, batch_blocks=1)
    check(made, made.future)
    assert device.events == ["launch 0", "launch 1", "land 0", "launch 2", "land 2"]
    device.when = dict.fromkeys((4, 5), full)
    with pytest.raises(Problem, match="does not fit"):
        batcher.queue.submit(request(model, 4, 4, 8)).result(PATIENCE_S)


def test_a_slab_that_is_tried_again_has_the_same_numbers(start: Start) -> None:
    """Also if its answer alone did not fit, when the stream had gone on already."""

    class Full(Watched):
        def launch(self, *arguments: object) -> PendingResult:
            land = super().launch(*arguments)  # type: ignore[arg-type]
            if self.launched == 3:
                full()
            return land

    torch.manual_seed(1)
    model = SuperResolution(Network(Architecture("conv", "C1", 1, 1))).frozen()
    one, other = (VolumeRequest("conv", model, noise(1, 1, 3, 24, 12, 12), PERIODIC, 4, region=24) for _ in range(2))
    device = Full(depth=2)
    start(one, device=device)
    start(other)
    np.testing.assert_array_equal(one.future.result(PATIENCE_S).fine, other.future.result(PATIENCE_S).fine)
    assert device.events[:5] == ["launch 0", "launch 1", "land 0", "launch 2", "land 1"]


@pytest.mark.parametrize("region", [24, 4])
def test_nothing_keeps_a_request_that_failed(start: Start, tmp_path: Path, region: int) -> None:
    """Neither its error, while it is tried again in blocks, nor its future, until the garbage collector runs."""
    torch.manual_seed(1)
    model = SuperResolution(Network(Architecture("conv", "C1", 1, 1))).frozen()
    requests: list[weakref.ref[InferenceRequest]] = []
    alive: list[int] = []

    class Counting(Watched):
        def launch(self, *arguments: object) -> PendingResult:
            alive.append(sum(request() is not None for request in requests))
            return super().launch(*arguments)  # type: ignore[arg-type]

    class Noting(Engine):
        async def load(self, card: Card) -> SuperResolution:  # noqa: ARG002 it has this one alone
            return model

        async def submit(self, request: InferenceRequest, *, background: bool = False) -> InferenceResult:
            requests.append(weakref.ref(request))
            return await super().submit(request, background=background)

    async def ask_twice(batcher: Batcher) -> None:
        registry = ModelRegistry(Catalogue(tmp_path), batcher.device)
        engine = Noting(registry, batcher, Threads(1), block=4, region=region, deadline_s=None)
        for _ in range(2):
            with suppress(Problem):
                await engine.upscale(TRILINEAR, noise(1, 1, 3, 24, 12, 12), PERIODIC)

    device = Counting()
    device.when[0] = full
    batcher = start(device=device, batch_blocks=1)
    gc.collect()
    gc.disable()
    try:
        asyncio.run(ask_twice(batcher))
    finally:
        gc.enable()
    assert len(requests) == (3 if region == 24 else 2)
    assert {*alive} == {1}
