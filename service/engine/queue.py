"""What may wait for the device, and how a request that may not wait is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Cells that are computed for one in the background, while both lines wait.
PRECEDENCE: Final = 7


class QueueFullError(RuntimeError):
    """More is waiting than may wait.

    Attributes:
        retry_after: seconds until there may be room.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__("too much is waiting for the device")
        self.retry_after = retry_after


class OverdueError(RuntimeError):
    """A request was not begun in time.

    Attributes:
        retry_after: seconds until what waits now may be done.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__("the device was not free in time")
        self.retry_after = retry_after


class OutOfMemoryError(RuntimeError):
    """A single block does not fit the device."""


class ClosedError(RuntimeError):
    """The service is shutting down."""


@dataclass(frozen=True)
class Limits:
    """How much may wait, and how much is computed at once.

    Attributes:
        wait_s: how long the first block of a batch waits for others.
        batch_blocks: most blocks in a batch.
        batch_cells: most coarse cells in a batch, halos included, unless one block alone has more; None leaves it to
            the memory.
        queue_cells: most coarse cells that wait or are being computed, unless one request alone has more.
    """

    wait_s: float = 0.005
    batch_blocks: int = 16
    batch_cells: int | None = None
    queue_cells: int = 8_388_608
