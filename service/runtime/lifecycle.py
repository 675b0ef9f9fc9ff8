"""From start to shutdown: when the service is ready to compute, and when it admits nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.problems import unready

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from service.runtime.metrics import Metrics


class Lifecycle:
    """Whether the service can compute.

    Args:
        metrics: that say so, too.
        alive: whether the thread that computes is alive.

    Attributes:
        warm: whether a model has been loaded; the others are loaded meanwhile, or when they are first asked for.
        leaving: whether the service is shutting down, and admits nothing more.
        on_leave: what is called first when it shuts down.
    """

    def __init__(self, metrics: Metrics, *, alive: Callable[[], bool]) -> None:
        self.warm = False
        self.leaving = False
        self.on_leave: list[Callable[[], Awaitable[None]]] = []
        self._metrics = metrics
        self._alive = alive
        self._on_ready: list[Callable[[], None]] = []

    @property
    def ready(self) -> bool:
        """Whether the service can compute."""
        return self.warm and self._alive() and not self.leaving

    def require_ready(self) -> None:
        """Refuse what cannot be computed now."""
        if not self.ready:
            self.require_staying()
            detail = "no model is loaded yet"
            raise unready(detail)

    def require_staying(self) -> None:
        """Refuse what another replica, or the next process, had better do."""
        if self.leaving:
            detail = "the service is shutting down"
            raise unready(detail)

    def started(self) -> None:
        """A model is loaded."""
        self.warm = True
        self._metrics.ready.set(1)
        for function in self._on_ready:
            function()
        self._on_ready.clear()

    def when_ready(self, function: Callable[[], None]) -> None:
        """Call a function once a model is loaded."""
        self._on_ready.append(function)
        if self.warm:
            self.started()

    def stopped(self) -> None:
        """Nothing is computed any more."""
        self.warm = False
        self._metrics.ready.set(0)

    async def leave(self) -> None:
        """Admit nothing more, and do what is to be done first; what was admitted is finished."""
        self.leaving = True
        self._metrics.ready.set(0)
        for hook in self.on_leave:
            await hook()
