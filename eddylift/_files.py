"""Volumes in files: .npy, .nc, .h5, .zarr (a folder) and .zip (a zipped Zarr group)."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import tempfile
import uuid
import warnings
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from eddylift._errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr

    from eddylift._codecs import AnyVolume

AXES = ("time", "z", "y", "x")
COMPONENTS = ("u", "v", "w")
HDF5 = frozenset({".nc", ".h5", ".hdf5"})
ZARR = frozenset({".zarr", ".zip"})
SUFFIXES = (".npy", ".nc", ".h5", ".zarr", ".zip")
GROUP_MARKS = ("zarr.json", ".zgroup")


def read(path: Path) -> AnyVolume:
    """Read a volume: an array from .npy, a dataset from anything else.

    Raises:
        InvalidInputError: where there is none, or not of the kind that its name says.
    """
    _check_kind(path)
    if not path.exists():
        message = f"{path} does not exist"
        raise InvalidInputError(message)
    with _own_errors(path, "read"):
        if path.suffix == ".npy":
            with path.open("rb") as file:
                # np.load would take whatever is no array for a pickle, and an archive of arrays for one.
                return np.lib.format.read_array(file, allow_pickle=False)
        if path.suffix in HDF5:
            return _read_hdf5(path)
        return _read_zarr(path)


def check_target(path: Path, source: AnyVolume | Path, *, overwrite: bool) -> None:
    """Make sure, before anything is computed, that the answer to a source can be written.

    Raises:
        InvalidInputError: where it cannot, or something is there already.
    """
    _check_kind(path)
    bare = (source.suffix == ".npy") if isinstance(source, Path) else isinstance(source, np.ndarray)
    if bare != (path.suffix == ".npy"):
        message = f"{path} cannot hold the answer: a .npy array has no coordinates, so .npy goes to .npy alone"
        raise InvalidInputError(message)
    if not path.parent.is_dir():
        message = f"{path.parent} is not a folder"
        raise InvalidInputError(message)
    if not os.access(path.parent, os.W_OK):
        message = f"{path.parent} cannot be written to"
        raise InvalidInputError(message)
    if not path.exists():
        return
    if not overwrite:
        message = f"{path} is there already: choose another name, or pass --overwrite"
        raise InvalidInputError(message)
    if path.is_dir() and not any((path / mark).is_file() for mark in GROUP_MARKS):
        message = f"{path} is a folder that is no Zarr group: it is not overwritten"
        raise InvalidInputError(message)


def write(path: Path, volume: AnyVolume) -> None:
    """Write a volume; a file of that name is replaced, and stays whole until the new one is.

    Raises:
        InvalidInputError: where it cannot be written.
    """
    draft = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        with _own_errors(path, "written"):
            if isinstance(volume, np.ndarray):
                np.save(draft, volume, allow_pickle=False)
            elif path.suffix in HDF5:
                volume.to_netcdf(draft, engine="h5netcdf")
            elif path.suffix == ".zip":
                _write_zip(draft, volume)
            else:
                write_zarr(draft, volume)
            if path.is_dir():
                _remove(path)
            draft.replace(path)
    finally:
        _remove(draft)


def _check_kind(path: Path) -> None:
    if path.suffix not in HDF5 | ZARR | {".npy"}:
        message = f"{path} is of no known kind: expected a name that ends in {', '.join(SUFFIXES)}"
        raise InvalidInputError(message)
    if path.suffix in ZARR:
        require_zarr(str(path))


def require_zarr(what: str) -> None:
    """Refuse what the base install cannot do.

    Raises:
        InvalidInputError: without the zarr package.
    """
    if importlib.util.find_spec("zarr") is None:
        message = f"{what} needs the zarr package: pip install 'eddylift[zarr]'"
        raise InvalidInputError(message)


@contextlib.contextmanager
def _own_errors(path: Path, done: str) -> Iterator[None]:
    """Say what went wrong with a file, whichever of the libraries below noticed."""
    try:
        yield
    except InvalidInputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        message = f"{path} cannot be {done}: {error}"
        raise InvalidInputError(message) from error


def _read_hdf5(path: Path) -> xr.Dataset:
    import xarray as xr  # noqa: PLC0415 slow, and not needed for .npy

    # Files not written as NetCDF have no names for their axes; h5netcdf then makes some up.
    dataset = xr.load_dataset(path, engine="h5netcdf", phony_dims="access")
    if any(str(dim).startswith("phony_dim") for dim in dataset.dims):
        dataset = _name_axes(path, dataset)
    return dataset


def _name_axes(path: Path, nameless: xr.Dataset) -> xr.Dataset:
    """Read the nameless axes of u, v, w like a bare array's, ([time,] z, y, x), and x, y, z, time beside them."""
    import xarray as xr  # noqa: PLC0415 slow, and not needed for .npy

    found = {}
    for name, variable in nameless.variables.items():
        if name in COMPONENTS and variable.ndim in {3, 4}:
            dims = AXES[-variable.ndim :]
        elif name in AXES and variable.ndim == 1:
            dims = (str(name),)
        else:
            message = (
                f"{path} has no names for its axes, so it may hold u, v, w as (z, y, x) or (time, z, y, x), and "
                f"x, y, z, time as coordinates; got {name} of shape {variable.shape}"
            )
            raise InvalidInputError(message)
        found[name] = (dims, variable.values, variable.attrs)
    return xr.Dataset(found, attrs=nameless.attrs)


def _read_zarr(path: Path) -> xr.Dataset:
    import xarray as xr  # noqa: PLC0415 slow, and not needed for .npy
    from zarr.storage import ZipStore  # noqa: PLC0415 not in the base install

    dataset: xr.Dataset
    if path.suffix == ".zarr":
        with xr.open_zarr(path) as dataset:
            return dataset.load()
    group = _group(path)
    with ZipStore(path, mode="r") as store, xr.open_zarr(store, group=group, consolidated=False) as dataset:
        return dataset.load()


def _group(path: Path) -> str | None:
    """Find where in an archive the group lies: a folder may have been zipped with or without its own name."""
    with zipfile.ZipFile(path) as archive:
        marks = [PurePosixPath(name) for name in archive.namelist() if PurePosixPath(name).name in GROUP_MARKS]
    if not marks:
        message = f"{path} holds no Zarr group"
        raise InvalidInputError(message)
    top = min(marks, key=lambda mark: len(mark.parts)).parent
    return None if top == PurePosixPath() else str(top)


def write_zarr(folder: Path, volume: xr.Dataset | xr.DataArray) -> None:
    """Write a Zarr group."""
    from zarr.errors import UnstableSpecificationWarning, ZarrUserWarning  # noqa: PLC0415 not in the base install

    with warnings.catch_warnings():
        # Zarr v3 has settled neither the type of strings (names of components) nor consolidated metadata.
        warnings.simplefilter("ignore", UnstableSpecificationWarning)
        warnings.simplefilter("ignore", ZarrUserWarning)
        volume.to_zarr(folder)


def _write_zip(path: Path, volume: xr.Dataset | xr.DataArray) -> None:
    # By way of a folder: zarr's own store for archives writes every metadata file twice into them.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as name:
        folder = Path(name)
        write_zarr(folder, volume)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
