"""Do the ends of a volume fit its boundary? What its middle and its outer planes tell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np

from models.metrics.traits import traits
from models.walls import Walls, is_wall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from models.blocks import Boundaries, Cells

AXES: Final = ("z", "y", "x")
End = Literal["continued", "repeated", "broken"]
"""How the ends of an axis fit together if it is taken as periodic.

``continued``: the first plane follows the last one as others follow each other. ``repeated``: the last plane is the
first one again. ``broken``: there is a step or a kink between them, as at walls and where a part was cut out.
"""
Ends = tuple[End, End, End]

# Planes that differ by less, relative to their largest value, are the same: that is rounding to float32.
ROUNDING: Final = 4 * float(np.finfo(np.float32).eps)
# Longest edge of the part of a plane that is compared. It begins at a multiple of this, as chunks do.
EDGE: Final = 32
# Ends are broken if the rms of the kink between them is more than KINK times the median inside the volume, and LARGEST
# times the largest inside. Block means of simulated turbulence reach 1.61 and 1.22 along periodic axes, but no axis has
# both; all walls have both, and 95 % of those of which a quarter or so was cut off.
KINK: Final = 1.7
LARGEST: Final = 1.1
# A plane at a wall is at most so far from the wall's velocity, relative to the next plane (rms). Simulated walls reach
# 0.64, walls at rest in a frame that moves have 1.2 or more; of axes without walls, 99.9 % exceed this.
APPROACH: Final = 0.85
# Share of the largest rms of a plane; see ``FieldSummary.least``.
AT_REST: Final = 0.01
# Points on a wall differ by less from its velocity, relative to the next plane (rms). Cells beside one reach 0.33 in
# simulated channels and Couette flow, and 0.28 in squares of 8 x 8 cells; 1/7 if the velocity grows as y^2.
ON_WALL: Final = 0.1


class Plane(NamedTuple):
    """Moments of the velocity in a part of a plane.

    Attributes:
        mean: of u, v and w.
        square: mean of u^2 + v^2 + w^2.
    """

    mean: tuple[float, ...]
    square: float

    @classmethod
    def of(cls, velocity: NDArray[np.float32]) -> Plane:
        """Moments of (..., y, x), with u, v, w in the axes before."""
        components = velocity.reshape(-1, *velocity.shape[-2:]).astype(np.float64)
        return cls(tuple(components.mean((1, 2)).tolist()), float(np.square(components).mean((1, 2)).sum()))

    def distance(self, velocity: Sequence[float]) -> float:
        """Rms of the difference from a velocity."""
        cross, own = np.dot(self.mean, velocity), np.dot(velocity, velocity)
        return float(np.sqrt(max(0.0, self.square - 2 * cross + own)))


class FieldSummary(NamedTuple):
    """What the checks need to know of a volume.

    Attributes:
        ends: of each axis (z, y, x).
        planes: the first, second, last but one and last one along each axis; none where they could not be read.
        traits: see [`models.metrics.traits`][models.metrics.traits]; of the middle of the volume.
        cells: number of cells that the traits are of.
    """

    ends: Ends = ("continued", "continued", "continued")
    planes: tuple[tuple[Plane, ...], ...] = ((), (), ())
    traits: Mapping[str, float] = {}
    cells: int = 0

    @property
    def least(self) -> float:
        """Planes that are nearer to the velocity of a wall (rms) are at rest there."""
        return AT_REST * math.sqrt(max((plane.square for planes in self.planes for plane in planes), default=0.0))


def summarise_readable(read: Callable[..., NDArray[np.float32] | None], cells: Cells) -> FieldSummary:
    """Summarise a volume by parts of it: its middle, and planes at the ends of each axis.

    Planes are compared that vary, and only equal ends whose neighbours differ are repeated ones: a field that is
    uniform along an axis, or symmetric about its middle, has equal ends without a plane too many. Parts that
    cannot be read are left out.

    Args:
        read: gives velocity, (..., z, y, x), in ranges of cells, or None; planes are read in part.
        cells: of the volume, along (z, y, x).
    """
    starts = (n // 2 // EDGE * EDGE for n in cells)
    middle = tuple(slice(start, min(n, start + EDGE)) for start, n in zip(starts, cells, strict=True))
    inside = read(*middle)

    def at_end(axis: int) -> tuple[NDArray[np.float32], ...]:
        first, last = ([*middle], [*middle])
        first[axis], last[axis] = slice(0, 2), slice(cells[axis] - 2, cells[axis])
        begin, end = read(*first), read(*last)
        if begin is None or end is None:
            return ()
        return tuple(plane for pair in (begin, end) for plane in np.moveaxis(pair, axis - len(cells), 0))

    outer = at_end(0), at_end(1), at_end(2)
    usual = [kinks(np.moveaxis(inside, axis - 3, 0)) if inside is not None else [] for axis in range(3)]
    ends = end_of(outer[0], usual[0]), end_of(outer[1], usual[1]), end_of(outer[2], usual[2])
    moments = tuple(tuple(map(Plane.of, planes)) for planes in outer)
    if inside is None:
        return FieldSummary(ends, moments)
    components = inside.reshape(-1, *inside.shape[-3:])
    return FieldSummary(ends, moments, traits(components), components[0].size)


def end_of(planes: tuple[NDArray[np.float32], ...], usual: Sequence[float]) -> End:
    """How the two first and the two last planes of an axis fit together.

    Args:
        planes: the first, second, last but one and last one, (..., y, x) each; none if they could not be read.
        usual: kinks inside the volume; none if they could not be read.
    """
    if not planes:
        return "continued"
    low, high = planes[:2], planes[2:]
    tolerance = ROUNDING * float(np.abs(low[0]).max())
    if np.abs(low[0] - high[1]).max() <= tolerance and np.ptp(low[0], axis=(-2, -1)).max() > tolerance:
        return "repeated" if np.abs(low[1] - high[0]).max() > tolerance else "continued"
    if not usual:
        return "continued"
    kink = float(np.sqrt(np.square(kinks(np.stack([*high, *low]))).mean()))
    return "broken" if kink > max(KINK * float(np.median(usual)), LARGEST * max(usual), tolerance) else "continued"


def kinks(planes: NDArray[np.float32]) -> list[float]:
    """Rms of the second difference across each plane but the first and the last."""
    curved = planes[2:].astype(np.float64) - 2.0 * planes[1:-1] + planes[:-2]
    return [float(np.sqrt(np.square(each).mean())) for each in curved]


def check_periods(ends: Ends, boundary: Boundaries) -> tuple[str, ...]:
    """A warning about axes that are taken as periodic, along which the velocity jumps between the ends."""
    broken = [
        axis for axis, end, kind in zip(AXES, ends, boundary, strict=True) if (end, kind) == ("broken", "periodic")
    ]
    if not broken:
        return ()
    cut, walls = (
        ",".join(other if axis in broken else kind for axis, kind in zip(AXES, boundary, strict=True))
        for other in ("open", "wall")
    )
    warning = (
        f"the velocity jumps between the last plane and the first one along {', '.join(broken)}, taken as periodic: "
        f"near these ends the answer is wrong. Where a part was cut out, give boundary={cut}; at walls, {walls}"
    )
    return (warning,)


class _AtWall(NamedTuple):
    """A plane at a wall: its axis, which one it is, how far it and the next one are from the wall's velocity (rms)."""

    axis: str
    which: str
    plane: Plane
    off: float
    deeper: float


