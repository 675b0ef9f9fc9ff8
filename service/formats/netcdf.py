"""NetCDF bodies, read and written by xarray: version 4 (HDF5) with h5netcdf, classic ones with scipy."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any, Final

import h5py
import xarray as xr

from service.formats.cutouts import name_dims
from service.formats.decoding import FILL
from service.formats.decompressed_size import check_decoded, inflated
from service.formats.velocity import check_array_count
from service.problems import decoding, invalid_field, too_large, unsupported

if TYPE_CHECKING:
    from collections.abc import Hashable

    from service.settings import Settings


DEFLATE: Final = h5py.h5z.FILTER_DEFLATE
FILTERS: Final = {DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
# Many variable-length texts can refer to one long text: these are bounds on the number that is allowed.
FEW_TEXTS: Final = 16
TEXTS: Final = 256
CHECKSUM: Final = 4
# Larger files may need 64-bit offsets.
LARGEST_CLASSIC: Final = 1 << 30
CLASSIC: Final = b"CDF"
# By the byte after that: CDF-1, with 32-bit offsets, and CDF-2, with 64-bit ones. scipy does not read CDF-5.
CLASSIC_VERSIONS: Final = {1: "NETCDF3_CLASSIC", 2: "NETCDF3_64BIT"}
# In classic files, the value of cells that were never written if no _FillValue says otherwise, by type without byte
# order (NC_FILL_SHORT, NC_FILL_INT). That of floats is too large for a velocity, and bytes have none by convention.
DEFAULT_FILLS: Final = {"i2": -32767, "i4": -2147483647}
# Nothing is decoded, so that everything but the velocity goes back as it came.
AS_STORED: Final[dict[str, Any]] = {
    "mask_and_scale": False,
    "decode_times": False,
    "decode_timedelta": False,
    "decode_coords": False,
    "create_default_indexes": False,
}


class NetcdfBody:
    """A NetCDF body.

    Attributes:
        content: the dataset; its arrays are read on access.
        unlimited: names of its unlimited dims.
        classic: its format if it is not NetCDF-4, otherwise None.
    """

    def __init__(self, content: bytes, settings: Settings) -> None:
        self.classic: str | None = None
        with decoding(field="body", value="no whole NetCDF file", expected="a NetCDF file"):
            if content.startswith(CLASSIC):
                self.classic = _classic_format(content[3])
                self.content = xr.open_dataset(io.BytesIO(content), engine="scipy", **AS_STORED)
                fills = {
                    name: DEFAULT_FILLS.get(variable.dtype.str[1:])
                    for name, variable in self.content.variables.items()
                    if "_FillValue" not in variable.attrs
                }
            else:
                with h5py.File(io.BytesIO(content), "r") as file:
                    fills = _inspect(file, content, settings)
                dataset = xr.open_dataset(io.BytesIO(content), engine="h5netcdf", phony_dims="sort", **AS_STORED)
                self.content = name_dims(dataset)
        self.unlimited: set[Hashable] = self.content.encoding.get("unlimited_dims", set())
        for name, variable in self.content.variables.items():
            variable.encoding = {FILL: fills.get(name)}

    def write(self, answer: xr.Dataset) -> list[memoryview]:
        """A dataset as pieces of a body."""
        options: dict[str, Any] = {
            # Otherwise xarray marks NaN as missing in all floats.
            "encoding": {name: {"_FillValue": None} for name in answer.variables},
            "unlimited_dims": self.unlimited & set(answer.dims),
        }
        if self.classic:
            kind = self.classic if answer.nbytes < LARGEST_CLASSIC else CLASSIC_VERSIONS[2]
            options |= {"engine": "scipy", "format": kind}
        else:
            # Types that are in HDF5 but not in NetCDF: they came in HDF5, and go back in it.
            options |= {"engine": "h5netcdf", "invalid_netcdf": True}
        return [memoryview(answer.to_netcdf(None, **options))]


def _classic_format(version: int) -> str:
    if version not in CLASSIC_VERSIONS:
        raise unsupported(
            field="body",
            value=f"NetCDF classic of format CDF-{version}",
            expected="NetCDF-4, CDF-1 or CDF-2; nccopy -k nc4 in.nc out.nc converts it",
        )
    return CLASSIC_VERSIONS[version]


def _inspect(file: h5py.File, content: bytes, settings: Settings) -> dict[Hashable, Any]:
    """Refuse files that would read other files, run unknown filters or fill the memory.

    Returns:
        By array, the value of cells that were never written.
    """
    check_array_count("body", len(file))
    left = settings.max_decoded_bytes
    texts = min(TEXTS, max(FEW_TEXTS, left // len(content)))
    fills: dict[Hashable, Any] = {}
    for name in file:
        link = file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise invalid_field(field=name, value="a link", expected="arrays stored in the body itself")
        array = file[name]
        if not isinstance(array, h5py.Dataset):
            raise invalid_field(
                field=name,
                value="a group",
                expected=f"arrays in the root group alone; ncks -G : -g {name} in.nc out.nc takes a group out",
            )
        if array.external or array.is_virtual:
            raise invalid_field(field=name, value="stored in other files", expected="arrays stored in the body itself")
        _check_texts(name, array, texts)
        size = array.size * array.dtype.itemsize
        check_decoded(size, left, settings)
        decoded = _measure_chunks(name, array, content, left)
        check_decoded(decoded, left, settings)
        left -= max(size, decoded)
        fills[name] = array.fillvalue if array.dtype.kind in "iuf" else None
    _check_attributes("attributes", file, texts)
    return fills


def _check_texts(name: str, array: h5py.Dataset, most: int) -> None:
    if array.dtype.hasobject and array.size > most:
        raise invalid_field(
            field=name, value=f"{array.size} entries of any length", expected=f"at most {most} of these"
        )
    _check_attributes(name, array, most)


def _check_attributes(name: str, node: h5py.Dataset | h5py.File, most: int) -> None:
    for attribute in node.attrs:
        handle = node.attrs.get_id(attribute)
        if handle.dtype.hasobject and math.prod(handle.shape) > most and attribute != "REFERENCE_LIST":
            raise invalid_field(
                field=name,
                value=f"with {math.prod(handle.shape)} entries in {attribute!r}",
                expected=f"at most {most}",
            )


def _measure_chunks(name: str, array: h5py.Dataset, content: bytes, most: int) -> int:
    """Size of all compressed chunks once decompressed, which may be longer than the array; stops beyond ``most``."""
    layout = array.id.get_create_plist()
    filters = [layout.get_filter(number)[0] for number in range(layout.get_nfilters())]
    if set(filters) - FILTERS or len(set(filters)) < len(filters):
        raise invalid_field(
            field=name,
            value=f"filtered by HDF5 filters {filters}",
            expected="at most shuffle, deflate and fletcher32, each once",
        )
    if DEFLATE not in filters:
        return 0
    whole = math.prod(array.chunks) * array.dtype.itemsize
    skipped = 1 << filters.index(DEFLATE)
    largest = total = 0

    def measure(chunk: h5py.h5d.StoreInfo) -> bool | None:
        nonlocal largest, total
        if not chunk.filter_mask & skipped:
            part = memoryview(content)[chunk.byte_offset : chunk.byte_offset + chunk.size]
            size = inflated(part, whole + CHECKSUM)
            largest, total = max(largest, size), total + size
        return total > most or None  # anything but None ends the iteration

    array.id.chunk_iter(measure)
    if largest > whole + CHECKSUM:
        raise too_large(field=name, value="chunks that grow beyond their shape", limit=f"{whole} bytes a chunk")
    return total
