"""Reads volumes from files: .npy, NetCDF, HDF5 (also cutouts of JHTDB), Zarr as a folder or zipped.

The format is recognised by the content. Variables that may be velocity are decoded: packed integers become floats, and
fill values NaN. Everything else stays as stored, times too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import warnings
import zipfile
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from eddylift._errors import InvalidInputError
from eddylift._npy import open_array
from eddylift._unnamed_axes import name_axes
from eddylift._usual_names import DIMS

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    import xarray as xr
    from numpy.typing import NDArray

TIMES = ("time", *DIMS["time"])
GROUP_MARKS = ("zarr.json", ".zgroup")
DOCUMENTS = frozenset({*GROUP_MARKS, ".zarray", ".zattrs", ".zmetadata"})
# What the NetCDF library writes where data are missing, if there is no _FillValue (NC_FILL_SHORT, NC_FILL_INT), by type
# without byte order. That of floats is too large for a velocity, and bytes have none by convention.
DEFAULT_FILLS = {"i2": -32767, "i4": -2147483647}
RAW: dict[str, Any] = {"mask_and_scale": False, "decode_times": False, "decode_timedelta": False}
# What libraries raise at a broken file; RuntimeError is numcodecs'.
UNREADABLE = (OSError, ValueError, TypeError, LookupError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile)
# Joins files, each of which may count its times from a date of its own.
JOINED = "xarray.concat([xarray.decode_cf(open_volume(path), decode_timedelta=False) for path in paths], 'time')"
# The begin of an address, of which pathlib makes one slash of two; a drive has one letter.
ADDRESS = re.compile(r"\w{2,}:/")
VTK = (
    "VTK; by pyvista, save an array (3, z, y, x) as .npy, such as cell_data['U'].reshape(nz, ny, nx, 3)"
    ".transpose(3, 0, 1, 2) of a uniform grid"
)
# First bytes of formats that are not read, and what to do about each.
FOREIGN = {
    b"\x0e\x03\x13\x01": "HDF4; convert it by h4toh5",
    b"# vtk": VTK,
    b"<?xml": f"XML, perhaps of {VTK}",
    b"<VTKFile": VTK,
    b"MATLAB 5": "MATLAB before 7.3; save u, v, w, each as u(x, y, z), by save(..., '-v7.3')",
}


def is_array(path: Path) -> bool:
    """Return whether a file is .npy."""
    return _head(path).startswith(np.lib.format.MAGIC_PREFIX)


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a Zarr group."""
    return any((path / mark).is_file() for mark in GROUP_MARKS)


def read(path: Path) -> NDArray[Any] | xr.Dataset:
    """Read a volume into memory: an array from .npy, a dataset from anything else.

    Raises:
        InvalidInputError: if there is none, or it cannot be read.
    """
    check_exists(path)
    with own_errors(path, "read"):
        if is_array(path):
            return np.array(open_array(path))
        with open_dataset(path) as dataset:
            return dataset.load()


def open_dataset(path: Path) -> xr.Dataset:
    """Open a dataset lazily. The caller closes it.

    Its ``encoding`` keeps ``unlimited_dims`` and, from Zarr, ``zarr_format``, so that the answer has the same format.

    Raises:
        InvalidInputError: if there is none, or it cannot be read.
    """
    check_exists(path)
    head = _head(path)
    with own_errors(path, "read"):
        if path.is_dir():
            return _open_zarr(path)
        if is_array(path):
            from eddylift._velocity import from_array  # noqa: PLC0415 needs xarray, which is slow

            return from_array(open_array(path))
        if head.startswith(b"\x89HDF\r\n\x1a\n"):
            return _open_hdf5(path)
        if head.startswith(b"CDF"):
            return _open_classic(path, head[3])
        if zipfile.is_zipfile(path):
            return _open_zip(path)
    kind = next((kind for mark, kind in FOREIGN.items() if head.startswith(mark)), "of an unknown format")
    message = f"{path}: {kind}; expected .npy, NetCDF, HDF5, or Zarr as a folder or zipped"
    raise InvalidInputError(message)


