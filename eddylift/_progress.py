"""The progress of a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["upload", "wait", "download", "compute", "compare", "discover"]


@dataclass(frozen=True)
class Progress:
    """Progress of a call or a job.

    Attributes:
        stage: ``upload``, then ``wait`` (in the queue or on the device), then ``download``. A repeated call starts
            again. A job has ``compute``, then ``compare`` if there is a reference; or ``discover``.
        done: bytes sent or received; blocks, slabs or steps of a job.
        total: number of them in all; None if unknown.
    """

    stage: Stage
    done: int
    total: int | None


WAITING = Progress("wait", 0, None)
ProgressCallback = Callable[[Progress], None]
