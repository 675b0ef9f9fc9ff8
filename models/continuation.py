"""Volumes continued beyond the ends of their axes, as [`models.blocks`][models.blocks] says of each boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from models.walls import Walls, is_wall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Float = TypeVar("Float", bound=np.floating[Any])


class Continuation(NamedTuple):
    """An axis continued beyond its ends: the value of each cell that is reached is ``sign u[cells] + offset``."""

    cells: NDArray[np.intp]
    """The cell of the volume that gives the value of each cell that is reached."""
    sign: NDArray[np.int8]
    offset: NDArray[np.float64]
    """Of each component, (3, reached); zero except at moving walls."""


def continued(reached: NDArray[np.intp], cells: int, boundary: str) -> Continuation:
    """Continue an axis beyond both ends.

    Args:
        reached: cell numbers, also below 0 and beyond the last.
        cells: length of the axis.
        boundary: of the axis.
    """
    if boundary == "periodic":
        return Continuation(reached % cells, np.ones(len(reached), np.int8), np.zeros((3, len(reached))))
    # Mirrors at both ends: a pattern of period two lengths, the second half reversed.
    place = reached % (2 * cells)
    mirrored = place >= cells
    index = np.where(mirrored, 2 * cells - 1 - place, place)
    sign = np.where(mirrored & is_wall(boundary), -1, 1).astype(np.int8)
    # The field less the linear flow between moving walls vanishes on them: that part is continued oddly.
    return Continuation(index, sign, driven(reached, cells, boundary) - sign * driven(index, cells, boundary))


def driven(reached: NDArray[np.intp], cells: int, boundary: str) -> NDArray[np.float64]:
    """Velocity (3, reached) that is linear from wall to wall of an axis, at centres of cells within and beyond."""
    low, high = np.array(Walls.of(boundary))[..., None]
    velocity: NDArray[np.float64] = low + (high - low) * ((reached + 0.5) / cells)
    return velocity


def continue_beyond(values: NDArray[Float], beyond: Sequence[Continuation]) -> NDArray[Float]:
    """Turn values of the cells that were read into values of the cells that are reached.

    In corners, beyond two ends at once, the field is mirrored twice, and moving walls add nothing.

    Args:
        values: (..., z, y, x), with components before z if walls move.
        beyond: of each axis (z, y, x).
    """
    for axis, (_, sign, _) in enumerate(beyond):
        if (sign < 0).any():
            values = values * _along(axis, sign).astype(values.dtype)
    for axis, (_, _, offset) in enumerate(beyond):
        if offset.any():
            added = _along(axis, offset)
            for other in {0, 1, 2} - {axis}:
                added = added * (_along(other, beyond[other].sign) > 0)
            values = values + added.astype(values.dtype)
    return values


def _along(axis: int, values: NDArray[Any]) -> NDArray[Any]:
    """Numbers (..., reached) of an axis, shaped to broadcast to (..., z, y, x)."""
    before, after = [1] * axis, [1] * (2 - axis)
    return values.reshape(*values.shape[:-1], *before, -1, *after)