@contextlib.contextmanager
def own_errors(path: Path | str, done: str) -> Iterator[None]:
    """Turn the errors of the libraries that read and write files into one of this package's, with the path."""
    try:
        yield
    except InvalidInputError:
        raise
    except UNREADABLE as error:
        message = f"{path} cannot be {done}: {error}"
        raise InvalidInputError(message) from None


def require_zarr(what: str) -> None:
    """Refuse what needs the zarr package, if it is missing.

    Raises:
        InvalidInputError: without the zarr package.
    """
    if importlib.util.find_spec("zarr") is None:
        message = f"{what} needs the zarr package: pip install 'eddylift[zarr]'"
        raise InvalidInputError(message)


def check_exists(path: Path) -> None:
    """Refuse a path where nothing is.

    Raises:
        InvalidInputError: naming it.
    """
    if not path.exists():
        message = f"{path} does not exist"
        if ADDRESS.match(str(path)):
            message += (
                ". An address is not read: open it by xarray.open_zarr, and pass the dataset; client.open and "
                "client.submit take s3://bucket/path"
            )
        elif {*"*?"} & {*path.name}:
            message += f". Pass the path of one file; {JOINED} joins several"
        raise InvalidInputError(message)


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with own_errors(path, "read"), path.open("rb") as file:
        return file.read(16)


def _open_hdf5(path: Path) -> xr.Dataset:
    import xarray as xr  # noqa: PLC0415 slow, and not needed for .npy

    from eddylift._jhtdb import open_cutout  # noqa: PLC0415 needs xarray

    cutout = open_cutout(path)
    if cutout is not None:
        return cutout
    # Files not written as NetCDF have no names for their axes; h5netcdf then makes some up.
    dataset = xr.open_dataset(path, engine="h5netcdf", phony_dims="access", **RAW)
    if not dataset.data_vars:
        dataset.close()
        dataset = _open_only_group(path)
    decoded = _decoded(name_axes(dataset), DEFAULT_FILLS)
    decoded.set_close(dataset.close)
    return decoded


def _open_only_group(path: Path) -> xr.Dataset:
    """Open the only group with variables, with the coordinates of its parents."""
    import xarray as xr  # noqa: PLC0415 slow

    tree = xr.open_datatree(path, engine="h5netcdf", phony_dims="access", **RAW)
    groups = [node for node in tree.subtree if node.data_vars]
    if "VTKHDF" in tree.children:
        message = f"{path} is VTKHDF, which is written for ParaView, but not read: read what it was made from"
        tree.close()
        raise InvalidInputError(message)
    if len(groups) != 1:
        found = ", ".join(node.path for node in groups) or "no variables"
        message = (
            f"{path} holds {found}; expected one group with the velocity: read its arrays by h5py, and pass "
            "np.stack([u, v, w]), each over (z, y, x); if an axis is stretched, an xarray.Dataset with its positions"
        )
        tree.close()
        raise InvalidInputError(message)
    dataset = groups[0].to_dataset()
    dataset.attrs = {**tree.attrs, **dataset.attrs}
    dataset.set_close(tree.close)
    return dataset


def _open_classic(path: Path, version: int) -> xr.Dataset:
    """Open NetCDF older than version 4: CDF-1 and CDF-2 with scipy, CDF-5 with netCDF4."""
    import xarray as xr  # noqa: PLC0415 slow

    engines = {"netcdf4": "netCDF4"} | ({} if version > 2 else {"scipy": "scipy"})  # noqa: PLR2004 CDF-2
    for engine, package in engines.items():
        if importlib.util.find_spec(package) is not None:
            return _decoded(xr.open_dataset(path, engine=engine, **RAW), DEFAULT_FILLS)
    message = (
        f"{path} is NetCDF in its classic format: pip install {package}, or convert it by nccopy -k nc4 {path.name} "
        f"{path.stem}-4.nc"
    )
    raise InvalidInputError(message)


def _open_zarr(path: Path) -> xr.Dataset:
    if not is_zarr(path):
        message = (
            f"{path} is a folder, and cannot be read as a Zarr group: it has no {' and no '.join(GROUP_MARKS)}. Pass "
            f"the path of one file; {JOINED} joins several"
        )
        raise InvalidInputError(message)
    require_zarr(str(path))
    return _open_group(path, None, zarr_format=3 if (path / GROUP_MARKS[0]).is_file() else 2)


