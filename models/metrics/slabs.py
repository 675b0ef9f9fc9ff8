"""Reads a fine volume of any size in boxes of a bounded number of cells."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.blocks import CUBE, PERIODIC, Boundaries, Cells, Lengths, collect
from models.continuation import continue_beyond, continued

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from models.blocks import Read


Box = tuple[slice, slice, slice]


class Grid(NamedTuple):
    """The cells of a fine volume and of the coarse one under it, each along (z, y, x).

    Attributes:
        cells: fine cells.
        factor: fine cells per coarse cell along an axis.
        boundary: what lies beyond the ends.
        length: of the edges.
    """

    cells: Cells
    factor: int
    boundary: Boundaries = PERIODIC
    length: Lengths = CUBE

    @property
    def spacing(self) -> Lengths:
        """Between neighbouring fine cells."""
        z, y, x = (edge / n for edge, n in zip(self.length, self.cells, strict=True))
        return z, y, x

    @property
    def periodic(self) -> list[int]:
        """Array axes, -3 to -1, that are periodic."""
        return [axis for axis in (-3, -2, -1) if self.boundary[axis] == "periodic"]

    @property
    def profile_axis(self) -> int | None:
        """Array axis, -3 to -1, along which a flow has a mean profile: the only one that is not periodic, if any."""
        uneven = {-3, -2, -1} - set(self.periodic)
        return min(uneven) if len(uneven) == 1 else None

    @property
    def in_shells(self) -> bool:
        """Whether spectra are by shells: all axes are periodic and cells are cubic, to a thousandth."""
        return len(self.periodic) == 3 and max(self.spacing) < 1.001 * min(self.spacing)  # noqa: PLR2004


class Steps:
    """Reports the progress of work.

    Args:
        total: steps in all.
        progress: called with the steps done and the total after each; an error that it raises ends the work.
    """

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.total = total
        self.progress = progress
        self.done = 0

    def step(self) -> None:
        """Note that a step is done."""
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def cut(cells: Cells, size: int, step: int = 1, whole: tuple[int, ...] = ()) -> list[Box]:
    """Cut a volume into boxes of at most ``size`` cells: along z and, where that is not enough, along y, then x.

    Args:
        cells: of the volume along (z, y, x).
        size: largest number of cells of a box; a box of one step along every axis that may be cut may have more.
        step: boxes begin at multiples of this.
        whole: array axes, -3 to -1, that are not cut.
    """
    edges = [*cells]
    for axis in (-3, -2, -1):
        if axis not in whole:
            fits = size * edges[axis] // math.prod(edges)
            edges[axis] = min(edges[axis], max(step, fits // step * step))
    starts = (range(0, n, edge) for n, edge in zip(cells, edges, strict=True))
    return [
        (
            slice(z, min(z + edges[0], cells[0])),
            slice(y, min(y + edges[1], cells[1])),
            slice(x, min(x + edges[2], cells[2])),
        )
        for z, y, x in itertools.product(*starts)
    ]


def surrounded(read: Read[np.floating], box: Box, grid: Grid) -> NDArray[np.floating]:
    """Read a box and one cell around it, (3, z + 2, y + 2, x + 2).

    Beyond the ends of the volume it is continued as blocks are, see [`models.blocks`][models.blocks].
    """
    axes = zip(box, grid.cells, grid.boundary, strict=True)
    beyond = [continued(np.arange(part.start - 1, part.stop + 1), n, name) for part, n, name in axes]
    z, y, x = (axis.cells for axis in beyond)
    return continue_beyond(collect(read, (z, y, x)), beyond)
