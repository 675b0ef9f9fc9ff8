"""Batchers, what they are asked for, and a device that tells what it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.blocks import PERIODIC
from models.superresolution import SuperResolution, upscale
from service.engine.batcher import Batcher
from service.engine.device import Device
from service.engine.inference import VolumeRequest
from service.engine.queue import Limits
from service.runtime.metrics import Metrics
from tests.service.wire import noise
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from models.convolution import Axes
    from service.engine.device import Compute, PendingResult
    from service.engine.inference import InferenceResult
    from tests.service.wire import Gate

Start = Callable[..., Batcher]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a batcher with some limits, and requests that are in line before it computes."""
    running: list[Batcher] = []

    def make(*requests: VolumeRequest, device: Device | None = None, **limits: float) -> Batcher:
        device = device or Device(torch.device("cpu"))
        batcher = Batcher(device, Limits(**{"wait_s": 0, **limits}), Metrics())  # type: ignore[arg-type]
        for each in requests:
            batcher.queue.submit(each)
        batcher.start()
        running.append(batcher)
        return batcher

    yield make
    for batcher in running:
        batcher.close()
        assert not batcher.alive


def request(
    model: SuperResolution, *shape: int, seed: int = 0, block: int = 4, name: str = "gate", background: bool = False
) -> VolumeRequest:
    """A request whose blocks are told apart by their mean velocity."""
    volume = noise(1, 1, 3, *(shape or (4, 4, 4)), seed=seed) / np.float32(100)
    volume += seed - volume.mean(axis=(3, 4, 5), keepdims=True)
    made = VolumeRequest(name, model, volume, PERIODIC, block)
    made.background = background
    return made


def check(made: VolumeRequest, future: Future[InferenceResult]) -> None:
    """Its answer is what the model makes of it by itself."""
    answer = future.result(PATIENCE_S)
    block = max(made.plan.block_shape)
    wanted = upscale(SuperResolution(), made.sources[0], made.plan.boundary, block=block)
    np.testing.assert_array_equal(answer.fine[0], wanted)


def sample(batcher: Batcher, name: str, **labels: str) -> float:
    return batcher.metrics.registry.get_sample_value(f"eddylift_{name}", labels) or 0.0


def blocks_of(gate: Gate) -> list[int]:
    """The seeds of the requests that blocks were of, in the order in which they were computed."""
    return [round(mean) for mean in gate.blocks]


class Watched(Device):
    """The CPU, which tells what it does, and says late what it found if it requests ahead."""

    def __init__(self, depth: int = 1) -> None:
        super().__init__(torch.device("cpu"))
        self.depth = depth
        self.events: list[str] = []
        # What to do when a batch is launched, or to raise when it lands, by the number of the batch.
        self.when: dict[int, Callable[[], object]] = {}
        self.late: dict[int, Exception] = {}
        self.launched = 0

    def launch(
        self,
        compute: Compute,
        blocks: Sequence[NDArray[np.float32]],
        circular: Axes,
    ) -> PendingResult:
        number = self.launched
        self.launched += 1
        self.events.append(f"launch {number}")
        self.when.get(number, lambda: None)()
        land = super().launch(compute, blocks, circular)

        def tell() -> tuple[NDArray[np.float32], float]:
            self.events.append(f"land {number}")
            if number in self.late:
                raise self.late[number]
            return land()

        return tell
