"""Small files of the formats that are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CELLS = (16, 12, 20)


def velocity(times: int = 3, cells: tuple[int, int, int] = CELLS) -> NDArray[np.float32]:
    """(time, 3, z, y, x)."""
    return np.random.default_rng(0).standard_normal((times, 3, *cells)).astype(np.float32)


def coordinates(cells: tuple[int, int, int] = CELLS) -> dict[str, Any]:
    return {axis: (np.arange(n) + 0.5) * step for axis, n, step in zip("zyx", cells, (0.1, 0.2, 0.3), strict=True)}


def write_components(path: Path, field: NDArray[np.float32], **attrs: str) -> Path:
    dims = ("time", "z", "y", "x")
    parts = {name: (dims, field[:, index]) for index, name in enumerate("uvw")}
    dataset = xr.Dataset(parts, coordinates(field.shape[2:]), attrs)
    if path.suffix == ".zarr":
        dataset.to_zarr(path, consolidated=False)
    else:
        dataset.transpose("x", "time", "y", "z").to_netcdf(path)
    return path


def write_one_array(path: Path, field: NDArray[np.float32], **attrs: str) -> Path:
    dims = ("time", "component", "z", "y", "x")
    labelled = {**coordinates(field.shape[2:]), "component": list("uvw")}
    array = xr.DataArray(field, labelled, dims, "velocity").transpose("z", "y", "x", "component", "time")
    array.to_dataset().assign_attrs(attrs).to_netcdf(path)
    return path


def write_jhtdb(path: Path, field: NDArray[np.float32], **attrs: str) -> Path:
    with h5py.File(path, "w") as file:
        for level, values in enumerate(field, start=1):
            file[f"Velocity_{level:04d}"] = np.moveaxis(values, 0, -1)
        for axis, values in coordinates(field.shape[2:]).items():
            file[f"{axis}coor"] = values
        file.attrs.update(attrs)
    return path


def write_giverny(path: Path, field: NDArray[np.float32], **attrs: str) -> Path:
    """Giverny keeps a step a variable; a file of several is read like one of the cutout service."""
    dims = ("zcoor", "ycoor", "xcoor", "values")
    steps = {f"velocity_{step:04d}": (dims, np.moveaxis(values, 0, -1)) for step, values in enumerate(field, start=1)}
    axes = {f"{axis}coor": values for axis, values in coordinates(field.shape[2:]).items()}
    xr.Dataset(steps, {**axes, "values": ["ux", "uy", "uz"]}, attrs).to_netcdf(path)
    return path
