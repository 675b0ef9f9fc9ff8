"""Uniform coordinates of cells: reading and refining them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from service.formats.decoding import unpacked
from service.formats.names import AXES, COMPONENT, TIME
from service.formats.units import same_units
from service.problems import Problem, invalid_field

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from models.catalogue import Card

    Coordinate = NDArray[np.number[Any]]


# A coordinate is rounded twice, when it is computed and when it is stored: each time by a unit in the last place.
ROUNDINGS: Final = 2
# How far spacings may be from their mean, relative to it.
TOLERANCE: Final = 1e-3
UNEVEN_TIMES: Final = 0.05
# Longest edge of a cell over its shortest one; the channel that models learned from has 2.4.
LONGEST: Final = 3.0


class Grid(Protocol):
    """The cells of a volume."""

    @property
    def cells(self) -> tuple[int, ...]:
        """Cells along (z, y, x), or (y, x)."""

    @property
    def coordinates(self) -> tuple[Coordinate | None, ...]:
        """Centres of the cells along these axes, where they were sent."""

    @property
    def turned(self) -> Collection[str]:
        """Axes that were reversed, as their coordinates descend."""


def spacing(values: Coordinate) -> float:
    """Mean distance between neighbours."""
    return (float(values[-1]) - float(values[0])) / (len(values) - 1)


def rounding(values: Coordinate) -> float:
    """How far rounding may have moved a coordinate, in its stored precision."""
    if values.dtype.kind != "f":
        return 0.0
    return ROUNDINGS * float(np.spacing(np.abs(values).max()))


def finer(values: Coordinate, factor: int) -> NDArray[np.floating[Any]]:
    """Centres of the fine cells along an axis, as evenly spaced as the coarse ones.

    They have the precision of these. Where that would change their spacing by a thousandth, they are even, in float64.
    """
    step, places = spacing(values), (np.arange(factor * len(values)) + 0.5) / factor - 0.5
    even = float(values[0]) + step * places
    rounded = even.astype(values.dtype if values.dtype.kind == "f" else np.float64)
    if rounding(rounded) > 1e-3 * abs(step) / factor:
        return even
    coarse = np.arange(len(values))
    offsets = values - (float(values[0]) + step * coarse)
    return (even + np.interp(places, coarse, offsets)).astype(rounded.dtype)


def length_of(*grids: Grid) -> tuple[float, float, float]:
    """Length of each axis (z, y, x) of a volume: by its coordinates, of which the first grid that has some count.

    Unless there are some along each axis, cells are cubes, and the longest axis is 2 pi.

    Args:
        grids: divisions of the same volume into cells.
    """
    known = _known(grids)
    if len(known) < len(AXES):
        z, y, x = (2 * math.pi * n / max(grids[0].cells) for n in grids[0].cells)
    else:
        z, y, x = (spacing(known[axis]) * len(known[axis]) for axis in AXES)
    return z, y, x


def check_known(*grids: Grid) -> tuple[str, ...]:
    """A warning if some axes have coordinates, but not all, so that cells are taken as cubes; see ``length_of``."""
    known = _known(grids)
    if len(known) in {0, len(AXES)}:
        return ()
    lacking = " and ".join(axis for axis in AXES if axis not in known)
    warning = (
        f"the coordinates are along {' and '.join(known)} alone, so derivatives and spectra take cells as cubes: give "
        f"those along {lacking} too"
    )
    return (warning,)


def _known(grids: Sequence[Grid]) -> dict[str, Coordinate]:
    """Coordinates by axis, those of the first grid that has some."""
    axes = zip(AXES, *(grid.coordinates for grid in grids), strict=True)
    return {axis: at for axis, *found in axes for at in reversed(found) if at is not None}


def read_length(said: str | None, *grids: Grid) -> tuple[float, float, float]:
    """Length of each axis (z, y, x) as an option says it, ``1.2,2,2.4``; None gives that of the grids, see `length_of`.

    Raises:
        Problem: 422 if it is no such length, or a grid has coordinates.
    """
    if said is None:
        return length_of(*grids)
    try:
        z, y, x = map(float, said.split(","))
    except ValueError:
        z = y = x = math.nan
    if not all(0 < each < math.inf for each in (z, y, x)):
        raise invalid_field(field="length", value=said, expected="a positive number for each of z, y, x: 1.2,2,2.4")
    if known := _known(grids):
        expected = f"none, as the volumes have coordinates; drop={','.join(known)} leaves them out"
        raise invalid_field(field="length", value=said, expected=expected)
    return z, y, x


def check_axis_units(*datasets: xr.Dataset) -> None:
    """Refuse (422) coordinates in different units where lengths along all axes are needed; see ``length_of``."""
    axes = {axis: each[axis].attrs for axis in AXES for each in reversed(datasets) if axis in each.coords}
    units = {axis: attributes["units"] for axis, attributes in axes.items() if "units" in attributes}
    for one, other in pairwise(units):
        if not same_units(units[one], units[other]):
            expected = f"{units[one]}, as {one} has; drop={','.join(units)} takes cells as cubes"
            raise invalid_field(field=other, value=f"in {units[other]}", expected=expected)


def check_axes(grid: Grid, rest: xr.Dataset, card: Card) -> tuple[str, ...]:
    """Warnings about the axes of a volume.

    Args:
        grid: of the volume.
        rest: what came with the velocity, whose axes may have attributes.
        card: of the model.
    """
    return _check_upwards(rest) + _check_cubes(grid, rest, card)


def _check_upwards(rest: xr.Dataset) -> tuple[str, ...]:
    """A warning if z is said to grow downwards (CF 4.3), and so w may not be along growing z."""
    if "z" not in rest.coords or str(rest["z"].attrs.get("positive")).lower() != "down":
        return ()
    warning = (
        "the axis z grows downwards (its attribute positive is down), and w is taken as along growing z: if w is "
        "positive upwards, negate z, and set the attribute to up"
    )
    return (warning,)


def _check_cubes(grid: Grid, rest: xr.Dataset, card: Card) -> tuple[str, ...]:
    """A warning if cells are far from cubes, or may be, and the model is one that has learned."""
    if not card.learned:
        return ()
    try:
        check_axis_units(rest)
    except Problem:  # its text has the units, which may not fit into a header
        return ("the axes have different units, so these cells may be no cubes: models see cells, not lengths",)
    edges = {axis: spacing(at) for axis, at in zip(AXES, grid.coordinates, strict=True) if at is not None}
    if len(edges) < 2 or max(edges.values()) <= LONGEST * min(edges.values()):  # noqa: PLR2004 ratio
        return ()
    long, short = max(edges, key=edges.__getitem__), min(edges, key=edges.__getitem__)
    warning = (
        f"the cells are {edges[long] / edges[short]:.3g} times as long along {long} as along {short}: models see "
        f"cells, not lengths, and those of this service learned from ratios up to {LONGEST:g}"
    )
    return (warning,)


def check_times(dataset: xr.Dataset) -> tuple[str, ...]:
    """Warnings about the times of a dataset, as a model takes several at once.

    Raises:
        Problem: 422 if they do not grow.
    """
    if TIME not in dataset.coords or dataset[TIME].dims != (TIME,) or dataset[TIME].dtype.kind not in "fiu":
        return ()
    steps = np.diff(unpacked(dataset[TIME]).astype(np.float64))
    if not (steps > 0).all():
        expected = "times that grow, as this model takes several; xarray's sortby('time') puts them in order"
        raise invalid_field(field=TIME, value=f"steps from {steps.min():g} to {steps.max():g}", expected=expected)
    if np.ptp(steps) <= UNEVEN_TIMES * steps.mean():
        return ()
    told = f"{steps.min():g} to {steps.max():g}"
    return (f"the times are spaced by {told}, but the model was trained on several times at even steps",)


def without_bounds(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset without the CF bounds of its cells (CF 7.1), which fine cells do not share."""
    named = {axis: str(dataset[axis].attrs.get("bounds")) for axis in AXES if axis in dataset.coords}
    over = {str(name): {*AXES, COMPONENT} & {*each.dims} for name, each in dataset.variables.items() if each.ndim > 1}
    return dataset.drop_vars([name for axis, name in named.items() if over.get(name) == {axis}])


