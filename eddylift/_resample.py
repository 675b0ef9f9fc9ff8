"""Resamples stretched axes, such as the wall-normal one of a channel, to uniform cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from eddylift import _missing
from eddylift._axes import attributes_of, bounds_of
from eddylift._errors import InvalidInputError, warn
from eddylift._paths import spell_attribute
from eddylift._velocity import AXES, COMPONENT, COMPONENTS

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

NOTE = "eddylift_resampled"
# On a wall, the velocity varies by less, relative to the next point. In the outer cells of channels it varies by 0.34.
ON_WALL = 0.1
# A variance that is less, relative to the mean square of the velocity, is rounding in single precision.
ROUNDING = 1e-10


def to_uniform(dataset: xr.Dataset, axes: Sequence[str], boundary: object = None) -> xr.Dataset:
    """Resample a dataset to uniform cells along some axes, between the first and the last point of each.

    There are as many cells as points, or the number that is given. If an axis has CF bounds, or its attribute
    ``bounds`` names the positions of the faces, its cells lie between these. The field is taken as linear between its
    points, and beyond the outer ones, and a cell gets its exact mean. The integral over the axis (in a channel, the
    mass flux) is therefore kept. A note is added to the attribute ``eddylift_resampled``.

    Args:
        dataset: with the positions of its points along these axes.
        axes: such as ``["y"]``, or ``["z", "y:128"]`` with a number of cells.
        boundary: what lies beyond the ends, as for `Client.upscale`; None takes the attribute of the dataset.

    Raises:
        InvalidInputError: for an axis without distinct, ordered, finite positions, or a periodic one, or data that are
            missing or no floating-point numbers.
    """
    said = spell_attribute(dataset.attrs.get("boundary", "") if boundary is None else boundary).split(",")
    kinds = dict(zip(AXES, said if len(said) == len(AXES) else len(AXES) * said[:1], strict=True))
    for named in axes:
        axis, cells = _read(named)
        if kinds.get(axis, "").strip().lower() == "periodic":
            message = f"resample: {axis}; expected an axis that is not periodic, as the length of a period is not known"
            raise InvalidInputError(message)
        dataset = _resample(dataset, axis, cells, wall=kinds.get(axis, "").strip().lower().startswith("wall"))
    return dataset


def _read(said: object) -> tuple[str, int | None]:
    """Read an axis, such as y, or y:128 with its number of cells."""
    axis, colon, cells = str(said).partition(":")
    if colon and not (cells.strip().isdecimal() and int(cells)):
        message = f"resample: {said}; expected an axis and its number of cells, such as y:128"
        raise InvalidInputError(message)
    return axis.strip(), int(cells) if colon else None


def mean_weights(points: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix (cell, point) that maps values at ascending points to means over cells.

    Let h be the distance from point k to the next one, and t in [0, 1] the place of an edge between them. The integral
    of the linear field up to the edge is that over whole intervals plus h ((t - t^2/2) f_k + t^2/2 f_(k+1)).
    """
    steps = np.diff(points)
    whole = np.zeros((len(points), len(points)))
    for point, step in enumerate(steps):
        whole[point + 1] = whole[point]
        whole[point + 1, [point, point + 1]] += step / 2
    k = np.clip(np.searchsorted(points, edges, side="right") - 1, 0, len(steps) - 1)
    t = (edges - points[k]) / steps[k]
    integrals, rows = whole[k], np.arange(len(edges))
    integrals[rows, k] += steps[k] * (t - t**2 / 2)
    integrals[rows, k + 1] += steps[k] * t**2 / 2
    weights: NDArray[np.float64] = np.diff(integrals, axis=0) / np.diff(edges)[:, None]
    return weights


