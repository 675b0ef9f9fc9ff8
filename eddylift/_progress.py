"""The progress of a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["upload", "wait", "download", "compute", "compare"]


@dataclass(frozen=True)
class Progress:
    """Where a call is.

    Attributes:
        stage: ``upload``, then ``wait`` (queued or computed), then ``download``. A repeated call starts again. Of a job
            it is ``compute``, then ``compare`` if there is a reference.
        done: bytes sent or received; blocks or slabs of a job.
        total: the same in all, where known.
    """

    stage: Stage
    done: int
    total: int | None


WAITING = Progress("wait", 0, None)
ProgressCallback = Callable[[Progress], None]
