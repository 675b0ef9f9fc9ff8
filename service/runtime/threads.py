"""Threads beside the event loop, for long work that does not need the device."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

from service.problems import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Stop(threading.Event):
    """Tells a thread that nobody waits for its result any more."""

    def check(self) -> None:
        """Look whether it is set.

        Raises:
            StoppedError: if so.
        """
        if self.is_set():
            raise StoppedError


class Threads:
    """Runs functions in threads, up to a limit at a time; others wait.

    Args:
        limit: how many run at a time.
    """

    def __init__(self, limit: int) -> None:
        self._limiter = anyio.CapacityLimiter(limit)

    async def run(
        self, function: Callable[[*Arguments], Result], *arguments: *Arguments, stopped: threading.Event | None = None
    ) -> Result:
        """Run a function in a thread.

        A thread cannot be stopped: cancelling this call waits for a function that has begun, so that none runs on
        unnoticed.

        Args:
            function: what to run.
            arguments: of the function.
            stopped: set when this is cancelled; a function that takes very long looks at it now and then.
        """
        starting, begun, given_up = threading.Lock(), False, False

        def run() -> Result:
            nonlocal begun
            with starting:
                if given_up:
                    raise asyncio.CancelledError
                begun = True
            return function(*arguments)

        task = asyncio.ensure_future(anyio.to_thread.run_sync(run, limiter=self._limiter))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if stopped:
                stopped.set()
            with starting:
                given_up = not begun
            if given_up:
                task.cancel()
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # or asyncio logs that nobody took it
            raise
