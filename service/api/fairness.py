"""Limits on what one client may use at a time, so that others get their share."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

from service.engine.queue import client as owner
from service.problems import busy
from service.runtime.threads import Threads

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Callable, Iterator

    from prometheus_client import Gauge

    from service.runtime.threads import Arguments, Result

# How many requests of a client may wait for each one that is served.
WAITING: Final = 16
# Of all slots, 1 / RESERVE, and at least one, are kept for other clients.
RESERVE: Final = 4


def share_of(total: int) -> int:
    """The most places of one client."""
    return max(1, total - max(1, total // RESERVE))


class Slots:
    """Limits how many costly requests are served at a time, in all and for each client. Further ones are refused.

    Args:
        total: number of slots, one for each request that is served.
        what: what takes them, in the plural, for messages.
        gauge: shows how many are taken.

    Attributes:
        share: largest number of slots of one client.
    """

    def __init__(self, total: int, what: str, gauge: Gauge) -> None:
        self.total = total
        self.share = share_of(total)
        self._what = what
        self._gauge = gauge
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Number of slots that are taken."""
        return self._taken.total()

    @contextmanager
    def take(self, client: str) -> Iterator[None]:
        """Hold a slot.

        Raises:
            Problem: 429 if all are taken, or all that this client may have.
        """
        if self.taken >= self.total:
            detail = f"{self.taken} {self._what} are being served, which is the limit"
            raise busy(detail, 1)
        if self._taken[client] >= self.share:
            detail = f"{self.share} {self._what} of this client are being served, which is the limit for one client"
            raise busy(detail, 1)
        self._taken[client] += 1
        self._gauge.set(self.taken)
        try:
            yield
        finally:
            self._taken[client] -= 1
            self._taken += Counter()  # clients that hold none are forgotten
            self._gauge.set(self.taken)


class Turns:
    """Limits the requests of each client that are served at a time; the others wait in order.

    Args:
        most: requests of a client that are served at a time.
        waiting: how many may wait for each of these.
    """

    def __init__(self, most: int, waiting: float = WAITING) -> None:
        self._most = most
        self._waiting = waiting
        self._requests: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def take(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it.

        Raises:
            Problem: 429 if too many requests of the client wait.
        """
        if self._requests[client] >= self._most * (1 + self._waiting):
            detail = f"{self._requests[client]} requests of this client are being served or wait, which is the limit"
            raise busy(detail, 1)
        self._requests[client] += 1
        try:
            async with self._turns.setdefault(client, asyncio.Semaphore(self._most)):
                yield
        finally:
            self._requests[client] -= 1
            if not self._requests[client]:
                del self._requests[client], self._turns[client]


class SharedThreads(Threads):
    """Threads of which each client has its share, so that its long work does not hold up that of others.

    Args:
        limit: how many run at a time.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._turns = Turns(share_of(limit), waiting=math.inf)  # slots limit the requests

    async def run(
        self, function: Callable[[*Arguments], Result], *arguments: *Arguments, stopped: threading.Event | None = None
    ) -> Result:
        """Run a function in a thread, for the client whose request is served; see the class above."""
        async with self._turns.take(owner.get()):
            return await super().run(function, *arguments, stopped=stopped)