def _open_zip(path: Path) -> xr.Dataset:
    require_zarr(str(path))
    from zarr.storage import ZipStore  # noqa: PLC0415 not in the base install

    with zipfile.ZipFile(path) as archive:
        names = [PurePosixPath(name) for name in archive.namelist()]
    marks = [name for name in names if name.name in GROUP_MARKS]
    arrays = [name for name in names if name.suffix == ".npy"]
    if not marks:
        found = "arrays of NumPy; save one array (3, z, y, x) by numpy.save" if arrays else "no Zarr group"
        message = f"{path} holds {found}"
        raise InvalidInputError(message)
    # A folder may have been zipped with or without its own name.
    mark = min(marks, key=lambda mark: len(mark.parts))
    group = None if mark.parent == PurePosixPath() else str(mark.parent)
    store = ZipStore(path, mode="r")
    dataset = _open_group(store, group, zarr_format=3 if mark.name == GROUP_MARKS[0] else 2)
    dataset.set_close(store.close)
    return dataset


def _open_group(store: Any, group: str | None, *, zarr_format: int) -> xr.Dataset:  # noqa: ANN401 path or store
    import xarray as xr  # noqa: PLC0415 slow
    from zarr.errors import ZarrUserWarning  # noqa: PLC0415 not in the base install

    with warnings.catch_warnings():
        # Desktops and notebooks leave files of their own in folders.
        warnings.simplefilter("ignore", ZarrUserWarning)
        # Consolidated metadata are not read: they are old where a group was written to later.
        options = {"chunks": None, "zarr_format": zarr_format, "consolidated": False, **RAW}
        dataset = xr.open_zarr(store, group=group, **options)
    for variable in dataset.variables.values():
        # Zarr v2 reads 0 where nothing was written; that is not a missing value.
        if zarr_format == 2 and variable.attrs.get("_FillValue") == 0:  # noqa: PLR2004
            del variable.attrs["_FillValue"]
    dataset = _decoded(dataset)
    dataset.encoding["zarr_format"] = zarr_format
    return dataset


def _decoded(dataset: xr.Dataset, fills: Mapping[str, int] = MappingProxyType({})) -> xr.Dataset:
    """Decode variables that may be velocity or positions of cells, and drop the file's encoding.

    Args:
        dataset: as it is stored.
        fills: numbers that mark missing data among packed ones without a ``_FillValue``, by their type.
    """
    raw = dataset.drop_encoding()
    for variable in raw.variables.values():
        fill = variable.attrs.get("_FillValue")
        if fill is None or fill != fill:  # noqa: PLR0124 NaN, which xarray writes unasked
            variable.encoding["_FillValue"] = variable.attrs.pop("_FillValue", None)
    fields = {name: _decode(name, array, fills) for name, array in raw.data_vars.items() if array.ndim >= 3}  # noqa: PLR2004 z, y, x
    positions = {
        name: _decode(name, array, fills)
        for name, array in raw.coords.items()
        if array.dims == (name,) and str(name).lower() not in TIMES
    }
    decoded = raw.assign_coords(positions).assign(fields)
    unlimited = dataset.encoding.get("unlimited_dims", ())
    decoded.encoding = {"unlimited_dims": set(unlimited)} if unlimited else {}
    decoded.set_close(dataset.close)
    return decoded


def _decode(name: Hashable, array: xr.DataArray, fills: Mapping[str, int]) -> xr.Variable:
    from eddylift._missing import PACKING, decoded  # noqa: PLC0415 needs xarray

    stored = array.variable.drop_encoding()
    fill = fills.get(stored.dtype.str[1:])
    if fill is not None and {*PACKING} & {*stored.attrs}:
        stored.attrs.setdefault("_FillValue", stored.dtype.type(fill))
    variable = decoded(name, stored)
    # So that the answer is not packed again.
    variable.encoding = {"_FillValue": None}
    return variable
