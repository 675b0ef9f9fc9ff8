"""Grids: cell-centred coordinates, and those of the fine volume."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from service.problems import invalid_field

if TYPE_CHECKING:
    from numpy.typing import NDArray


FACTOR: Final = 4
AXES: Final = ("z", "y", "x")
# Centres of fine cells from the centre of their coarse cell, in coarse spacings.
OFFSETS: Final = (np.arange(FACTOR) + 0.5) / FACTOR - 0.5
# How far coordinates of a reference may be from where the fine cells are, in fine spacings.
REGISTERED: Final = 0.05


def spacing(values: NDArray[Any]) -> float:
    """Mean distance between neighbours."""
    return (float(values[-1]) - float(values[0])) / (len(values) - 1)


def finer(values: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Centres of the fine cells along an axis, in the precision of the coarse ones."""
    fine = np.add.outer(values.astype(np.float64), OFFSETS * spacing(values)).ravel()
    return fine.astype(values.dtype if values.dtype.kind == "f" else np.float64)


class Grid(Protocol):
    """Where a volume's cells are."""

    @property
    def cells(self) -> tuple[int, int, int]:
        """Cells along (z, y, x)."""

    @property
    def coordinates(self) -> tuple[NDArray[np.float64] | None, ...]:
        """Centres of the cells along (z, y, x), where they were sent."""


def length_of(grid: Grid) -> tuple[float, float, float]:
    """Length of each axis (z, y, x) by its coordinates; without all three, of cubic cells, 2 pi for the longest."""
    if any(values is None for values in grid.coordinates):
        z, y, x = (2 * math.pi * n / max(grid.cells) for n in grid.cells)
    else:
        z, y, x = (spacing(values) * len(values) for values in grid.coordinates if values is not None)
    return z, y, x


def check_pair(coarse: Grid, reference: Grid) -> None:
    """Refuse (422) a reference whose cells are not the fine cells of a coarse volume."""
    wanted = tuple(FACTOR * n for n in coarse.cells)
    if reference.cells != wanted:
        raise invalid_field(
            field="reference.shape",
            value=list(reference.cells),
            expected=f"{list(wanted)}, {FACTOR} times the coarse one",
        )
    for axis, coarser, finest in zip(AXES, coarse.coordinates, reference.coordinates, strict=True):
        if coarser is None or finest is None:
            continue
        off = float(np.abs(finer(coarser) - finest).max()) / spacing(finest)
        if off > REGISTERED:
            expected = f"cell centres at -3/8, -1/8, 1/8 and 3/8 of the cells of coarse.{axis}"
            raise invalid_field(field=f"reference.{axis}", value=f"off by {off:.2g} fine cells", expected=expected)
