"""One thread owns the device and computes blocks of one shape together, whichever requests they are from.

What is wanted together is a [`Work`][service.batching.Work]; its blocks wait here until a batch takes them. Works take
turns: each batch starts from the work at the head of the line and takes one block of each work in turn, so that a large
volume never holds up a small one; works that gave a block go to the end of the line.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch

from models.blocks import Block, plan
from models.superresolution import moments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from models.blocks import Boundaries, Cells, Plan
    from models.layers import Axes
    from models.superresolution import SuperResolution
    from service.monitoring import Metrics

logger = logging.getLogger("service.batching")
# Batches that must fit before a batch size that once did not is tried again.
RECOVERY: Final = 64


class QueueFullError(RuntimeError):
    """More is waiting than may wait.

    Attributes:
        retry_after: seconds until there may be room.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__("too much is waiting for the device")
        self.retry_after = retry_after


class OutOfMemoryError(RuntimeError):
    """A single block does not fit the device."""


class ClosedError(RuntimeError):
    """The service is shutting down."""


class Key(NamedTuple):
    """What blocks must share to be computed together.

    Attributes:
        model: its name.
        shape: coarse cells of a block with its halo, (z, y, x).
        circular: axes that are wrapped inside the network, (z, y, x).
    """

    model: str
    shape: Cells
    circular: Axes


class Item(NamedTuple):
    """One block of a work, waiting."""

    work: Work
    sample: int
    block: Block


@dataclass
class Answer:
    """What became of a work.

    Attributes:
        fine: velocity, (sample, 3, 4 z, 4 y, 4 x).
        queue_seconds: from submission to the first batch.
        compute_seconds: time on the device; batches shared with others count in part.
    """

    fine: NDArray[np.float32]
    queue_seconds: float
    compute_seconds: float

    def taken(self) -> Answer:
        """The same, whose field this one no longer holds.

        Futures and their callbacks hold on to each other until the garbage collector comes, which counts objects, not
        bytes.
        """
        answer = replace(self)
        self.fine = np.empty(0, np.float32)
        return answer


class Work:
    """Blocks that are wanted together: those of volumes of one shape, for one model.

    Args:
        name: of the model.
        model: the model, on the batcher's device.
        layout: how the volumes are cut.
        blocks: what is wanted of each sample; together they fill a box.
        scales: mean velocity and rms of each sample.
    """

    def __init__(
        self,
        name: str,
        model: SuperResolution,
        layout: Plan,
        blocks: Sequence[Block],
        scales: Sequence[tuple[NDArray[np.float32], np.float32]],
    ) -> None:
        self.model = model
        self.plan = layout
        self.means = np.stack([mean for mean, _ in scales])
        self.scales = np.array([scale for _, scale in scales], np.float32)
        self.box = Block(blocks[0].start, blocks[-1].stop)
        self.fine = np.empty((len(scales), 3, *(model.factor * n for n in self.box.shape)), np.float32)
        self.cells = len(scales) * math.prod(self.box.shape)
        self.future: Future[Answer] = Future()
        self.waiting: dict[Key, deque[Item]] = {}
        for sample, part in itertools.product(range(len(scales)), blocks):
            z, y, x = (n + (0 if wrap else 2 * model.halo) for n, wrap in zip(part.shape, layout.circular, strict=True))
            self.waiting.setdefault(Key(name, (z, y, x), layout.circular), deque()).append(Item(self, sample, part))
        self.missing = len(scales) * len(blocks)
        self.submitted = self.started = 0.0
        self.compute_seconds = 0.0

    @property
    def next_key(self) -> Key:
        """What its next block shares with others."""
        return next(iter(self.waiting))

    @property
    def blocks(self) -> int:
        """How many of its blocks wait."""
        return sum(map(len, self.waiting.values()))

    def take(self, key: Key) -> Item:
        """Its next block of a key."""
        queue = self.waiting[key]
        item = queue.popleft()
        if not queue:
            del self.waiting[key]
        return item

    def read(self, item: Item) -> NDArray[np.float32]:
        """A block with its halo, (frame, 3, z, y, x); on the batcher's thread, so it must be at hand."""
        raise NotImplementedError

    def write(self, item: Item, fine: NDArray[np.float32]) -> None:
        """Put a computed block, (3, 4 z, 4 y, 4 x), in its place."""
        place = item.block.within(self.box).fine(self.model.factor)
        self.fine[item.sample][:, *place] = fine
        self.missing -= 1


