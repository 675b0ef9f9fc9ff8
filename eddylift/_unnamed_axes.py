"""Names the axes of HDF5 files that were not written as NetCDF; h5netcdf calls these axes phony_dim_0 and so on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from eddylift._errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr

AXES: Final = ("time", "z", "y", "x")
UNNAMED: Final = "phony_dim"
# The attribute in which HDF5 itself keeps a name for each axis of an array.
LABELS: Final = "DIMENSION_LABELS"


def name_axes(dataset: xr.Dataset) -> xr.Dataset:
    """Name axes that have no names: as they are labelled, or else u, v, w are taken to be over ([time,] z, y, x).

    Variables x, y, z, time become coordinates. If one of these is no vector, as with MATLAB's ``meshgrid``, only labels
    give names until it is left out.

    Raises:
        InvalidInputError: for labels that do not differ, or coordinates of another length than their axis.
    """
    unnamed = {name: each for name, each in dataset.variables.items() if _is_unnamed(each)}
    said = {name: labels for name, each in unnamed.items() if (labels := _labels(name, each))}
    is_labelled = bool(said)
    if not said and {"u", "v", "w"} <= unnamed.keys() and unnamed["u"].ndim in {3, 4} and not grids(dataset):
        said = {"u": AXES[-unnamed["u"].ndim :]}
    if not said:
        return dataset
    # By their lengths, as h5netcdf names axes of one length alike.
    over = {dim: name for each, names in said.items() for dim, name in zip(unnamed[each].dims, names, strict=True)}
    named: dict[Hashable, xr.Variable] = {}
    for name, variable in unnamed.items():
        is_axis = name in AXES and name not in said and variable.ndim and variable.size == max(variable.shape)
        named[name] = _vector(variable) if is_axis else variable.copy(deep=False)
        dims = (name,) if is_axis else said.get(name, tuple(over.get(dim, dim) for dim in variable.dims))
        named[name].dims = dims if len({*dims}) == len(dims) else variable.dims
        named[name].attrs = {key: value for key, value in variable.attrs.items() if key != LABELS}
    try:
        return _replaced(dataset, named)
    except ValueError:
        positions = [f"{named[name].size} positions along {name}" for name in AXES if name in named]
        raise InvalidInputError(_disagreement(named, said if is_labelled else {}, ", ".join(positions))) from None


def grids(dataset: xr.Dataset) -> list[str]:
    """Return which of time, z, y, x are there, but are no vectors; those of MATLAB have a second dim, of one value."""
    shapes = {name: dataset[name].shape for name in AXES if name in dataset.variables}
    return [name for name, shape in shapes.items() if math.prod(shape) != max(shape, default=1)]


def _is_unnamed(variable: xr.Variable) -> bool:
    return bool(variable.dims) and all(str(dim).startswith(UNNAMED) for dim in variable.dims)


def _labels(name: Hashable, variable: xr.Variable) -> tuple[Hashable, ...]:
    """Return dims as they are labelled, and as they are where they are not; nothing without any label."""
    texts = [_text(each) for each in np.atleast_1d(np.asarray(variable.attrs.get(LABELS, ()), object))]
    if len(texts) != variable.ndim or not any(texts):
        return ()
    labels = tuple(text or dim for text, dim in zip(texts, variable.dims, strict=True))
    if len({*labels}) < len(labels):
        message = f"{name}: its axes are labelled {', '.join(texts)}; expected labels that differ"
        raise InvalidInputError(message)
    return labels


def _text(label: Any) -> str:  # noqa: ANN401 whatever HDF5 holds
    return label.decode(errors="replace") if isinstance(label, bytes) else str(label)


def _vector(variable: xr.Variable) -> xr.Variable:
    """Return the values along the longest dim, as the others have one value."""
    longest = variable.shape.index(max(variable.shape))
    return variable.isel({dim: 0 for place, dim in enumerate(variable.dims) if place != longest})


def _disagreement(
    named: dict[Hashable, xr.Variable], said: dict[Hashable, tuple[Hashable, ...]], positions: str
) -> str:
    if said:
        listed = ", ".join(f"{name}{named[name].shape} over ({', '.join(map(str, said[name]))})" for name in said)
        return f"{listed}{positions and ', with '}{positions}; expected one length for each label"
    return (
        f"u, v, w: {named['u'].shape}, with {positions}; expected (z, y, x) or (time, z, y, x), as the axes have no "
        "names. Of another order, pass the arrays, read by h5py: np.stack([file[name][:].transpose(2, 1, 0) for name "
        "in 'uvw']) if they are over (x, y, z); if an axis is stretched, an xarray.Dataset with its positions"
    )


def _replaced(dataset: xr.Dataset, named: dict[Hashable, xr.Variable]) -> xr.Dataset:
    import xarray as xr  # noqa: PLC0415 slow

    result = xr.Dataset({**dataset.variables, **named}, attrs=dataset.attrs)
    result = result.set_coords([name for name in dataset.coords if name in result])
    result.encoding = dataset.encoding
    result.set_close(dataset.close)
    return result
