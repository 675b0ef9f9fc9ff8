"""The engine: from a coarse volume to a fine one in one call."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING

import torch

from models.catalogue import Catalogue
from service.engine.batcher import Batcher
from service.engine.device import open_device
from service.engine.inference import VolumeRequest
from service.engine.queue import Limits
from service.engine.registry import ModelRegistry, choose, is_same_model, unloadable
from service.engine.scores import Expectation, Scores, mean_error, measure
from service.engine.tracing import record
from service.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from models.blocks import Boundaries
    from models.catalogue import Card
    from models.superresolution import SuperResolution
    from service.engine.inference import InferenceRequest, InferenceResult
    from service.runtime.metrics import Metrics
    from service.runtime.threads import Threads
    from service.settings import Settings

# Cells in a batch. On a core of a CPU eight blocks of 4^3 took 0.7 times as long together as one after another, eight
# of 8^3 0.9 times, two of 12^3 as long, and eight of 20^3 1.05 times.
BATCH_CELLS = {"cpu": 4096}


class Engine:
    """Computes inference requests.

    Args:
        registry: loaded models.
        batcher: owns the device.
        threads: for loading models and reading volumes.
        block: longest edge of a block, in coarse cells.
        region: longest edge of a region, in coarse cells; see [`Regions`][service.engine.regions.Regions].
        deadline_s: seconds after which a foreground request that has not begun is given up; None for never.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        batcher: Batcher,
        threads: Threads,
        *,
        block: int,
        region: int,
        deadline_s: float | None,
    ) -> None:
        self.registry = registry
        self.batcher = batcher
        self.threads = threads
        self.block = block
        self.region = region
        self.deadline_s = deadline_s

    async def upscale(
        self, card: Card, samples: NDArray[np.float32], boundary: Boundaries, *, error: bool = False
    ) -> InferenceResult:
        """Super-resolve samples.

        Args:
            card: of the model.
            samples: velocity, (sample, frame, 3, z, y, x).
            boundary: what lies beyond the ends of each axis (z, y, x).
            error: whether to predict the error too.

        Raises:
            Problem: as ``load`` and ``submit`` do.
        """
        model = await self.load(card)

        async def compute(region: int) -> InferenceResult:
            request = await self.threads.run(
                lambda: VolumeRequest(card.name, model, samples, boundary, self.block, region, error=error)
            )
            return await self.submit(request)

        try:
            return await compute(self.region)
        except Problem as problem:
            if problem.kind != "out-of-memory" or self.region <= self.block:
                raise
        # The first slab of a region is larger than a block. Out of the handler, the failed request is forgotten.
        return await compute(self.block)

    async def validate(
        self,
        card: Card,
        samples: NDArray[np.float32],
        references: NDArray[np.float32],
        boundary: Boundaries,
        length: tuple[float, float, float],
    ) -> Scores:
        """Super-resolve samples and compare with references.

        Args:
            card: of the model.
            samples: velocity, (sample, frame, 3, z, y, x).
            references: the true fine velocity at the middle frame, (sample, 3, fine z, fine y, fine x).
            boundary: of each axis (z, y, x).
            length: of each axis (z, y, x).

        Raises:
            Problem: as ``load`` and ``submit`` do.
        """
        coarse = samples[:, card.frames // 2]
        answer = await self.upscale(card, samples, boundary, error=card.predicts_error)
        trilinear = answer if card.architecture is None else await self._interpolate(card, coarse, boundary)

        def score() -> Scores:
            ours, plain = (
                measure(each.fine[:, :3], references, coarse, trilinear.fine, boundary, length)
                for each in (answer, trilinear)
            )
            return Scores(ours, plain, mean_error(answer.fine))

        return await self.threads.run(score)

    async def check(self, card: Card, samples: NDArray[np.float32], boundary: Boundaries) -> Expectation:
        """Super-resolve samples, and predict how good the answers are; see ``upscale`` for arguments."""
        answer = await self.upscale(card, samples, boundary, error=True)
        trilinear = await self._interpolate(card, samples[:, card.frames // 2], boundary)
        return await self.threads.run(Expectation.of, answer.fine, trilinear.fine)

    async def _interpolate(self, card: Card, coarse: NDArray[np.float32], boundary: Boundaries) -> InferenceResult:
        """Trilinear interpolation of samples, (sample, 3, z, y, x), by the factor of a model."""
        return await self.upscale(self.registry.card(f"trilinear-x{card.factor}"), coarse[:, None], boundary)

    async def load(self, card: Card) -> SuperResolution:
        """The model of a card, on the device.

        Raises:
            Problem: "unloadable" if it cannot be loaded, "unready" if the device has failed.
        """

        def load() -> SuperResolution:
            with unloadable(f"{card.name} cannot be loaded"):
                model = self.registry.get(card.name)
            if not is_same_model(self.registry.card(card.name), card):
                raise Problem("unloadable", f"{card.name} was replaced meanwhile", retry_after=1)
            return model

        return await self.threads.run(load)

    async def submit(self, request: InferenceRequest, *, background: bool = False) -> InferenceResult:
        """Compute a request; if this is cancelled, its blocks leave the queue.

        Args:
            request: blocks to compute.
            background: whether it gives way to requests that clients wait for.

        Raises:
            Problem: "busy" if too much is waiting, "out-of-memory", "overdue" or "unready" if the device cannot do it,
                or not in time.
        """
        request.background = background
        future = asyncio.wrap_future(self.batcher.queue.submit(request))
        try:
            with self._deadline(request):
                result = (await future).detach()
        except Exception as error:  # noqa: BLE001 any one
            # A copy, as the future keeps the error, whose traceback would keep the request; see InferenceResult.detach.
            raise copy(error.with_traceback(None)) from None
        record(request, result)
        return result

    @contextmanager
    def _deadline(self, request: InferenceRequest) -> Iterator[None]:
        """Take a request that is not begun in time out of the queue."""
        if self.deadline_s is None or request.background:
            yield
            return
        timer = asyncio.get_running_loop().call_later(self.deadline_s, self.batcher.queue.expire, request)
        try:
            yield
        finally:
            timer.cancel()


def build_engine(settings: Settings, metrics: Metrics, threads: Threads) -> Engine:
    """The engine of these settings; its batcher has yet to be started."""
    device = open_device(choose(settings.device))
    registry = ModelRegistry(Catalogue(settings.weights), device, settings.precision)
    limits = Limits(
        wait_s=settings.batch_wait_ms / 1e3,
        batch_blocks=settings.max_batch_blocks,
        batch_cells=settings.max_batch_cells or BATCH_CELLS.get(device.place.type),
        queue_cells=settings.max_queue_cells,
    )
    batcher = Batcher(device, limits, metrics)
    block, region, deadline_s = settings.block, settings.region, settings.request_deadline_s
    return Engine(registry, batcher, threads, block=block, region=region, deadline_s=deadline_s)


def limit_threads(settings: Settings) -> None:
    """Let a computation of this thread take as many threads as the settings say, if they do."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