class Volumes(Work):
    """Whole volumes. Reads them once, for their mean and rms: make it outside the event loop.

    Args:
        name: of the model.
        model: the model, on the batcher's device.
        sources: velocity, (sample, frame, 3, z, y, x); each sample is super-resolved by itself.
        boundary: what lies beyond the ends of each axis (z, y, x).
        block: longest edge of a block, in coarse cells.
    """

    def __init__(
        self, name: str, model: SuperResolution, sources: NDArray[np.float32], boundary: Boundaries, block: int
    ) -> None:
        layout = plan(sources.shape[3:], halo=model.halo, boundary=boundary, block=block)
        super().__init__(name, model, layout, layout.blocks, [moments(source) for source in sources])
        self.sources = sources

    def read(self, item: Item) -> NDArray[np.float32]:
        """See the class above."""
        return self.plan.gather(self.sources[item.sample], item.block)


class Part(Work):
    """One block of a volume that is not in memory.

    Args:
        name: of the model.
        model: the model, on the batcher's device.
        layout: how the volume is cut.
        block: which block.
        coarse: it, with its halo, (frame, 3, z, y, x).
        scale: mean velocity and rms of the volume.
    """

    def __init__(
        self,
        name: str,
        model: SuperResolution,
        layout: Plan,
        block: Block,
        coarse: NDArray[np.float32],
        scale: tuple[NDArray[np.float32], np.float32],
    ) -> None:
        super().__init__(name, model, layout, [block], [scale])
        self.coarse = coarse

    def read(self, item: Item) -> NDArray[np.float32]:  # noqa: ARG002 there is but one
        """See the class above."""
        return self.coarse


@dataclass(frozen=True)
class Limits:
    """How much may wait, and how much is computed at once.

    Attributes:
        wait_s: how long the first block of a batch waits for others.
        batch_blocks: most blocks in a batch.
        batch_cells: most coarse cells in a batch, halos included, unless one block alone has more.
        queue_cells: most coarse cells that wait or are being computed, unless one work alone has more.
    """

    wait_s: float = 0.005
    batch_blocks: int = 16
    batch_cells: int = 1_000_000
    queue_cells: int = 8_388_608


