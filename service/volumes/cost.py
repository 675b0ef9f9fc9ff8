"""Limits on what reading a stored volume may cost, checked by its documents before anything else is read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from service.formats.names import AXES
from service.formats.velocity import check_array_count
from service.formats.zarr_codecs import Chunks, check_array
from service.problems import too_large

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    import xarray as xr
    import zarr

    from service.settings import Settings


# Most bytes of one document, such as zarr.json.
DOCUMENT_BYTES: Final = 1 << 20
# Most names in one folder of a group.
NAMES: Final = 1024
# Opening a volume reads its coordinates: most bytes and chunks of all arrays of one dim.
COORDINATE_BYTES: Final = 1 << 25
COORDINATE_CHUNKS: Final = 4096
# Most cells along an axis.
AXIS_CELLS: Final = 1 << 17
# Most chunks that a block with its halo touches, and most across a plane, as comparing reads slabs of whole planes.
BLOCK_CHUNKS: Final = 1 << 13
PLANE_CHUNKS: Final = 1 << 14


def check_arrays(arrays: Mapping[str, zarr.Array[Any]], settings: Settings) -> dict[str, Chunks]:
    """Refuse arrays that make opening a volume cost too much; returns the chunks of each array.

    Raises:
        Problem: 413 if they do, 422 for codecs that are not known to be safe.
    """
    check_array_count("volume", len(arrays))
    found = {}
    for name, array in arrays.items():
        check_array(name, array, settings.max_volume_cells)
        found[name] = Chunks.of(name, array)
        decoded = math.prod(array.chunks) * array.dtype.itemsize  # of shards, the chunks in them, which are read alone
        if decoded > settings.max_decoded_bytes:
            limit = f"{settings.max_decoded_bytes} bytes"
            raise too_large(field=name, value=f"in chunks of {decoded} bytes", limit=limit)
    coordinates = {name: array for name, array in arrays.items() if array.ndim == 1}
    _check_sum({name: array.nbytes for name, array in coordinates.items()}, "bytes", COORDINATE_BYTES)
    _check_sum({name: array.nchunks for name, array in coordinates.items()}, "chunks", COORDINATE_CHUNKS)
    return found


def _check_sum(parts: Mapping[str, int], unit: str, most: int) -> None:
    if sum(parts.values()) > most:
        largest = max(parts, key=lambda name: parts[name])
        value = f"{parts[largest]} of {sum(parts.values())} {unit} that all coordinates have"
        raise too_large(field=largest, value=value, limit=f"{most} {unit}")


def check_reading(dataset: xr.Dataset, names: Iterable[Hashable], settings: Settings) -> None:
    """Refuse a volume whose blocks are too much to read.

    Args:
        dataset: as xarray opened it.
        names: of the variables over space, or a plane, that are read.
        settings: for the size of a block, and the most bytes that are decoded at a time.

    Raises:
        Problem: 413, naming an axis or a variable.
    """
    # Cells of a block with its halo, which is hardly ever longer than half a block on each side.
    reach = 2 * settings.block
    for name in names:
        array = dataset[name]
        axes = [axis for axis in AXES if axis in array.dims]
        for axis in axes:
            if array.sizes[axis] > AXIS_CELLS:
                raise too_large(field=axis, value=f"{array.sizes[axis]} cells", limit=f"{AXIS_CELLS} cells")
        edges = dict(zip(array.dims, array.encoding["chunks"], strict=True))
        across = {axis: math.ceil(array.sizes[axis] / edges[axis]) for axis in axes}
        block = math.prod(min(count, reach // edges[axis] + 2) for axis, count in across.items())
        plane = across["y"] * across["x"]
        shape = " x ".join(str(edges[axis]) for axis in axes)
        if block > BLOCK_CHUNKS:
            value = f"in chunks of {shape} cells, {block} around one block"
            raise too_large(field=str(name), value=value, limit=f"{BLOCK_CHUNKS}; larger chunks are read faster")
        check_plane(str(name), shape, plane, "larger chunks are read faster")
        decoded = block * math.prod(edges.values()) * array.dtype.itemsize
        if decoded > settings.max_decoded_bytes:
            value = f"in chunks of {shape} cells, {decoded} bytes of them around one block"
            raise too_large(field=str(name), value=value, limit=f"{settings.max_decoded_bytes} bytes")


def check_plane(name: str, shape: str, chunks: int, advice: str) -> None:
    """Refuse (413) an array with too many chunks, of this shape, across a plane."""
    if chunks > PLANE_CHUNKS:
        value = f"in chunks of {shape} cells, {chunks} across a plane"
        raise too_large(field=name, value=value, limit=f"{PLANE_CHUNKS}; {advice}")
