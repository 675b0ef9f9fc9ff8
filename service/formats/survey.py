"""Finding the velocity in a dataset, and refusing what is ambiguous."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from service.formats.grid import AXES, spacing
from service.problems import FLOATS, Problem, invalid_field, malformed

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from service.settings import Settings

COMPONENTS: Final = ("u", "v", "w")
COMPONENT: Final = "component"
TIME: Final = "time"


def to_float32(values: NDArray[Any], name: str, settings: Settings) -> NDArray[np.float32]:
    """One component, (level, z, y, x), in single precision.

    Raises:
        Problem: 422 naming the first value that cannot be a velocity.
    """
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise _bad(values, ~np.isfinite(values), name, "finite velocities")
    if max(-low, high) > settings.max_speed:
        expected = f"velocities up to {settings.max_speed:g}"
        raise _bad(values, np.abs(values) > settings.max_speed, name, expected)
    to_float32: NDArray[np.float32] = values.astype(np.float32)
    for marker in settings.missing_values:
        if (missing := to_float32 == np.float32(marker)).any():
            raise _bad(values, missing, name, f"velocities everywhere; {marker:g} marks missing data")
    return to_float32


def _bad(values: NDArray[Any], where: NDArray[np.bool_], name: str, expected: str) -> Problem:
    place = np.unravel_index(int(where.argmax()), where.shape)
    first = 0 if len(values) > 1 else 1
    axes = ", ".join(("level", *AXES)[first:])
    numbers = ", ".join(str(n) for n in place[first:])
    return invalid_field(field=name, value=f"{float(values[place]):g} at ({axes}) = ({numbers})", expected=expected)


@dataclass(frozen=True)
class Found:
    """The velocity of a dataset, looked at and not read.

    Attributes:
        names: of u, v, w, or of the one variable that holds all.
        joined: whether one variable holds all components.
        levels: times; None without a time dim.
        cells: along (z, y, x).
        coordinates: of the cells along (z, y, x), where there are any.
    """

    names: tuple[Hashable, ...]
    joined: bool
    levels: int | None
    cells: tuple[int, int, int]
    coordinates: tuple[NDArray[np.float64] | None, ...]

    def select(self, dataset: xr.Dataset, number: int, where: Mapping[str, Any]) -> NDArray[Any]:
        """One component in a range of cells, (z, y, x) or, if times are ranges too, (time, z, y, x)."""
        array = dataset[self.names[0]].isel({COMPONENT: number}) if self.joined else dataset[self.names[number]]
        part = array.isel(where)
        name = COMPONENTS[number]
        loaded = part.copy(data=_load(part, name))
        return np.asarray(loaded.transpose(*([TIME] if TIME in part.dims else []), *AXES).values)


def find_velocity(dataset: xr.Dataset, settings: Settings) -> Found:
    """Find the velocity in a dataset and check all but its values.

    Raises:
        Problem: 422 if there is none, or it is ambiguous.
    """
    names, joined = _find_variables(dataset)
    first = dataset[names[0]]
    _check_variables(dataset, names, joined=joined)
    z, y, x = (first.sizes[axis] for axis in AXES)
    coordinates = tuple(_check_coordinate(dataset, axis, settings) for axis in AXES)
    return Found(tuple(names), joined, first.sizes[TIME] if TIME in first.dims else None, (z, y, x), coordinates)


def _load(array: xr.DataArray, name: str) -> NDArray[Any]:
    try:
        return np.asarray(array.values)
    except Problem:
        raise
    except Exception as error:  # whatever decoders make of foreign bytes
        raise malformed(field=name, value="stored in chunks that do not decode", expected="whole chunks") from error


def _find_variables(dataset: xr.Dataset) -> tuple[list[Hashable], bool]:
    """Names of the variables that hold the velocity, and whether one holds all components."""
    spatial = [name for name, array in dataset.data_vars.items() if {*AXES, COMPONENT} & {*array.dims}]
    if set(COMPONENTS) <= set(spatial):
        names: list[Hashable] = list(COMPONENTS)
        joined = False
    else:
        names = [name for name in spatial if COMPONENT in dataset[name].dims]
        joined = True
    if not names or (joined and len(names) > 1):
        found = ", ".join(f"{name}({', '.join(map(str, array.dims))})" for name, array in dataset.data_vars.items())
        missing = [name for name in COMPONENTS if name not in spatial]
        field = missing[0] if not names and len(missing) < len(COMPONENTS) else "variables"
        raise invalid_field(
            field=field,
            value=found or None,
            expected="variables u, v, w over (z, y, x), or one variable with a component dim of u, v, w",
        )
    if others := [str(name) for name in spatial if name not in names]:
        raise invalid_field(
            field=others[0],
            value="a variable over space",
            expected="velocity alone: leave out what cannot be super-resolved",
        )
    return names, joined


def _check_variables(dataset: xr.Dataset, names: Sequence[Hashable], *, joined: bool) -> None:
    """Refuse dims, types and units that velocity does not have."""
    inner = {*AXES, COMPONENT} if joined else {*AXES}
    for name in names:
        array = dataset[name]
        if {*array.dims} not in (inner, inner | {TIME}) or {*array.dims} != {*dataset[names[0]].dims}:
            expected = f"{', '.join((COMPONENT, *AXES) if joined else AXES)}, and time or not, alike in all"
            raise invalid_field(
                field=str(name), value=f"over ({', '.join(map(str, array.dims))})", expected=f"dims {expected}"
            )
        if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
            raise invalid_field(field=str(name), value=str(array.dtype), expected=FLOATS)
        units = [dataset[other].attrs.get("units") for other in (names[0], name)]
        if units[0] != units[1]:
            raise invalid_field(
                field=str(name), value=f"in {units[1]}", expected=f"the units of {names[0]}, {units[0]}"
            )
    if joined:
        _check_labels(dataset)
    for name, coordinate in dataset.coords.items():
        if name not in AXES and name != COMPONENT and {*AXES} & {*coordinate.dims}:
            raise invalid_field(
                field=str(name),
                value="a further coordinate over space",
                expected=f"coordinates {', '.join(AXES)} alone",
            )


def _check_labels(dataset: xr.Dataset) -> None:
    """Without labels the order is u, v, w; with labels they must say so."""
    count = dataset.sizes[COMPONENT]
    if count != len(COMPONENTS):
        raise invalid_field(field=COMPONENT, value=f"{count} long", expected="3: u, v, w")
    if COMPONENT not in dataset.coords:
        return
    labels = _load(dataset[COMPONENT], COMPONENT).tolist()
    labels = [label.decode(errors="replace") if isinstance(label, bytes) else label for label in labels]
    if labels not in (list(COMPONENTS), list(range(len(COMPONENTS)))):
        raise invalid_field(
            field=COMPONENT, value=", ".join(map(str, labels)), expected="u, v, w in this order, or 0, 1, 2 for them"
        )


def _check_coordinate(dataset: xr.Dataset, axis: str, settings: Settings) -> NDArray[np.float64] | None:
    """Cell centres along an axis, if they were sent; they must be uniform and increasing."""
    if axis not in dataset.coords:
        return None
    coordinate = dataset[axis]
    if coordinate.dims != (axis,) or coordinate.dtype.kind not in "fiu":
        raise invalid_field(
            field=axis,
            value=f"{coordinate.dtype} over ({', '.join(map(str, coordinate.dims))})",
            expected=f"numbers over ({axis})",
        )
    values = _load(coordinate, axis).astype(np.float64)
    if not np.isfinite(values).all():
        raise invalid_field(field=axis, value="not finite", expected="finite coordinates")
    if len(values) <= 1:
        return values  # too few cells, which is said of their number
    step = spacing(values)
    steps = np.diff(values)
    if step <= 0:
        raise invalid_field(field=axis, value=f"spaced by {step:g}", expected="increasing coordinates")
    uneven = float(np.abs(steps - step).max()) / step
    if uneven > settings.spacing_tolerance:
        raise invalid_field(
            field=axis,
            value=f"spaced by {steps.min():g} to {steps.max():g}",
            expected=f"uniform spacing, to {settings.spacing_tolerance:g} of its mean",
        )
    return values
