"""One thread owns the device and computes blocks of one shape together, whichever requests they are from.

The blocks of an [`InferenceRequest`][service.engine.inference.InferenceRequest] wait here until a batch takes them.
Requests take turns: each batch starts from the request at the head of a queue and takes one block of each request in
turn, so that a large volume never holds up a small one; requests that gave a block go to the end of the queue.

There are two lines, and a batch is of one. Requests that somebody waits for go first, and those in the background take
what is left. Where both lines wait, one cell is computed in the background for every `PRECEDENCE` others: a background
batch goes first once that many times its cells have been computed while it had to wait. So neither line starves.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
import weakref
from collections import deque
from concurrent.futures import InvalidStateError
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from service.engine.inference import InferenceResult
from service.engine.queue import PRECEDENCE, ClosedError, Limits, OutOfMemoryError, OverdueError, QueueFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future

    from service.engine.device import Device, PendingResult
    from service.engine.inference import BatchKey, InferenceRequest, QueuedBlock
    from service.runtime.metrics import Metrics


logger = logging.getLogger("service.engine")
# Batches that must fit before a batch size that once did not is tried again.
RECOVERY: Final = 64


class InFlightBatch(NamedTuple):
    """A batch that the device has."""

    key: BatchKey
    batch: list[QueuedBlock]
    land: PendingResult


class Batcher:
    """The lines of waiting blocks and the thread that computes them.

    Args:
        device: that computes.
        limits: see [`Limits`][service.engine.queue.Limits].
        metrics: to keep.
        room: coarse cells that fit the device at a time, by model; looked up when a batch is made.
    """

    def __init__(self, device: Device, limits: Limits, metrics: Metrics, room: Mapping[str, int] | None = None) -> None:
        self.device = device
        self.limits = limits
        self.metrics = metrics
        self.room = {} if room is None else room
        # Requests that somebody waits for, and requests in the background.
        self._lines: tuple[deque[InferenceRequest], deque[InferenceRequest]] = (deque(), deque())
        # Cells computed while the background waited, that it has had nothing for yet.
        self._owed = 0
        self._in_flight: deque[InFlightBatch] = deque()
        self._tasks: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._cells = 0
        self._closed = False
        self._seconds_per_cell = 1e-6
        # Batch sizes known not to fit are not tried again for a while: key -> (largest that may, successes since).
        self._ceilings: dict[BatchKey, tuple[int, int]] = {}
        self._thread: threading.Thread | None = None

    def start(self, prepare: Callable[[], None] = lambda: None) -> None:
        """Start the thread; ``prepare`` is the first thing that it runs, with the device to itself."""
        self._thread = threading.Thread(target=self._run, args=(prepare,), name="device", daemon=True)
        self._thread.start()

    def when_idle(self, task: Callable[[], None]) -> None:
        """Run a task on the thread that computes, as soon as nothing waits and the device is idle."""
        with self._changed:
            self._tasks.append(task)
            self._changed.notify_all()

    def close(self) -> None:
        """Finish the batches at hand, fail what still waits, and end the thread."""
        with self._changed:
            self._closed = True
            left = list(itertools.chain(*self._lines))
            self._changed.notify_all()
        for request in left:
            self._fail(request, ClosedError("the service is shutting down"))
        if self._thread:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether there is a thread that computes."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, request: InferenceRequest) -> Future[InferenceResult]:
        """Put a request in line. Cancelling the future takes its waiting blocks out again.

        Raises:
            QueueFullError: if too much is waiting.
            ClosedError: after ``close``.
        """
        with self._changed:
            if self._closed:
                message = "the service is shutting down"
                raise ClosedError(message)
            if self._cells and self._cells + request.cells > self.limits.queue_cells:
                raise QueueFullError(self._cells * self._seconds_per_cell)
            request.submitted = time.monotonic()
            self._cells += request.cells
            self._lines[request.background].append(request)
            self._count()
            self._changed.notify_all()
        # Weak, for the reason given with InferenceResult.taken; whoever ends the request holds it.
        weak = weakref.ref(request)
        request.future.add_done_callback(lambda _: self._leave(weak()))
        return request.future

    def expire(self, request: InferenceRequest) -> None:
        """Fail a request, and take it out of line, unless a batch has taken blocks of it."""
        with self._changed:
            if not request.begun:
                self._fail(request, OverdueError(self._cells * self._seconds_per_cell))

    def _leave(self, request: InferenceRequest | None) -> None:
        """A request is answered, failed or no longer wanted."""
        assert request is not None  # noqa: S101 in line, or being computed
        with self._changed:
            if dropped := request.blocks:
                self._lines[request.background].remove(request)
                request.waiting.clear()
                self.metrics.dropped_blocks.inc(dropped)
            self._cells -= request.cells
            self._count()

    def _count(self) -> None:
        self.metrics.queue_blocks.set(sum(request.blocks for request in itertools.chain(*self._lines)))
        self.metrics.queue_cells.set(self._cells)

    def _run(self, prepare: Callable[[], None]) -> None:
        prepare()
        with torch.inference_mode():
            for key, batch in self._batches():
                self._compute(key, batch)

    def _batches(self) -> Iterator[tuple[BatchKey, list[QueuedBlock]]]:
        """What to compute, until closed. Lands what the device has whenever there is nothing to send to it."""
        while True:
            if batch := self._next_batch():
                yield batch
            elif self._in_flight:
                self._land()
            elif self._tasks and not self._closed:
                try:
                    self._tasks.popleft()()
                except Exception:  # it concerns nobody who waits
                    logger.exception("a task for an idle device failed")
            else:
                return

    def _next_batch(self) -> tuple[BatchKey, list[QueuedBlock]] | None:
        """Wait for a batch to fill, or for its first block to have waited long enough.

        None once closed, and instead of waiting while the device has a batch or there is a task to run.
        """
        with self._changed:
            while not self._closed:
                left = None
                if any(self._lines):
                    line = self._choose()
                    head = line[0]
                    key = head.next_key
                    size = self._capacity(key)
                    ready = sum(len(request.waiting.get(key, ())) for request in line)
                    left = head.submitted + self.limits.wait_s - time.monotonic()
                    if ready >= size or left <= 0:
                        return key, self._take(line, key, size)
                if self._in_flight or (self._tasks and left is None):
                    break
                self._changed.wait(left)
        return None

    def _choose(self) -> deque[InferenceRequest]:
        """The line that the next batch is of; at least one is not empty."""
        line, behind = self._lines
        if not behind:
            # What is owed is for waiting, and nobody waits.
            self._owed = 0
            return line
        if not line:
            return behind
        key = behind[0].next_key
        ready = sum(len(request.waiting.get(key, ())) for request in behind)
        cells = min(self._capacity(key), ready) * math.prod(key.shape)
        return behind if self._owed >= PRECEDENCE * cells else line

    def _capacity(self, key: BatchKey) -> int:
        """Most blocks of a key that may be computed at once."""
        blocks = self.limits.batch_blocks
        for cells in (self.limits.batch_cells, self.room.get(key.model)):
            if cells is not None:
                blocks = min(blocks, cells // math.prod(key.shape))
        ceiling, _ = self._ceilings.get(key, (blocks, 0))
        return max(1, min(blocks, ceiling))

    def _take(self, line: deque[InferenceRequest], key: BatchKey, size: int) -> list[QueuedBlock]:
        """Take blocks of a key out of a line, one request after another, round and round."""
        givers = deque(request for request in line if key in request.waiting)
        served = dict.fromkeys(itertools.islice(givers, size))
        batch: list[QueuedBlock] = []
        while givers and len(batch) < size:
            request = givers.popleft()
            batch.append(request.take(key))
            if key in request.waiting:
                givers.append(request)
        self._note(batch[0].request, len(batch) * math.prod(key.shape))
        rest = [request for request in line if request not in served]
        line.clear()
        line.extend([*rest, *(request for request in served if request.waiting)])
        self._count()
        return batch

    def _note(self, first: InferenceRequest, cells: int) -> None:
        """Note what the background is owed, where both lines wait."""
        if all(self._lines):
            self._owed += -PRECEDENCE * cells if first.background else cells

    def _compute(self, key: BatchKey, batch: list[QueuedBlock]) -> None:
        """Compute a batch; in smaller and smaller parts if it does not fit, and one by one if it fails otherwise."""
        size = len(batch)
        while batch := [item for item in batch if not item.request.future.done()]:
            part = batch[:size]
            try:
                self._forward(key, part)
            except Exception as error:  # whatever a model raises concerns the requests in this batch alone
                short = out_of_memory(error)
                if not short and len(part) == 1:
                    logger.exception("%s failed on a block of %s", key.model, key.shape)
                # The traceback holds on to the tensors that did not fit.
                failure: Exception = error.with_traceback(None)
            else:
                self._fitted(key, len(part))
                batch = batch[len(part) :]
                while len(self._in_flight) >= self.device.depth:
                    self._land()
                continue
            if short:
                self._release(key, len(part))
            if len(part) > 1:
                size = len(part) // 2 if short else 1
                continue
            if short:
                cells = " x ".join(map(str, key.shape))
                failure = OutOfMemoryError(f"a block of {cells} coarse cells, halo included, does not fit the device")
            self._fail(part[0].request, failure)

    def _forward(self, key: BatchKey, batch: list[QueuedBlock]) -> None:
        """Send a batch to the device."""
        start = time.monotonic()
        for item in batch:
            item.request.started = item.request.started or start
        blocks = [item.request.read(item) for item in batch]
        land = self.device.launch(batch[0].request.model, blocks, key.circular)
        self._in_flight.append(InFlightBatch(key, batch, land))

    def _land(self) -> None:
        """Take back the batch that the device has had for longest, and hand its blocks out."""
        key, batch, land = self._in_flight.popleft()
        try:
            fine, seconds = land()
            self._observe(key, batch, seconds)
            for item, part in zip(batch, fine, strict=True):
                item.request.compute_seconds += seconds / len(batch)
                item.request.write(item, part)
                if not item.request.missing:
                    self._finish(item.request)
        except Exception as error:  # what a device tells late concerns this batch alone
            logger.exception("%s failed on blocks of %s", key.model, key.shape)
            for item in batch:
                self._fail(item.request, error.with_traceback(None))

    def _observe(self, key: BatchKey, batch: list[QueuedBlock], seconds: float) -> None:
        self.metrics.batch_blocks.labels(key.model).observe(len(batch))
        self.metrics.batch_requests.labels(key.model).observe(len({id(item.request) for item in batch}))
        self.metrics.compute_seconds.labels(key.model).observe(seconds)
        cells = sum(math.prod(item.block.shape) for item in batch)
        self.metrics.voxels.labels(key.model).inc(batch[0].request.model.factor ** 3 * cells)
        self._seconds_per_cell += 0.2 * (seconds / cells - self._seconds_per_cell)

    def _fitted(self, key: BatchKey, size: int) -> None:
        """Let a batch size that once did not fit be tried again after many that did."""
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
        """Remember that a batch did not fit, and make what room there is."""
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

    def _fail(self, request: InferenceRequest, error: BaseException) -> None:
        try:
            request.future.set_exception(error)
        except InvalidStateError:
            logger.info("a failure came after its client had left")


def out_of_memory(error: BaseException) -> bool:
    """Whether a computation failed for want of memory, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
