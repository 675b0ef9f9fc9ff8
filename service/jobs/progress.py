"""The progress of a job."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any


@dataclass
class Progress:
    """The progress of a job.

    Attributes:
        stage: "computing" blocks, "comparing" slabs, or "discovering", in steps.
        total: blocks, slabs or steps of the stage; None until they are counted.
        done: how many are done, by earlier runs too.
        computed: how many this run has computed.
        cells: fine cells of a block, or cells of X in a step.
        began: when the stage began, by the monotonic clock.
        warnings: for the client.
    """

    stage: str = "computing"
    total: int | None = None
    done: int = 0
    computed: int = 0
    cells: int = 0
    began: float = 0.0
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As it is stored and shown to clients."""
        return {
            "stage": self.stage,
            "blocks": self.total,
            "blocks_done": self.done,
            "voxels_per_second": self.rate,
            "seconds_left": self.seconds_left,
            "warnings": list(self.warnings),
        }

    def begin(self, stage: str, total: int, cells: int) -> None:
        """Begin a stage."""
        self.stage, self.total, self.done, self.computed, self.cells = stage, total, 0, 0, cells
        self.began = time.monotonic()

    @property
    def rate(self) -> float | None:
        """Fine cells a second in this stage; None before the first block."""
        seconds = time.monotonic() - self.began
        return self.cells * self.computed / seconds if self.computed and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Time for the rest at this rate; None without a rate."""
        return None if self.total is None or not self.rate else (self.total - self.done) * self.cells / self.rate