class Batcher:
    """The line of waiting blocks and the thread that computes them.

    Args:
        device: that computes.
        limits: see [`Limits`][service.batching.Limits].
        metrics: to keep.
    """

    def __init__(self, device: torch.device, limits: Limits, metrics: Metrics) -> None:
        self.device = device
        self.limits = limits
        self.metrics = metrics
        self._line: deque[Work] = deque()
        self._changed = threading.Condition()
        self._cells = 0
        self._closed = False
        self._seconds_per_cell = 1e-6
        # Batch sizes known not to fit are not tried again for a while: key -> (largest that may, successes since).
        self._ceilings: dict[Key, tuple[int, int]] = {}
        self._thread: threading.Thread | None = None

    def start(self, prepare: Callable[[], None] = lambda: None) -> None:
        """Start the thread; ``prepare`` is the first thing that it runs, with the device to itself."""
        self._thread = threading.Thread(target=self._run, args=(prepare,), name="device", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the batch at hand, fail what still waits, and end the thread."""
        with self._changed:
            self._closed = True
            left = list(self._line)
            self._changed.notify_all()
        for work in left:
            self._fail(work, ClosedError("the service is shutting down"))
        if self._thread:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether there is a thread that computes."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, work: Work) -> Future[Answer]:
        """Put a work in line. Cancelling the future takes its waiting blocks out again.

        Raises:
            QueueFullError: if too much is waiting.
            ClosedError: after ``close``.
        """
        with self._changed:
            if self._closed:
                message = "the service is shutting down"
                raise ClosedError(message)
            if self._cells and self._cells + work.cells > self.limits.queue_cells:
                raise QueueFullError(self._cells * self._seconds_per_cell)
            work.submitted = time.monotonic()
            self._cells += work.cells
            self._line.append(work)
            self._count()
            self._changed.notify_all()
        # Weak, for the reason given with Answer.taken; whoever ends the work holds it.
        reference = weakref.ref(work)
        work.future.add_done_callback(lambda _: self._leave(reference()))
        return work.future

    def _leave(self, work: Work | None) -> None:
        """A work is answered, failed or no longer wanted."""
        assert work is not None  # noqa: S101 in line, or being computed
        with self._changed:
            if dropped := work.blocks:
                self._line.remove(work)
                work.waiting.clear()
                self.metrics.dropped_blocks.inc(dropped)
            self._cells -= work.cells
            self._count()

    def _count(self) -> None:
        self.metrics.queue_blocks.set(sum(work.blocks for work in self._line))
        self.metrics.queue_cells.set(self._cells)

    def _run(self, prepare: Callable[[], None]) -> None:
        prepare()
        with torch.inference_mode():
            while batch := self._next_batch():
                self._compute(*batch)

    def _next_batch(self) -> tuple[Key, list[Item]] | None:
        """Wait for a batch to fill, or for its first block to have waited long enough. None once closed."""
        with self._changed:
            while not self._closed:
                if not self._line:
                    self._changed.wait()
                    continue
                head = self._line[0]
                key = head.next_key
                size = self._capacity(key)
                ready = sum(len(work.waiting.get(key, ())) for work in self._line)
                left = head.submitted + self.limits.wait_s - time.monotonic()
                if ready < size and left > 0:
                    self._changed.wait(left)
                    continue
                return key, self._take(key, size)
        return None

    def _capacity(self, key: Key) -> int:
        """Most blocks of a key that may be computed at once."""
        fit = max(1, self.limits.batch_cells // math.prod(key.shape))
        ceiling, _ = self._ceilings.get(key, (fit, 0))
        return min(self.limits.batch_blocks, fit, ceiling)

    def _take(self, key: Key, size: int) -> list[Item]:
        """Take blocks of a key out of the line, one work after another, round and round."""
        givers = deque(work for work in self._line if key in work.waiting)
        served = dict.fromkeys(itertools.islice(givers, size))
        batch: list[Item] = []
        while givers and len(batch) < size:
            work = givers.popleft()
            batch.append(work.take(key))
            if key in work.waiting:
                givers.append(work)
        rest = [work for work in self._line if work not in served]
        self._line = deque([*rest, *(work for work in served if work.waiting)])
        self._count()
        return batch

    def _compute(self, key: Key, batch: list[Item]) -> None:
        """Compute a batch; in smaller and smaller parts if it does not fit, and one by one if it fails otherwise."""
        size = len(batch)
        while batch := [item for item in batch if not item.work.future.done()]:
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
                continue
            if short:
                self._release(key, len(part))
            if len(part) > 1:
                size = len(part) // 2 if short else 1
                continue
            if short:
                cells = " x ".join(map(str, key.shape))
                failure = OutOfMemoryError(f"a block of {cells} coarse cells, halo included, does not fit the device")
            self._fail(part[0].work, failure)

    def _forward(self, key: Key, batch: list[Item]) -> None:
        """Compute a batch and hand the blocks out."""
        model = batch[0].work.model
        start = time.monotonic()
        for item in batch:
            item.work.started = item.work.started or start
        coarse = torch.from_numpy(np.stack([item.work.read(item) for item in batch])).to(self.device)
        mean = torch.from_numpy(np.stack([item.work.means[item.sample] for item in batch])).to(self.device)
        scale = torch.from_numpy(np.stack([item.work.scales[item.sample] for item in batch])).to(self.device)
        fine = model(coarse, mean, scale, key.circular).cpu().numpy()
        seconds = time.monotonic() - start
        self.metrics.batch_blocks.labels(key.model).observe(len(batch))
        self.metrics.batch_requests.labels(key.model).observe(len({id(item.work) for item in batch}))
        self.metrics.compute_seconds.labels(key.model).observe(seconds)
        self.metrics.voxels.labels(key.model).inc(math.prod(fine.shape[2:]) * len(batch))
        cells = sum(math.prod(item.block.shape) for item in batch)
        self._seconds_per_cell += 0.2 * (seconds / cells - self._seconds_per_cell)
        for item, part in zip(batch, fine, strict=True):
            item.work.compute_seconds += seconds / len(batch)
            item.work.write(item, part)
            if not item.work.missing:
                self._finish(item.work)

    def _fitted(self, key: Key, size: int) -> None:
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

    def _release(self, key: Key, size: int) -> None:
        """Remember that a batch did not fit, and give back what the allocator holds."""
        self.metrics.out_of_memory.inc()
        self._ceilings[key] = max(1, size // 2), 0
        logger.warning("%d blocks of %s do not fit %s", size, key.shape, self.device)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _finish(self, work: Work) -> None:
        answer = Answer(work.fine, work.started - work.submitted, work.compute_seconds)
        self.metrics.queue_seconds.observe(answer.queue_seconds)
        try:
            work.future.set_result(answer)
        except InvalidStateError:
            logger.info("an answer came after its client had left")

    def _fail(self, work: Work, error: BaseException) -> None:
        try:
            work.future.set_exception(error)
        except InvalidStateError:
            logger.info("a failure came after its client had left")


def out_of_memory(error: BaseException) -> bool:
    """Whether a computation failed for want of memory, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
