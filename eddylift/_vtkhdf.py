"""Writes volumes for ParaView: VTKHDF, one HDF5 file with all times.

The format is specified at https://docs.vtk.org/en/latest/vtk_file_formats/vtkhdf_file_format/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np

from eddylift._axes import TIME, since_first
from eddylift._codecs import as_dataset
from eddylift._velocity import AXES, COMPONENTS, ERROR, find, split

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    from eddylift._codecs import AnyVolume

# The first version with time series of uniform grids.
VERSION = (2, 0)


def write_vtkhdf(path: Path, volume: AnyVolume) -> None:
    """Write a velocity as cell data ``velocity``, and the expected error as ``error`` if it is there.

    Args:
        path: of the file.
        volume: a volume such as `Client.upscale` returns. Unless each axis has coordinates, cells are cubes of edge 1.

    Raises:
        InvalidInputError: if it has no velocity, or a stretched axis.
    """
    dataset = as_dataset(volume)
    fields = split(dataset, find(dataset.drop_vars(ERROR, errors="ignore")))
    with h5py.File(path, "w") as file:
        group = file.create_group("VTKHDF")
        group.attrs["Version"] = VERSION
        group.attrs.create("Type", b"ImageData", dtype="S9")
        is_known = {*AXES} <= {*fields.coords}
        cells_along = [_axis(fields, axis) if is_known else (0.0, 1.0) for axis in reversed(AXES)]
        group.attrs["Origin"], group.attrs["Spacing"] = zip(*cells_along, strict=True)
        group.attrs["WholeExtent"] = [bound for axis in reversed(AXES) for bound in (0, fields.sizes[axis])]
        group.attrs["Direction"] = np.eye(3).ravel()
        cells = group.create_group("CellData")
        cells["velocity"] = np.stack([_values(fields[name]) for name in COMPONENTS], axis=-1)
        if ERROR in fields:
            cells[ERROR] = _values(fields[ERROR])
        if TIME in fields["u"].dims:
            steps = group.create_group("Steps")
            steps.attrs["NSteps"] = fields.sizes[TIME]
            steps["Values"] = _times(fields)


def _values(array: xr.DataArray) -> NDArray[np.float32]:
    return array.transpose(*([TIME] if TIME in array.dims else []), *AXES).values.astype(np.float32)


def _axis(dataset: xr.Dataset, axis: str) -> tuple[float, float]:
    """Return where the first cell of an axis begins, and how long it is."""
    centres = dataset[axis].values.astype(np.float64)
    spacing = float(centres[-1] - centres[0]) / (len(centres) - 1) if len(centres) > 1 else 1.0
    return float(centres[0]) - spacing / 2, spacing


def _times(dataset: xr.Dataset) -> NDArray[np.float64]:
    """Return times as numbers: dates in seconds since the first one; indices if there are no times."""
    if TIME not in dataset.coords:
        return np.arange(dataset.sizes[TIME], dtype=np.float64)
    if dataset[TIME].dtype.kind in "mMO":  # dates of other calendars are objects
        return since_first(dataset, TIME, "").values / np.timedelta64(1, "s")
    return dataset[TIME].values.astype(np.float64)
