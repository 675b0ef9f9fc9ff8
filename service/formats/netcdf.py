"""NetCDF-4 bodies, read and written through xarray and h5netcdf."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Final

import h5py
import xarray as xr

from service.formats.decompressed_size import inflated
from service.problems import Problem, invalid_field, malformed, too_large, unsupported

if TYPE_CHECKING:
    from service.settings import Settings


DEFLATE: Final = h5py.h5z.FILTER_DEFLATE
FILTERS: Final = {DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
# Texts of any length can all refer to one long text; this many may.
TEXTS: Final = 16
CHECKSUM: Final = 4


class NetcdfBody:
    """A NetCDF-4 body.

    Attributes:
        content: the dataset; its arrays are read when they are asked for.
    """

    def __init__(self, content: bytes, settings: Settings) -> None:
        if content.startswith(b"CDF"):
            raise unsupported(field="body", value="NetCDF classic", expected="NetCDF-4, which is HDF5")
        try:
            with h5py.File(io.BytesIO(content), "r") as file:
                _inspect(file, content, settings)
            # Times stay the numbers they are, so that they go back as they came.
            self.content = xr.open_dataset(io.BytesIO(content), engine="h5netcdf", decode_times=False)
        except Problem:
            raise
        except Exception as error:  # whatever HDF5 makes of foreign bytes
            raise malformed(field="body", value="no whole NetCDF-4 file", expected="a NetCDF-4 file") from error

    @staticmethod
    def write(answer: xr.Dataset) -> list[memoryview]:
        """A dataset as pieces of a body."""
        encoding = {name: {"_FillValue": None} for name in answer.variables}
        return [memoryview(answer.to_netcdf(engine="h5netcdf", encoding=encoding))]


def _inspect(file: h5py.File, content: bytes, settings: Settings) -> None:
    """Refuse what would read other files, run unknown filters or fill the memory."""
    if len(file) > settings.max_arrays:
        raise too_large(field="body", value=f"{len(file)} arrays", limit=f"{settings.max_arrays} arrays")
    left = settings.max_decoded_bytes
    for name in file:
        link = file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise invalid_field(field=name, value="a link", expected="arrays stored in the body itself")
        array = file[name]
        if not isinstance(array, h5py.Dataset):
            raise invalid_field(field=name, value="a group", expected="arrays in the root group alone")
        if array.external or array.is_virtual:
            raise invalid_field(field=name, value="stored in other files", expected="arrays stored in the body itself")
        _check_texts(name, array)
        left -= array.size * array.dtype.itemsize
        if left < 0:
            raise too_large(
                field="body", value="too large once decompressed", limit=f"{settings.max_decoded_bytes} bytes"
            )
        _check_chunks(name, array, content)
    _check_attributes("attributes", file)


def _check_texts(name: str, array: h5py.Dataset) -> None:
    if array.dtype.hasobject and array.size > TEXTS:
        raise invalid_field(
            field=name, value=f"{array.size} entries of any length", expected=f"at most {TEXTS} of these"
        )
    _check_attributes(name, array)


def _check_attributes(name: str, node: h5py.Dataset | h5py.File) -> None:
    for attribute in node.attrs:
        handle = node.attrs.get_id(attribute)
        if handle.dtype.hasobject and math.prod(handle.shape) > TEXTS and attribute != "REFERENCE_LIST":
            raise invalid_field(
                field=name,
                value=f"with {math.prod(handle.shape)} entries in {attribute!r}",
                expected=f"at most {TEXTS}",
            )


def _check_chunks(name: str, array: h5py.Dataset, content: bytes) -> None:
    """Measure every compressed chunk."""
    layout = array.id.get_create_plist()
    filters = [layout.get_filter(number)[0] for number in range(layout.get_nfilters())]
    if set(filters) - FILTERS or len(set(filters)) < len(filters):
        raise invalid_field(
            field=name,
            value=f"filtered by HDF5 filters {filters}",
            expected="at most shuffle, deflate and fletcher32, each once",
        )
    if DEFLATE not in filters:
        return
    whole = math.prod(array.chunks) * array.dtype.itemsize
    skipped = 1 << filters.index(DEFLATE)
    largest = 0

    def measure(chunk: h5py.h5d.StoreInfo) -> None:
        nonlocal largest
        if not chunk.filter_mask & skipped:
            part = memoryview(content)[chunk.byte_offset : chunk.byte_offset + chunk.size]
            largest = max(largest, inflated(part, whole + CHECKSUM))

    array.id.chunk_iter(measure)
    if largest > whole + CHECKSUM:
        raise too_large(field=name, value="chunks that grow beyond their shape", limit=f"{whole} bytes a chunk")