def read_coordinates(dataset: xr.Dataset, axes: Sequence[str]) -> tuple[Coordinate | None, ...]:
    """Cell centres along some axes, where there are any; see `read_coordinate`."""
    return tuple(read_coordinate(dataset[axis], axis) if axis in dataset.coords else None for axis in axes)


def read_coordinate(coordinate: xr.DataArray, axis: str) -> Coordinate:
    """Cell centres along an axis, increasing; see [`descending`][service.formats.velocity.descending] for others.

    Raises:
        Problem: 422 if they are not uniform.
    """
    way_round = f"; drop={axis} leaves them out"
    if coordinate.dims != (axis,) or coordinate.dtype.kind not in "fiu":
        over = ", ".join(map(str, coordinate.dims))
        raise invalid_field(
            field=axis, value=f"{coordinate.dtype} over ({over})", expected=f"numbers over ({axis}){way_round}"
        )
    values: Coordinate = unpacked(coordinate)
    if not np.can_cast(values.dtype, np.float64):  # a long double
        values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise invalid_field(field=axis, value="not finite", expected=f"finite coordinates{way_round}")
    step = spacing(values)
    steps = np.diff(values.astype(np.float64))
    if step <= 0 or not steps.all():
        raise invalid_field(
            field=axis, value=f"spaced by {steps.min():g}", expected=f"coordinates that differ{way_round}"
        )
    uneven = float(np.abs(steps - step).max())
    if uneven > TOLERANCE * step + rounding(values):
        raise invalid_field(
            field=axis,
            value=f"spaced by {steps.min():g} to {steps.max():g}",
            expected=f"uniform spacing, to {TOLERANCE:g} of its mean. Resample a stretched axis, in Python by "
            f"eddylift.open_volume(path, resample='{axis}', boundary=...); if the cells are uniform and only their "
            f"coordinates were rounded, drop={axis} leaves these out",
        )
    return values
