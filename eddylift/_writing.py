"""Writes answers to files, completely or not at all. The suffix of the name gives the format."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eddylift._codecs import as_dataset
from eddylift._errors import InvalidInputError
from eddylift._files import check_exists, is_array, is_zarr, own_errors, require_zarr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from eddylift._codecs import AnyVolume

HDF5 = frozenset({".nc", ".nc4", ".h5", ".hdf5"})
ZARR = frozenset({".zarr", ".zip"})
VTKHDF = ".vtkhdf"
# How a variable lies in Zarr, as xarray keeps it. Zarr v3 does not take the codecs of v2.
LAYOUT = frozenset({"chunks", "preferred_chunks", "shards", "serializer", "filters", "compressors", "compressor"})
# Where the attributes of a Zarr group are in its documents: of v3, of v2, and of v2 consolidated.
ATTRIBUTES = {"zarr.json": ["attributes"], ".zattrs": [], ".zmetadata": ["metadata", ".zattrs"]}
SUFFIXES = (".npy", ".nc", ".nc4", ".h5", ".hdf5", ".zarr", ".zip", VTKHDF)


def check_target(path: Path, source: Path, *, overwrite: bool, in_space: bool = True) -> None:
    """Check, before anything is computed, that the answer to a source can be written.

    Args:
        path: of the answer.
        source: its path.
        overwrite: whether the path may exist.
        in_space: whether the answer is a volume, and not in a plane.

    Raises:
        InvalidInputError: if it cannot, there is no source, or the path exists already.
    """
    check_exists(source)
    bare = is_array(source)
    fitting = [each for each in SUFFIXES if (in_space if each == VTKHDF else (each == ".npy") == bare)]
    given = "a bare array" if bare else "a dataset"
    _check_suffix(path, fitting, f"cannot hold the answer, as the input is {given}{'' if in_space else ' of planes'}")
    if not path.parent.is_dir():
        message = f"{path.parent} is not a folder"
        raise InvalidInputError(message)
    if not os.access(path.parent, os.W_OK):
        message = f"{path.parent} cannot be written to"
        raise InvalidInputError(message)
    if not path.exists():
        return
    if not overwrite:
        message = f"{path} exists already: choose another name, or pass --overwrite"
        raise InvalidInputError(message)
    if path.is_dir() and not is_zarr(path):
        message = f"{path} is a folder that is no Zarr group: it is not overwritten"
        raise InvalidInputError(message)


def save_volume(path: str | Path, volume: AnyVolume) -> None:
    """Write a volume in the format of the name's suffix; an existing file is replaced.

    Args:
        path: ends in ``.npy`` for arrays; ``.nc``, ``.nc4``, ``.h5``, ``.hdf5``, ``.zarr`` or ``.zip`` (zipped
            Zarr) for xarray objects; ``.vtkhdf`` (ParaView) for both.
        volume: an array (3, z, y, x) or (time, 3, z, y, x), or an xarray object with a velocity.

    Raises:
        InvalidInputError: if the name or the volume does not fit, or it cannot be written.
    """
    path = Path(path)
    _check_suffix(path, SUFFIXES, "has an unknown ending")
    if _suffix(path) != VTKHDF and isinstance(volume, np.ndarray) != (_suffix(path) == ".npy"):
        message = f"{path} cannot hold {type(volume).__name__}: arrays go to .npy or {VTKHDF}, all else to the others"
        raise InvalidInputError(message)
    write(path, volume if isinstance(volume, np.ndarray) else as_dataset(volume))


def write(path: Path, volume: NDArray[Any] | xr.Dataset) -> None:
    """Write a volume; an existing file is replaced only when the new one is complete.

    Raises:
        InvalidInputError: if it cannot be written.
    """
    draft, old = (path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{_suffix(path)}") for _ in range(2))
    try:
        with own_errors(path, "written"):
            if _suffix(path) == VTKHDF:
                from eddylift._vtkhdf import write_vtkhdf  # noqa: PLC0415 needs xarray, which is slow

                write_vtkhdf(draft, volume)
            elif isinstance(volume, np.ndarray):
                np.save(draft, volume, allow_pickle=False)
            elif _suffix(path) in HDF5:
                _fit_netcdf(volume).to_netcdf(draft, engine="h5netcdf")
            elif _suffix(path) == ".zip":
                _write_zip(draft, volume)
            else:
                write_zarr(draft, volume)
            if path.is_dir() or draft.is_dir():  # neither replaces a folder, nor a file by a folder
                with suppress(FileNotFoundError):
                    path.rename(old)
            draft.replace(path)
    finally:
        # What failed above is told; what is left of it cannot always be removed.
        with suppress(OSError):
            if old.exists() and not path.exists():
                old.rename(path)
            _remove(draft)
            _remove(old)


def _check_suffix(path: Path, fitting: Sequence[str], problem: str) -> None:
    if _suffix(path) not in fitting:
        message = f"{path} {problem}: expected a name that ends in {', '.join(fitting)}"
        raise InvalidInputError(message)
    if _suffix(path) in ZARR:
        require_zarr(str(path))


def temporary_folder(parent: Path | None = None) -> tempfile.TemporaryDirectory[str]:
    """Make a hidden folder in which to write a Zarr group."""
    # If a chunk fails, dask still writes those that it has begun, perhaps while the folder is removed.
    return tempfile.TemporaryDirectory(dir=parent, prefix=".", ignore_cleanup_errors=True)


def write_zarr(folder: Path, volume: xr.Dataset) -> None:
    """Write a Zarr group, in the Zarr format that the volume was read from, else v3."""
    from zarr.errors import UnstableSpecificationWarning, ZarrUserWarning  # noqa: PLC0415 not in the base install

    with warnings.catch_warnings():
        # Zarr v3 has settled neither the type of strings (names of components) nor consolidated metadata.
        warnings.simplefilter("ignore", UnstableSpecificationWarning)
        warnings.simplefilter("ignore", ZarrUserWarning)
        _plain_fields(volume).to_zarr(folder, zarr_format=volume.encoding.get("zarr_format", 3))


def with_attribute(group: Path, name: str, value: str, folder: Path) -> dict[str, Path]:
    """Write the documents with the attributes of a Zarr group into a folder, with one attribute changed.

    Returns:
        The documents that were written, by key.
    """
    written = {}
    for key, members in ATTRIBUTES.items():
        if (group / key).is_file() or (key == ".zattrs" and (group / ".zgroup").is_file()):
            document = json.loads((group / key).read_bytes()) if (group / key).is_file() else {}
            attributes = document
            for member in members:
                attributes = attributes.setdefault(member, {})
            attributes[name] = value
            written[key] = folder / key
            written[key].write_text(json.dumps(document))
    return written


def _plain_fields(volume: xr.Dataset) -> xr.Dataset:
    """Drop packing of fields, and chunks and codecs of all: they are those of what was read, and may not fit now."""
    from eddylift._missing import in_own_units  # noqa: PLC0415 needs xarray, which is slow

    fields = {}
    for name, array in volume.data_vars.items():
        if array.ndim >= 3:  # noqa: PLR2004 z, y, x
            # Zarr's chunks are of one size.
            even = {dim: max(sizes) for dim, sizes in array.chunksizes.items()}
            fields[name] = array.variable.chunk(even) if even else array.variable.copy(deep=False)
            fields[name].attrs = in_own_units(array.variable)
            fields[name].encoding = {"_FillValue": None}
    plain = volume.assign(fields)
    for variable in plain.variables.values():
        variable.encoding = {key: value for key, value in variable.encoding.items() if key not in LAYOUT}
    return plain


def _write_zip(path: Path, volume: xr.Dataset) -> None:
    # Through a folder, because zarr's ZipStore writes every metadata file twice.
    with temporary_folder(path.parent) as name:
        folder = Path(name)
        write_zarr(folder, volume)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _fit_netcdf(dataset: xr.Dataset) -> xr.Dataset:
    """Write attributes that NetCDF cannot hold (true, null, mixed or empty lists, objects) as JSON."""
    fitted = _plain_fields(dataset)
    fitted.attrs = _fit_attributes(dataset.attrs)
    for variable in fitted.variables.values():
        variable.attrs = _fit_attributes(variable.attrs)
    return fitted


def _fit_attributes(attributes: Mapping[Any, Any]) -> dict[Any, Any]:
    return {name: value if _fits_netcdf(value) else json.dumps(_plain(value)) for name, value in attributes.items()}


def _fits_netcdf(value: object) -> bool:
    each = np.asarray(value) if isinstance(value, list | tuple | np.ndarray | np.generic | int | float | str) else None
    if each is None or not each.size:
        return False
    # NumPy converts a list with one text in it to texts.
    texts = isinstance(value, str | np.str_) or (each.ndim == 1 and all(isinstance(part, str) for part in value))  # type: ignore[attr-defined]
    return each.dtype.kind in "iuf" or (each.dtype.kind == "U" and texts)


def _plain(value: Any) -> Any:  # noqa: ANN401 whatever an attribute is
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
