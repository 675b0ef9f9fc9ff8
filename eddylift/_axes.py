"""Axes of xarray objects: their direction, and the distance between their positions."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from eddylift import _units
from eddylift._errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    import xarray as xr
    from numpy.typing import NDArray

TIME: Final = "time"
# Steps that differ by more than this fraction of their mean are not even.
UNEVEN: Final = 0.01
# Units of time as xarray decodes them, by their symbols.
TIME_UNITS: Final = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
}


def rounding(positions: NDArray[Any]) -> float:
    """Return how far rounding may have moved positions, once computed and once stored, in their precision."""
    return 2 * float(np.spacing(np.abs(positions).max(initial=0))) if positions.dtype.kind == "f" else 0.0


def backwards(volume: xr.Dataset | xr.DataArray, axes: Iterable[str]) -> dict[str, slice]:
    """Return the selection that reverses descending axes."""
    positions = {axis: volume[axis].values for axis in axes if axis in volume.coords}
    descending = [axis for axis, at in positions.items() if len(at) > 1 and (at[1:] < at[:-1]).all()]
    return dict.fromkeys(descending, slice(None, None, -1))


def bounds_of(volume: xr.Dataset, axis: str) -> str | None:
    """Return the name of the bounds of the cells along an axis; None if there are none.

    They are CF bounds (CF 7.1), or the n + 1 positions of the faces of n cells.
    """
    if axis not in volume.coords:
        return None
    name = volume[axis].attrs.get("bounds", volume[axis].encoding.get("bounds"))
    bounds = volume.variables.get(name) if isinstance(name, str) else None
    if bounds is None or {"z", "y", "x", "component"} & {*bounds.dims} - {axis}:
        return None
    is_of_axis = (axis in bounds.dims and bounds.ndim > 1) or bounds.shape == (volume[axis].size + 1,)
    return str(name) if is_of_axis else None


def attributes_of(volume: xr.Dataset, axis: str) -> dict[Hashable, Any]:
    """Return the attributes of an axis that its positions on other cells share: all but the name of its CF bounds."""
    return {key: value for key, value in volume[axis].attrs.items() if key != "bounds"}


def edge(volume: xr.Dataset | xr.DataArray, axes: Iterable[str], way_round: str) -> float | None:
    """Return the edge of a cell by the coordinates of the axes; None if there are none.

    Args:
        volume: with these axes.
        axes: some of z, y, x.
        way_round: what else the user can do, for messages.

    Raises:
        InvalidInputError: if steps are not even, or steps or units are not the same along all axes.
    """
    require_one_unit(volume, axes, way_round)
    edges = {axis: length for axis in axes if (length := step(volume, axis, way_round)) is not None}
    if edges and max(edges.values()) > (1 + UNEVEN) * min(edges.values()):
        told = ", ".join(f"{length:.4g} along {axis}" for axis, length in edges.items())
        message = f"cells: {told}; expected the same length along each axis{way_round}"
        raise InvalidInputError(message)
    return next(iter(edges.values()), None)


def require_one_unit(volume: xr.Dataset | xr.DataArray, axes: Iterable[str], way_round: str = "") -> None:
    """Refuse positions in several units.

    Args:
        volume: with these axes.
        axes: some of z, y, x.
        way_round: what else the user can do, for messages.

    Raises:
        InvalidInputError: naming the unit along each axis.
    """
    units = {axis: each for axis in axes if (each := unit(volume, axis, way_round))}
    if len({*units.values()}) > 1:
        told = ", ".join(f"{each} along {axis}" for axis, each in units.items())
        message = f"cells: in {told}; expected one unit along all axes{way_round}"
        raise InvalidInputError(message)


def step(volume: xr.Dataset | xr.DataArray, axis: str, way_round: str) -> float | None:
    """Return the step between positions along an axis, in seconds if they are dates; None if unknown.

    Args:
        volume: with this axis.
        axis: its name.
        way_round: what else the user can do, for messages.

    Raises:
        InvalidInputError: if positions are no numbers, all the same, or not even.
    """
    if axis not in volume.coords or volume.sizes[axis] < 2:  # noqa: PLR2004 a step
        return None
    positions = since_first(volume, axis, way_round).values
    if positions.dtype.kind not in ("fiumM" if axis == TIME else "fiu"):
        message = f"{axis}: {positions.dtype}; expected numbers{' or dates' if axis == TIME else ''}{way_round}"
        raise InvalidInputError(message)
    steps = np.diff(positions)
    if steps.dtype.kind == "m":
        steps = steps / np.timedelta64(1, "s")
    mean = abs(float(steps.mean()))
    stored = volume[axis].values
    span = abs(float(stored[-1] - stored[0])) if stored.dtype.kind == "f" else 0.0
    # In the unit of the steps, which may be another one than is stored.
    slack = 2 * rounding(stored) * mean * steps.size / span if span else 0.0
    if not np.ptp(steps) < min(mean, UNEVEN * mean + slack):
        found = f"{steps.min():.4g} to {steps.max():.4g}"
        message = f"{axis}: spaced by {found}; expected even steps other than 0{way_round}"
        raise InvalidInputError(message)
    return mean


def unit(volume: xr.Dataset | xr.DataArray, axis: str, way_round: str) -> str | None:
    """Return the unit in which `step` measures, such as m; None if unknown.

    Args:
        volume: with this axis, or without.
        axis: its name.
        way_round: what else the user can do, for messages.

    Raises:
        InvalidInputError: if dates are in a unit that varies in length, such as months.
    """
    if axis not in volume.coords:
        return None
    positions = since_first(volume, axis, way_round)
    return "s" if positions.dtype.kind == "m" else _units.symbol(positions.attrs.get("units"))


def since_first(volume: xr.Dataset | xr.DataArray, axis: str, way_round: str) -> xr.Variable:
    """Return positions since the first: durations if they are dates, or their units, not decoded in files, say so.

    Differences need no calendar.

    Raises:
        InvalidInputError: if dates are in a unit that varies in length, such as months, or positions cannot be decoded:
            durations fit in 64 bits of nanoseconds up to 292 years.
    """
    import xarray as xr  # noqa: PLC0415 slow

    values, attributes = volume[axis].values, dict(volume[axis].attrs)
    with contextlib.suppress(TypeError, ValueError):
        values = (values.astype(np.float64) if values.dtype.kind in "fiu" else values) - values[:1]
        # Dates of other calendars are objects.
        values = values.astype("m8[us]") if values.dtype.kind == "O" else values
    length, since, _ = str(attributes.get("units", "")).partition(" since ")
    if since:
        attributes["units"] = TIME_UNITS.get(str(_units.symbol(length)), length)
    try:
        elapsed = xr.conventions.decode_cf_variable(axis, xr.Variable(axis, values, attributes), decode_timedelta=True)
        elapsed.load()
    except (ValueError, OverflowError) as error:
        message = f"{axis} cannot be decoded: {error}{way_round}"
        raise InvalidInputError(message) from None
    if since and elapsed.dtype.kind != "m":
        message = f"{axis}: in {length} since a date; expected {', '.join(TIME_UNITS.values())}{way_round}"
        raise InvalidInputError(message)
    return elapsed