def _resample(dataset: xr.Dataset, axis: str, cells: int | None, *, wall: bool) -> xr.Dataset:
    if axis not in dataset.coords or dataset[axis].dims != (axis,) or dataset[axis].dtype.kind not in "fiu":
        message = f"resample: {axis}; expected an axis whose points have positions, such as y"
        raise InvalidInputError(message)
    dataset = dataset.sortby(axis)
    points = dataset[axis].values.astype(np.float64)
    if len(points) < 2 or not np.isfinite(points).all() or not (np.diff(points) > 0).all():  # noqa: PLR2004 an interval
        message = f"{axis} cannot be resampled: expected two or more distinct, finite positions"
        raise InvalidInputError(message)
    bounds = bounds_of(dataset, axis)
    low, high = _ends(dataset, axis, bounds, points)
    dataset = dataset.drop_vars(bounds or ())
    edges = np.linspace(low, high, (cells or len(points)) + 1)
    weights = mean_weights(points, edges)
    variables: dict[Hashable, Any] = {}
    velocity = _velocity(dataset)
    for name, array in dataset.data_vars.items():
        if axis not in array.dims:
            variables[name] = array.variable
            continue
        way_round = "" if name in velocity else f"; or leave {name} out by drop"
        array = _missing.whole(name, array, way_round)  # noqa: PLW2901 means would hide what is missing
        if array.dtype.kind != "f":
            message = f"{name} is {array.dtype} and cannot be resampled along {axis}; leave it out by drop"
            raise InvalidInputError(message)
        place = array.dims.index(axis)
        means = np.moveaxis(np.tensordot(weights, array.values, axes=(1, place)), 0, place)
        variables[name] = xr.Variable(array.dims, means.astype(array.dtype), array.attrs)
    if wall and bounds is None:
        _look_at_walls(dataset[velocity], axis)
    centres = xr.Variable(axis, (edges[:-1] + edges[1:]) / 2, attributes_of(dataset, axis))
    note = f"{axis}: {len(weights)} uniform cells from {low:g} to {high:g}, means of the linear interpolant"
    earlier = dataset.attrs.get(NOTE)
    # Other coordinates along the axis are of its points, and left out with them.
    coordinates = {**dataset.drop_dims(axis).coords, axis: centres}
    return xr.Dataset(variables, coordinates, {**dataset.attrs, NOTE: f"{earlier}; {note}" if earlier else note})


def _ends(dataset: xr.Dataset, axis: str, bounds: str | None, points: NDArray[np.float64]) -> tuple[float, float]:
    """Return where an axis begins and ends: by its bounds if it has some, else at its first and last point."""
    if bounds is None:
        if "bounds" in dataset[axis].attrs:
            told = f"its bounds, {dataset[axis].attrs['bounds']}, are missing or have another shape"
            warn(f"resample: {axis}; {told}, so its first and last point are taken as its ends")
        return points[0], points[-1]
    limits = dataset[bounds].values
    if limits.dtype.kind not in "fiu" or not limits.min() <= points[0] < points[-1] <= limits.max():
        message = f"{bounds}: the bounds of {axis}; expected numbers that enclose its positions"
        raise InvalidInputError(message)
    return float(limits.min()), float(limits.max())


def _velocity(dataset: xr.Dataset) -> list[Hashable]:
    """Return the names of u, v, w; only if none is there, those of variables with components."""
    return [name for name in COMPONENTS if name in dataset] or [
        name for name, array in dataset.data_vars.items() if COMPONENT in array.dims
    ]


def _look_at_walls(velocity: xr.Dataset, axis: str) -> None:
    """Warn if the outer points of an axis are not on its walls, where the velocity does not vary."""
    variances, square = np.zeros(4), 0.0
    for array in velocity.data_vars.values():
        if axis in array.dims:
            planes = array.isel({axis: [0, 1, -2, -1]})
            varying = planes.var([each for each in AXES if each in planes.dims and each != axis])
            variances += varying.mean([each for each in varying.dims if each != axis]).values
            square += float((planes**2).mean())
    low, next_low, next_high, high = variances
    rounding = ROUNDING * square
    if low > max(ON_WALL**2 * next_low, rounding) or high > max(ON_WALL**2 * next_high, rounding):
        warn(
            f"resample: {axis}; the velocity varies at the first or last point, so these are not on the walls, but "
            f"they are taken as such: give CF bounds ({axis}_bnds) if they are centres of cells, or boundary open"
        )
