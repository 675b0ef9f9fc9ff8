"""Detecting periodic axes whose first plane is repeated at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from service.formats.names import AXES
from service.problems import invalid_field

if TYPE_CHECKING:
    from models.blocks import Boundaries, Cells, Read

# Planes within this relative distance are the same: rounding to float32 makes such differences.
ROUNDING: Final = 4 * float(np.finfo(np.float32).eps)
# Longest edge of the part of a plane that is compared. It begins at a multiple of this, as chunks do.
EDGE: Final = 32


def repeated_ends(read: Read[np.float32], cells: Cells) -> tuple[bool, bool, bool]:
    """Whether the last plane along each of (z, y, x) repeats the first one.

    Only planes that vary are evidence, and only if the planes next to them differ: a field that is uniform along an
    axis, or symmetric about its middle, has equal ends without a repeated plane.

    Args:
        read: gives velocity, (..., z, y, x), in ranges of cells; planes are read in part.
        cells: of the volume, along (z, y, x).
    """
    z, y, x = (_repeats(read, cells, axis) for axis in range(len(cells)))
    return z, y, x


def _repeats(read: Read[np.float32], cells: Cells, axis: int) -> bool:
    starts = (n // 2 // EDGE * EDGE for n in cells)
    middle = [slice(start, min(n, start + EDGE)) for start, n in zip(starts, cells, strict=True)]

    def plane(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        where = [*middle]
        where[axis] = slice(number, number + 1)
        return np.asarray(read(*where))

    first, last = plane(0), plane(cells[axis] - 1)
    tolerance = ROUNDING * float(np.abs(first).max())
    if np.abs(first - last).max() > tolerance or np.ptp(first, axis=(-3, -2, -1)).max() <= tolerance:
        return False
    return bool(np.abs(plane(1) - plane(cells[axis] - 2)).max() > tolerance)


def check_ends(repeated: tuple[bool, bool, bool], boundary: Boundaries) -> None:
    """Refuse (422) periodic axes with a repeated end: their period would be one cell too long."""
    axes = [
        axis
        for axis, is_repeated, kind in zip(AXES, repeated, boundary, strict=True)
        if is_repeated and kind == "periodic"
    ]
    if axes:
        last = ", ".join(f"{axis}=slice(None, -1)" for axis in axes)
        raise invalid_field(
            field=axes[0],
            value=f"periodic, but with its first plane again as the last one (along {', '.join(axes)})",
            expected="each plane of a period once: leave out the last plane, as xarray's "
            f".isel({last}) does, or name another boundary",
        )
