"""One thread owns the device, and computes blocks of one shape together, whichever requests they belong to.

The blocks of an [`InferenceRequest`][service.engine.inference.InferenceRequest] wait in the
[`RequestQueue`][service.engine.queue.RequestQueue] until a batch takes them.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from concurrent.futures import InvalidStateError
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from models.streaming import Stream
from service.engine.device import device_failed
from service.engine.inference import InferenceResult
from service.engine.queue import RequestQueue, fail
from service.problems import Problem, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service.engine.device import Device, PendingResult
    from service.engine.inference import BatchKey, InferenceRequest, QueuedBlock
    from service.engine.queue import Batch, Limits
    from service.runtime.metrics import Metrics


logger = logging.getLogger("service.engine")
# Words of cuDNN for too little memory, or for what it cannot compute at all.
NO_ENGINE: Final = ("unable to find an engine", "Unable to find a valid cuDNN algorithm")
# Number of batches that must fit before a larger size, which did not, is tried again.
RECOVERY: Final = 64


class InFlightBatch(NamedTuple):
    """A batch that was sent to the device."""

    key: BatchKey
    batch: list[QueuedBlock]
    land: PendingResult


class Batcher:
    """The thread that computes waiting requests.

    Args:
        device: computes.
        limits: see [`Limits`][service.engine.queue.Limits].
        metrics: are kept up to date.

    Attributes:
        queue: of waiting requests.
    """

    def __init__(self, device: Device, limits: Limits, metrics: Metrics) -> None:
        self.device = device
        self.limits = limits
        self.metrics = metrics
        # Of each model, the coarse cells that fit the device at a time, halos included.
        self._room: dict[str, int | None] = {}
        self.queue = RequestQueue(limits, metrics, self._capacity)
        self._in_flight: deque[InFlightBatch] = deque()
        # Sizes that did not fit are not tried again for a while: key -> (largest size allowed, successes since).
        self._ceilings: dict[BatchKey, tuple[int, int]] = {}
        self._thread: threading.Thread | None = None

    def start(self, prepare: Callable[[], None] = lambda: None) -> None:
        """Start the thread; ``prepare`` is the first thing that it runs, with the device to itself."""
        self._thread = threading.Thread(target=self._run, args=(prepare,), name="device", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the batches at hand, fail the waiting requests, and end the thread."""
        self.queue.close()
        if self._thread:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread runs, and can compute."""
        return self._thread is not None and self._thread.is_alive() and not self.device.broken

    def _run(self, prepare: Callable[[], None]) -> None:
        prepare()
        with torch.inference_mode():
            for key, batch in self._batches():
                with self._failing_alone(key, batch):
                    if key.model not in self._room:
                        self._measure(key, batch[0].request)
                    self._compute(key, batch)

    def _batches(self) -> Iterator[Batch]:
        """Batches to compute, until closed. While there is none, fetches results from the device."""
        while True:
            if batch := self.queue.take(wait=not self._in_flight):
                yield batch
            elif self._in_flight:
                self._land()
            else:
                return

    def _measure(self, key: BatchKey, request: InferenceRequest) -> None:
        """Measure how much of a model fits the device, which must be idle for that."""
        while self._in_flight:
            self._land()
        try:
            self._room[key.model] = self.device.room(request.model) if request.model else None
        except Exception as error:
            if not out_of_memory(error):
                raise
        else:
            return
        # Begin with single blocks; once memory is free again, larger batches are tried.
        logger.warning("%s has no memory free to measure how much of %s fits", self.device, key.model)
        self._room[key.model] = None
        self._ceilings[key] = 1, 0
        self.device.release()

    def _capacity(self, key: BatchKey) -> int:
        """Largest number of blocks of a key that may be computed at once."""
        blocks = self.limits.batch_blocks
        for cells in (self.limits.batch_cells, self._room.get(key.model)):
            if cells is not None:
                blocks = min(blocks, cells // math.prod(key.shape))
        ceiling, _ = self._ceilings.get(key, (blocks, 0))
        return max(1, min(blocks, ceiling))

    def _compute(self, key: BatchKey, batch: list[QueuedBlock]) -> None:
        """Compute a batch: in ever smaller parts if it does not fit, and block by block if it fails otherwise."""
        size = min(len(batch), self._capacity(key))
        while batch := [item for item in batch if not item.request.future.done()]:
            part = batch[:size]
            try:
                self._forward(key, part)
            except Exception as error:  # of any kind: it fails the requests of this batch alone
                if not self.device.works():
                    raise
                short = out_of_memory(error)
                if not short and len(part) == 1:
                    logger.exception("%s failed on a block of %s", key.model, key.shape)
                # The traceback holds on to the tensors that did not fit.
                failure = error.with_traceback(None)
            else:
                self._fitted(key, len(part))
                batch = batch[len(part) :]
                while len(self._in_flight) >= self.device.depth:
                    self._land()
                continue
            ahead = bool(self._in_flight)
            if short:
                self._release(key, len(part))
            if len(part) > 1:
                size = len(part) // 2 if short else 1
            elif not (short and ahead):  # what was ahead took memory
                fail(part[0].request, _does_not_fit(key) if short else failure)

    def _forward(self, key: BatchKey, batch: list[QueuedBlock]) -> None:
        """Send a batch to the device."""
        start = time.monotonic()
        for item in batch:
            item.request.started = item.request.started or start
        blocks = [item.request.read(item) for item in batch]
        compute = batch[0].request.compute_of(batch[0])
        with compute.undone_on_failure() if isinstance(compute, Stream) else nullcontext():
            land = self.device.launch(compute, blocks, key.circular)
        self._in_flight.append(InFlightBatch(key, batch, land))

    def _land(self) -> None:
        """Fetch the results of the oldest batch on the device, and hand its blocks to their requests."""
        key, batch, land = self._in_flight.popleft()
        with self._failing_alone(key, batch):  # a device may raise late
            fine, seconds = land()
            self._observe(key, batch, seconds)
            for item, part in zip(batch, fine, strict=True):
                item.request.compute_seconds += seconds / len(batch)
                item.request.write(item, part)
                if not item.request.missing:
                    self._finish(item.request)

    def _observe(self, key: BatchKey, batch: list[QueuedBlock], seconds: float) -> None:
        self.metrics.batch_blocks.labels(key.model).observe(len(batch))
        self.metrics.batch_requests.labels(key.model).observe(len({id(item.request) for item in batch}))
        self.metrics.compute_seconds.labels(key.model).observe(seconds)
        cells = sum(math.prod(item.block.shape) for item in batch)
        self.metrics.voxels.labels(key.model).inc(batch[0].request.factor ** 3 * cells)
        self.queue.seconds_per_cell += 0.2 * (seconds / cells - self.queue.seconds_per_cell)

    def _fitted(self, key: BatchKey, size: int) -> None:
        """Try a size that did not fit again, after many batches that did."""
        if key not in self._ceilings:
            return
        ceiling, successes = self._ceilings[key]
        successes += size >= ceiling
        if successes < RECOVERY:
            self._ceilings[key] = ceiling, successes
        elif 2 * ceiling >= self.limits.batch_blocks:
            del self._ceilings[key]
        else:
            self._ceilings[key] = 2 * ceiling, 0

    def _release(self, key: BatchKey, size: int) -> None:
        """Remember that a batch did not fit, and free memory."""
        while self._in_flight:
            self._land()
        self.metrics.out_of_memory.inc()
        self._ceilings[key] = max(1, size // 2), 0
        logger.warning("%d blocks of %s do not fit %s", size, key.shape, self.device)
        self.device.release()

    def _finish(self, request: InferenceRequest) -> None:
        answer = InferenceResult(request.fine, request.started - request.submitted, request.compute_seconds)
        self.metrics.queue_seconds.observe(answer.queue_seconds)
        try:
            request.future.set_result(answer)
        except InvalidStateError:
            logger.info("an answer came after its client had left")

    @contextmanager
    def _failing_alone(self, key: BatchKey, batch: list[QueuedBlock]) -> Iterator[None]:
        """Let an error, of any kind, fail the requests of a batch alone: the thread lives on if the device does."""
        try:
            yield
        except Exception as error:
            logger.exception("%s failed on blocks of %s", key.model, key.shape)
            failure: Exception = error.with_traceback(None)
            if self.device.has_failed():
                self.queue.close()
                failure = device_failed()
            for item in batch:
                fail(item.request, failure)


def _does_not_fit(key: BatchKey) -> Problem:
    cells = " x ".join(map(str, key.shape))
    detail = f"a block of {cells} coarse cells, halo included, does not fit the device"
    return Problem("out-of-memory", detail, retry_after=60)


def out_of_memory(error: BaseException) -> bool:
    """Whether a computation ran out of memory, on a GPU or on the CPU."""
    return (
        isinstance(error, torch.OutOfMemoryError)
        or is_out_of_memory(error)
        or (isinstance(error, RuntimeError) and any(words in str(error) for words in NO_ENGINE))
    )
