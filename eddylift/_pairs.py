"""Pairs of fields (X, Y) as they are sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from eddylift import _files, _units, _usual_names
from eddylift._axes import TIME, UNEVEN, backwards, edge, rounding
from eddylift._codecs import NPY, Body, multipart, write_npy
from eddylift._errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    Fields = NDArray[Any] | xr.DataArray | str | Path

Kind = Literal["scalar", "vector"]
# Floating-point numbers, integers, unsigned ones and booleans.
REAL = "fiub"
SCALAR: Final = "scalar"
PAIR: Final = "pair"
AXES: Final = ("z", "y", "x")
# The only group without elements that swap axes.
KEEPS_AXES: Final = "C2"
WAY_ROUND: Final = "; .values gives the bare array, without coordinates"


class _Grid(NamedTuple):
    """Where fields are, and in which units.

    Attributes:
        positions: along pair or time, and along the axes, where there are any.
        turned: dims that were reversed.
        units: of the fields, if they say so.
    """

    positions: Mapping[str, NDArray[Any]] = {}
    turned: frozenset[str] = frozenset()
    units: Any = None


def encode(x: Fields, y: Fields, *, x_kind: Kind | None, y_kind: Kind | None, group: str | None) -> Body:
    """Write pairs as the service reads them: in float32 if both are, else in float64.

    A DataArray is put in order by its dims, its coordinates and the labels of components.

    Raises:
        InvalidInputError: if one of them is no array of real numbers, data of a DataArray are missing, or coordinates
            do not fit.
    """
    x_values, x_grid = _read("x", x, x_kind, group)
    y_values, y_grid = _read("y", y, y_kind, group)
    _check_places(x_grid, y_grid)
    if (x_kind or SCALAR) == (y_kind or SCALAR) and x_values.shape[1:2] == y_values.shape[1:2]:
        _check_units(x_grid.units, y_grid.units)
    precision = np.float32 if x_values.dtype == y_values.dtype == np.float32 else np.float64
    fields = {"x": x_values, "y": y_values}
    return multipart(
        {name: Body(NPY, (write_npy(values.astype(precision), precision),)) for name, values in fields.items()}
    )


def _read(name: str, fields: Fields, kind: Kind | None, group: str | None) -> tuple[NDArray[Any], _Grid]:
    found: Any = _files.read(Path(fields)) if isinstance(fields, str | Path) else fields
    grid = _Grid()
    if hasattr(found, "to_dataset"):  # a DataArray; to import xarray for isinstance takes a second
        found, grid = _in_order(name, found, kind, group)
    try:
        values = found if isinstance(found, np.ma.MaskedArray) else np.asarray(found)
    except (TypeError, ValueError) as error:  # a dataset, or nested lists of unequal lengths
        raise _refuse(name, type(found).__name__) from error
    if values.dtype.kind not in REAL:
        raise _refuse(name, str(values.dtype))
    return values, grid


def _in_order(name: str, array: xr.DataArray, kind: Kind | None, group: str | None) -> tuple[xr.DataArray, _Grid]:
    """Return (pair, channel, [z,] y, x) along ascending axes, vectors in the order u, v(, w)."""
    from eddylift._missing import whole  # noqa: PLC0415 needs xarray, which is slow

    axes = AXES if AXES[0] in array.dims else AXES[1:]
    pair = TIME if TIME in array.dims else PAIR
    channel = "component" if "component" in array.dims else "channel"
    if {*array.dims} != {pair, channel, *axes}:
        told = ", ".join(map(str, array.dims))
        message = (
            f"{name}: dims ({told}); expected pair or time, channel or component, y, x, and z in space, in any "
            f"order{WAY_ROUND}"
        )
        raise InvalidInputError(message)
    if kind == "vector" and channel in array.coords:
        labels = array[channel].values.tolist()
        order = _usual_names.order_of(labels) if len(labels) == len(axes) else None
        if order is None:
            expected = f"labels such as {', '.join('uvw'[: len(axes)])} in any order, as the kind is vector"
            message = f"{name}: {channel} {labels}; expected {expected}{WAY_ROUND}"
            raise InvalidInputError(message)
        array = array.isel({channel: list(order)})
    if group != KEEPS_AXES:
        edge(array, axes, f", as {group or 'the group'} swaps axes{WAY_ROUND}")
    turned = backwards(array, (pair, *axes))
    array = whole(name, array).transpose(pair, channel, *axes).isel(turned)
    positions = {dim: array[dim].values for dim in (pair, *axes) if dim in array.coords}
    return array, _Grid(positions, frozenset(turned), array.attrs.get("units"))


def _check_units(x: object, y: object) -> None:
    if x and y and not _units.same(x, y):
        expected = f"{x}, as X has: to fields of one kind, Y - X is fitted"
        message = f"y: in {y}; expected {expected}{WAY_ROUND}"
        raise InvalidInputError(message)


def _check_places(x: _Grid, y: _Grid) -> None:
    """Check that Y has the cells of X, or whole subdivisions of them, and the same pairs, or all later by the same."""
    for dim in sorted(x.turned | y.turned):
        for name, grid, other in (("x", x, "y"), ("y", y, "x")):
            if dim not in grid.positions:
                message = f"{name}: no coordinate {dim}; expected one, as that of {other} descends"
                raise InvalidInputError(message)
    same = {PAIR: "pairs", TIME: "times since the first"}
    for dim in sorted({*same, *AXES} & x.positions.keys() & y.positions.keys()):
        stored = x.positions[dim], y.positions[dim]
        coarse, fine = map(_elapsed, stored) if dim == TIME else stored
        slack = 2 * sum(map(rounding, stored))
        if not (np.array_equal(coarse, fine) if dim == PAIR else _divides(fine, coarse, slack)):
            message = (
                f"y: {dim} from {fine[0]} to {fine[-1]}, that of x from {coarse[0]} to {coarse[-1]}; expected the same "
                f"{same.get(dim, 'cells, or whole subdivisions of them')}{WAY_ROUND}"
            )
            raise InvalidInputError(message)


def _elapsed(times: NDArray[Any]) -> NDArray[Any]:
    """Return times since the first one, of dates in seconds; nothing if they are neither dates nor numbers."""
    since = times - times[:1] if times.dtype.kind in "fiuM" else times[:0]
    return since / np.timedelta64(1, "s") if since.dtype.kind == "m" else since


def _divides(fine: NDArray[Any], coarse: NDArray[Any], slack: float) -> bool:
    if not coarse.size or not fine.size or fine.size % coarse.size:
        return True  # the service refuses that, with a message of its own
    means = fine.reshape(len(coarse), -1).mean(axis=1, dtype=np.float64)
    return bool(np.abs(means - coarse).max() <= UNEVEN * np.abs(np.diff(coarse)).max(initial=0) + slack)


def _refuse(name: str, value: str) -> InvalidInputError:
    return InvalidInputError(f"{name}: {value}; expected an array of real numbers, or the path of a .npy file with one")
