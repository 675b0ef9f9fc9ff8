"""Names the axes of HDF5 files that were not written as NetCDF; h5netcdf calls these axes phony_dim_0 and so on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from eddylift._errors import InvalidInputError

if TYPE_CHECKING:
    import xarray as xr

AXES: Final = ("time", "z", "y", "x")
UNNAMED: Final = "phony_dim"


def name_axes(dataset: xr.Dataset) -> xr.Dataset:
    """Name axes that have no names: u, v, w are taken to be over ([time,] z, y, x), and x, y, z, time are coordinates.

    If one of these is no vector, as with MATLAB's ``meshgrid``, the axes get no names until it is left out.

    Raises:
        InvalidInputError: for coordinates of another length than their axis.
    """
    dims = dataset["u"].dims if {"u", "v", "w"} <= {*dataset.data_vars} else ()
    if len(dims) not in {3, 4} or not all(str(dim).startswith(UNNAMED) for dim in dims) or grids(dataset):
        return dataset
    axes = {name: dataset[name] for name in AXES if name in dataset.data_vars and dataset[name].ndim}
    named = dataset.drop_vars(axes).rename(dict(zip(dims, AXES[-len(dims) :], strict=True)))
    try:
        return named.assign_coords({name: (name, axis.values.ravel(), axis.attrs) for name, axis in axes.items()})
    except ValueError:
        positions = ", ".join(f"{axis.size} positions along {name}" for name, axis in axes.items())
        message = (
            f"u, v, w: {dataset['u'].shape}, with {positions}; expected (z, y, x) or (time, z, y, x), as the axes have "
            "no names. Of another order, pass the arrays, read by h5py: np.stack([file[name][:].transpose(2, 1, 0) for "
            "name in 'uvw']) if they are over (x, y, z); if an axis is stretched, an xarray.Dataset with its positions"
        )
        raise InvalidInputError(message) from None


def grids(dataset: xr.Dataset) -> list[str]:
    """Return which of time, z, y, x are there, but are no vectors; those of MATLAB have a second dim, of one value."""
    shapes = {name: dataset[name].shape for name in AXES if name in dataset.variables}
    return [name for name, shape in shapes.items() if math.prod(shape) != max(shape, default=1)]
