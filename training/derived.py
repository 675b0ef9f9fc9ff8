"""Datasets that are made from others: block means of them, and parts of their volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.walls import is_wall
from training.dataset import require_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.blocks import Boundaries, Cells, Window
    from training.dataset import Dataset

KEPT = 0.25
"""Fraction of the longest axis of a single snapshot that is held out."""
SMALLEST = 22
"""Coarse cells that this axis must have at least; six of them are held out then."""


@dataclass(frozen=True)
class Derived:
    """A dataset that is made from another one.

    Attributes:
        source: the other dataset.
    """

    source: Dataset

    @property
    def flow(self) -> str:
        """That of the source."""
        return self.source.flow

    @property
    def boundary(self) -> Boundaries:
        """That of the source."""
        return self.source.boundary

    @property
    def length(self) -> tuple[float, float, float]:
        """That of the source."""
        return self.source.length

    def count(self, frames: int) -> int:
        """That of the source."""
        return self.source.count(frames)

    def shared(self, frames: int) -> int:
        """That of the source."""
        return self.source.shared(frames)


@dataclass(frozen=True)
class BlockMeans(Derived):
    """A dataset on a coarser grid, by means over blocks of cells: a filtered simulation, with all wavenumbers filled.

    Attributes:
        size: cells of a block along each axis.

    Raises:
        ValueError: if an axis is not a whole number of blocks.
    """

    size: int

    def __post_init__(self) -> None:
        """Check the size."""
        if self.size < 1 or any(n % self.size for n in self.source.cells):
            message = f"{self.source.name} has {self.source.cells} cells along z, y, x: no whole blocks of {self.size}"
            raise ValueError(message)

    @property
    def name(self) -> str:
        """Such as ``isotropic-96-seed1@2``."""
        return f"{self.source.name}@{self.size}"

    @property
    def cells(self) -> Cells:
        """Blocks along (z, y, x)."""
        z, y, x = (n // self.size for n in self.source.cells)
        return z, y, x

    def window(self, index: int, where: Window, frames: int) -> NDArray[np.float32]:
        """Velocity (frame, 3, z, y, x) in some blocks of a snapshot."""
        z, y, x = ((self.size * cells[:, None] + np.arange(self.size)).ravel() for cells in where)
        values = self.source.window(index, (z, y, x), frames)
        blocks = values.reshape(*values.shape[:2], *(side for cells in where for side in (len(cells), self.size)))
        means: NDArray[np.float32] = blocks.mean(axis=(3, 5, 7))
        return means

    def provenance(self) -> dict[str, Any]:
        """The entry for cards."""
        return {**self.source.provenance(), "run": self.name}


@dataclass(frozen=True)
class Slab(Derived):
    """A part of each snapshot along an axis, open at both ends.

    Attributes:
        axis: that is cut: 0 for z, 1 for y, 2 for x.
        part: its fine cells along that axis.
    """

    axis: int
    part: slice

    @property
    def name(self) -> str:
        """Such as ``mine[x 0:96]``."""
        return f"{self.source.name}[{'zyx'[self.axis]} {self.part.start}:{self.part.stop}]"

    @property
    def boundary(self) -> Boundaries:
        """That of the source, but for the axis that is cut."""
        z, y, x = ("open" if axis == self.axis else end for axis, end in enumerate(self.source.boundary))
        return z, y, x

    @property
    def length(self) -> tuple[float, float, float]:
        """Of each axis, (z, y, x)."""
        share = (self.part.stop - self.part.start) / self.source.cells[self.axis]
        z, y, x = (edge * share if axis == self.axis else edge for axis, edge in enumerate(self.source.length))
        return z, y, x

    @property
    def cells(self) -> Cells:
        """Fine cells along (z, y, x)."""
        part = self.part.stop - self.part.start
        z, y, x = (part if axis == self.axis else n for axis, n in enumerate(self.source.cells))
        return z, y, x

    def window(self, index: int, where: Window, frames: int) -> NDArray[np.float32]:
        """Velocity (frame, 3, z, y, x) in some cells of a snapshot."""
        z, y, x = (cells + self.part.start if axis == self.axis else cells for axis, cells in enumerate(where))
        return self.source.window(index, (z, y, x), frames)

    def provenance(self) -> dict[str, Any]:
        """The entry for cards."""
        return {**self.source.provenance(), "part": self.name}


def parted(runs: Sequence[Dataset], frames: int, factor: int) -> tuple[list[Dataset], list[Dataset]]:
    """Runs to learn from, and the held-out parts of runs with a single snapshot.

    Args:
        runs: all data.
        frames: time levels of a sample.
        factor: fine cells per coarse cell along an axis.

    Raises:
        ValueError: if an axis is no whole number of coarse cells, or a single snapshot is too small or has walls all
            round.
    """
    learned: list[Dataset] = []
    kept: list[Dataset] = []
    for run in runs:
        require_whole(run, factor)
        if run.count(frames) - run.shared(frames) > 1:
            learned.append(run)
            continue
        axes = [axis for axis in range(3) if not is_wall(run.boundary[axis])]
        if not axes:
            message = (
                f"{run.name} has walls all round, so that no part of it can be kept back; give more snapshots of it"
            )
            raise ValueError(message)
        axis = max(axes, key=lambda axis: run.cells[axis])
        cells = run.cells[axis]
        if cells < factor * SMALLEST:
            message = (
                f"{run.name} has {cells} cells along {'zyx'[axis]}; expected at least {factor * SMALLEST} along its "
                "longest axis without walls, so that a part can be kept back, or more snapshots"
            )
            raise ValueError(message)
        at = factor * round((1 - KEPT) * cells / factor)
        learned.append(Slab(run, axis, slice(0, at)))
        kept.append(Slab(run, axis, slice(at, cells)))
    return learned, kept
