"""From start to shutdown: whether the service is ready to compute, and whether it admits more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.problems import unready

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from service.runtime.metrics import Metrics


class Lifecycle:
    """The state of the service.

    Args:
        metrics: show whether it is ready.
        alive: whether the thread that computes is alive.

    Attributes:
        alive: the same.
        warm: whether a model is loaded; the others follow, or are loaded when they are first used.
        delay: why none is loaded yet.
        leaving: whether the service is shutting down, and admits nothing more.
        on_leave: functions that are awaited first when it shuts down.
    """

    def __init__(self, metrics: Metrics, *, alive: Callable[[], bool]) -> None:
        self.warm = False
        self.delay = "no model is loaded yet"
        self.leaving = False
        self.on_leave: list[Callable[[], Awaitable[None]]] = []
        self.alive = alive
        self._on_ready: list[Callable[[], None]] = []
        metrics.ready.set_function(lambda: float(self.ready))

    @property
    def ready(self) -> bool:
        """Whether the service can compute."""
        return self.warm and self.alive() and not self.leaving

    def require_ready(self) -> None:
        """Refuse (503) requests while nothing can be computed."""
        if not self.ready:
            self.require_staying()
            raise unready(self.delay)

    def require_staying(self) -> None:
        """Refuse (503) new work during shutdown; another replica, or the next process, can do it."""
        if self.leaving:
            detail = "the service is shutting down"
            raise unready(detail)

    def started(self) -> None:
        """Note that a model is loaded."""
        self.warm = True
        for function in self._on_ready:
            function()
        self._on_ready.clear()

    def when_ready(self, function: Callable[[], None]) -> None:
        """Call a function once a model is loaded."""
        self._on_ready.append(function)
        if self.warm:
            self.started()

    def stopped(self) -> None:
        """Note that nothing is computed any more."""
        self.warm = False

    async def leave(self) -> None:
        """Begin to shut down: admit nothing more, then await ``on_leave``. Admitted requests are finished."""
        self.leaving = True
        for hook in self.on_leave:
            await hook()
