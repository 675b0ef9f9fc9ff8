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
        seconds_left: until the models are loaded, as far as that is known.

    Attributes:
        warm: whether the models have been loaded.
        leaving: whether the service is shutting down, and admits nothing more.
        on_leave: what is called first when it shuts down.
    """

    def __init__(self, metrics: Metrics, *, alive: Callable[[], bool], seconds_left: Callable[[], float]) -> None:
        self.warm = False
        self.leaving = False
        self.on_leave: list[Callable[[], Awaitable[None]]] = []
        self._metrics = metrics
        self._alive = alive
        self._seconds_left = seconds_left

    @property
    def ready(self) -> bool:
        """Whether the service can compute."""
        return self.warm and self._alive() and not self.leaving

    def require_ready(self) -> None:
        """Refuse what cannot be computed now."""
        if not self.ready:
            self.require_staying()
            detail = "the models are not warm yet"
            raise unready(detail, self._seconds_left())

    def require_staying(self) -> None:
        """Refuse what another replica, or the next process, had better do."""
        if self.leaving:
            detail = "the service is shutting down"
            raise unready(detail)

    def started(self) -> None:
        """The models are loaded."""
        self.warm = True
        self._metrics.ready.set(1)

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
