"""Requests that wait for the device, and the order in which their blocks are taken.

Requests take turns: a batch starts with the request at the head of a queue and takes one block of each request in
turn, so that a small volume waits for a batch of a large one, and not for all of it. Requests that gave a block go to
the end of the queue. Clients take turns, too: however many requests one client has in the queue, other clients need not
wait for all of them.

There are two queues; a batch is from one of them. Requests in the foreground, which a client waits for, go before those
in the background. While both wait, one cell in the background is computed for every `PRECEDENCE` cells in the
foreground, so that neither queue starves.
"""

from __future__ import annotations

import bisect
import itertools
import logging
import math
import threading
import time
import weakref
from collections import deque
from concurrent.futures import InvalidStateError
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from service.problems import Problem, busy, unready

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from service.engine.inference import BatchKey, InferenceRequest, InferenceResult, QueuedBlock
    from service.runtime.metrics import Metrics


# The client whose request is served; set by the middleware.
client: ContextVar[str] = ContextVar("client", default="")
logger = logging.getLogger("service.engine")
# Foreground cells that are computed for each background cell, while both queues wait.
PRECEDENCE: Final = 7


@dataclass(frozen=True)
class Limits:
    """How much may wait, and how much is computed at once.

    Attributes:
        wait_s: how long the first block of a batch waits for others.
        batch_blocks: largest number of blocks in a batch.
        batch_cells: largest number of coarse cells in a batch, halos included, unless a single block has more; None
            leaves it to the memory.
        queue_cells: largest number of coarse cells that wait or are being computed, unless a single request has more.
    """

    wait_s: float = 0.005
    batch_blocks: int = 16
    batch_cells: int | None = None
    queue_cells: int = 8_388_608


class Batch(NamedTuple):
    """Blocks to compute together."""

    key: BatchKey
    blocks: list[QueuedBlock]


class RequestQueue:
    """Waiting requests. Any thread may submit; one takes batches.

    Args:
        limits: how much may wait.
        metrics: are kept up to date.
        capacity: largest number of blocks of a key that may be computed at once.

    Attributes:
        cells: coarse cells that wait or are being computed.
        seconds_per_cell: of the last batches, to predict how long waiting requests take.
    """

    def __init__(self, limits: Limits, metrics: Metrics, capacity: Callable[[BatchKey], int]) -> None:
        self.limits = limits
        self.cells = 0
        self.seconds_per_cell = 1e-6
        self._metrics = metrics
        self._capacity = capacity
        # Of the foreground, and of the background.
        self._queues: tuple[deque[InferenceRequest], deque[InferenceRequest]] = (deque(), deque())
        # The turn of the batch taken last, and of the last queued request of each client.
        self._turn, self._turns = 0, dict[str, int]()
        # Foreground cells computed while the background waited, less its own share.
        self._owed = 0
        self._changed = threading.Condition()
        self._closed = False

    def close(self) -> None:
        """Refuse new requests, and fail those that wait."""
        with self._changed:
            self._closed = True
            left = list(itertools.chain(*self._queues))
            self._changed.notify_all()
        for request in left:
            fail(request, _closed())

    def submit(self, request: InferenceRequest) -> Future[InferenceResult]:
        """Put a request in its queue. Cancelling the future takes its waiting blocks out again.

        Raises:
            Problem: "busy" if too much waits already, "unready" after ``close``.
        """
        with self._changed:
            if self._closed:
                raise _closed()
            if self.cells and self.cells + request.cells > self.limits.queue_cells:
                detail = "the queue for the device is full"
                raise busy(detail, self.cells * self.seconds_per_cell)
            request.submitted = time.monotonic()
            self.cells += request.cells
            request.client = client.get()
            request.turn = self._next_turn(request.client)
            bisect.insort(self._queues[request.background], request, key=lambda other: other.turn)
            self._count()
            self._changed.notify_all()
        # Weak, for the reason given at InferenceResult.detach. The code that ends the request still refers to it.
        weak = weakref.ref(request)
        request.future.add_done_callback(lambda _: self._leave(weak()))
        return request.future

    def expire(self, request: InferenceRequest) -> None:
        """Fail a request that is overdue, unless a batch has taken blocks of it."""
        with self._changed:
            if not request.begun:
                detail = "the device was not free in time"
                fail(request, Problem("overdue", detail, retry_after=self.cells * self.seconds_per_cell))

    def take(self, *, wait: bool) -> Batch | None:
        """The next batch, once it is full or its first block has waited long enough.

        Args:
            wait: whether to wait for that.

        Returns:
            None if there is no batch yet, or the queue is closed.
        """
        with self._changed:
            while not self._closed:
                left = None
                if any(self._queues):
                    queue = self._choose()
                    head = queue[0]
                    key = head.next_key
                    size = self._capacity(key)
                    ready = sum(len(request.waiting.get(key, ())) for request in queue)
                    left = head.submitted + self.limits.wait_s - time.monotonic()
                    if ready >= size or left <= 0:
                        return Batch(key, self._take(queue, key, size))
                if not wait:
                    break
                self._changed.wait(left)
        return None

    def _choose(self) -> deque[InferenceRequest]:
        """The queue that the next batch is from; at least one is not empty."""
        foreground, background = self._queues
        if not background:
            # Only waiting in the background is owed for.
            self._owed = 0
            return foreground
        if not foreground:
            return background
        key = background[0].next_key
        ready = sum(len(request.waiting.get(key, ())) for request in background)
        cells = min(self._capacity(key), ready) * math.prod(key.shape)
        return background if self._owed >= PRECEDENCE * cells else foreground

    def _take(self, queue: deque[InferenceRequest], key: BatchKey, size: int) -> list[QueuedBlock]:
        """Take blocks of a key out of a queue, one of each request in turn."""
        givers = deque(request for request in queue if key in request.waiting)
        served = dict.fromkeys(itertools.islice(givers, size))
        blocks: list[QueuedBlock] = []
        while givers and len(blocks) < size:
            request = givers.popleft()
            blocks.append(request.take(key))
            if key in request.waiting:
                givers.append(request)
        if all(self._queues):
            cells = len(blocks) * math.prod(key.shape)
            self._owed += -PRECEDENCE * cells if blocks[0].request.background else cells
        self._turn = max(self._turn, blocks[0].request.turn)
        for request in served:
            if request.waiting:
                request.turn = self._next_turn(request.client)
        rest = sorted((request for request in queue if request.waiting), key=lambda request: request.turn)
        queue.clear()
        queue.extend(rest)
        self._count()
        return blocks

    def _next_turn(self, owner: str) -> int:
        self._turns[owner] = max(self._turn, self._turns.get(owner, -1) + 1)
        return self._turns[owner]

    def _leave(self, request: InferenceRequest | None) -> None:
        """Take a request out that is answered, failed or cancelled."""
        assert request is not None  # noqa: S101 in a queue, or being computed
        with self._changed:
            if dropped := request.blocks:
                self._queues[request.background].remove(request)
                request.waiting.clear()
                self._metrics.dropped_blocks.inc(dropped)
            self.cells -= request.cells
            self._count()
            if not any(self._queues):
                self._turns.clear()

    def _count(self) -> None:
        self._metrics.queue_blocks.set(sum(request.blocks for request in itertools.chain(*self._queues)))
        self._metrics.queue_cells.set(self.cells)


def _closed() -> Problem:
    return unready("the service is shutting down", 5)


def fail(request: InferenceRequest, error: BaseException) -> None:
    """End a request with an error."""
    try:
        request.future.set_exception(error)
    except InvalidStateError:
        logger.info("a failure came after its client had left")