def _at_walls(summary: FieldSummary, boundary: Boundaries) -> Iterator[_AtWall]:
    for axis, kind, planes in zip(AXES, boundary, summary.planes, strict=True):
        if not is_wall(kind) or not planes:
            continue
        for which, plane, inner, wall in zip(("first", "last"), planes[::3], planes[1:3], Walls.of(kind), strict=True):
            yield _AtWall(axis, which, plane, plane.distance(wall), inner.distance(wall))


def check_walls(summary: FieldSummary, boundary: Boundaries) -> tuple[str, ...]:
    """A warning about walls whose velocity the flow does not approach."""
    strange = []
    for axis, which, plane, off, deeper in _at_walls(summary, boundary):
        if off > max(APPROACH * deeper, summary.least):
            mean = ", ".join(f"{value:.3g}" for value in plane.mean)
            strange.append(f"{axis}, {which} plane (off by {off:.3g}, next plane {deeper:.3g}; mean {mean})")
    if not strange:
        return ()
    warning = (
        f"the velocity does not approach that of these walls: {'; '.join(strange)}. Do the walls move "
        "(wall:u=LOW..HIGH), is the frame of reference another one, or are these ends open or periodic?"
    )
    return (warning,)


def check_on_walls(summary: FieldSummary, boundary: Boundaries, of: str = "") -> tuple[str, ...]:
    """A warning about points that lie on walls, as their velocity shows: they are taken as cells beside them.

    Args:
        summary: of a volume.
        boundary: what lies beyond the ends of each axis (z, y, x).
        of: whose velocity it is, such as " of the reference".
    """
    found = [
        each
        for each in _at_walls(summary, boundary)
        if each.deeper > summary.least and each.off < ON_WALL * each.deeper
    ]
    if not found:
        return ()
    planes = "; ".join(f"{each.axis}, {each.which} plane" for each in found)
    axes = ",".join(dict.fromkeys(each.axis for each in found))
    warning = (
        f"the velocity{of} is that of the wall at {planes}. Walls lie half a cell beyond the outer cells: if these are "
        f"points on the walls, resample='{axes}' makes cells of them (in Python; on the command line --resample {axes})"
    )
    return (warning,)
