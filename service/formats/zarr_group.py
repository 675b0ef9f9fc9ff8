"""Reads Zarr groups as datasets, exactly as stored, and writes datasets as Zarr groups."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any, Final

import xarray as xr
import zarr
from xarray.backends import ZarrStore
from xarray.backends.zarr import FillValueCoder
from zarr.core.sync import sync
from zarr.errors import UnstableSpecificationWarning, ZarrUserWarning
from zarr.storage import MemoryStore

from service.formats.decoding import FILL
from service.formats.names import AXES
from service.problems import Problem, invalid_field, malformed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarr.abc.buffer import Buffer
    from zarr.abc.store import Store


# Documents with metadata, of Zarr v3 and v2.
DOCUMENTS: Final = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}
# Longest edge of chunks that are written.
EDGE: Final = 128
# Deepest nesting of attributes. Libraries copy them recursively.
MAX_NESTING: Final = 32


def open_group(store: Store) -> xr.Dataset:
    """Open a Zarr group, v2 or v3; its arrays are read on access.

    Nothing is decoded. Encodings keep the chunks and, under ``FILL``, the value of cells that were never written.

    Raises:
        Problem: 400 or 422 if it is no readable group, 422 for arrays without names of dims or nested attributes.
    """
    # Fill values as masks: otherwise xarray insists on its own spelling of the attribute.
    opened = ZarrStore.open_group(store, mode="r", consolidated=False, use_zarr_fill_value_as_mask=True)
    arrays = dict(zarr.open_group(store, mode="r", use_consolidated=False).arrays())
    try:
        dataset = xr.open_dataset(opened, decode_cf=False, create_default_indexes=False)
    except KeyError as error:
        _require_dims(arrays)
        raise malformed(field="body", value="no readable Zarr group", expected="a Zarr group") from error
    _check_nesting("attributes", dataset.attrs)
    for name, array in arrays.items():
        variable = dataset.variables[name]
        _check_nesting(name, variable.attrs)
        variable.attrs.pop("_FillValue", None)
        if "_FillValue" in array.attrs:
            value: Any = array.attrs["_FillValue"]
            spelled = isinstance(value, str) and array.dtype.kind in "fc"
            variable.attrs["_FillValue"] = FillValueCoder.decode(value, array.dtype) if spelled else value
        fill = array.fill_value if array.dtype.kind in "iufb" else None
        variable.encoding = {"chunks": variable.encoding["chunks"], FILL: fill}
    return dataset


def members(store: Store) -> dict[str, zarr.Array[Any] | zarr.Group]:
    """The arrays of a group, and groups in it, by name.

    Raises:
        Problem: 400 naming the first that cannot be opened, and why.
    """
    root = zarr.open_group(store, mode="r", use_consolidated=False)
    try:
        return dict(root.members())
    except Exception:  # zarr does not say of which
        _refuse_broken(root, sorted(sync(_names(store))))
        raise


def _refuse_broken(root: zarr.Group, names: list[str]) -> None:
    for name in names:
        try:
            root[name]
        except (Problem, OSError, MemoryError):
            raise
        except KeyError:  # no array
            continue
        except Exception as error:  # of any kind, by its metadata
            expected = "metadata of an array that this service can read"
            raise malformed(field=name, value=f"{error}", expected=expected) from error


async def _names(store: Store) -> list[str]:
    return [name async for name in store.list_dir("")]


def _check_nesting(field: str, attributes: dict[Any, Any]) -> None:
    """Refuse (422) deeply nested attributes."""
    level: list[Any] = [attributes]
    for _ in range(MAX_NESTING + 1):
        parts = (part for each in level for part in (each.values() if isinstance(each, dict) else each))
        level = [part for part in parts if isinstance(part, dict | list)]
    if level:
        raise invalid_field(field=field, value="nested attributes", expected=f"at most {MAX_NESTING} levels of nesting")


def _require_dims(arrays: dict[str, zarr.Array[Any]]) -> None:
    """Refuse (422) arrays that do not name their dims, as xarray does."""
    for name, array in arrays.items():
        metadata: Any = array.metadata
        dims = array.attrs.get("_ARRAY_DIMENSIONS") or getattr(metadata, "dimension_names", None)
        if array.ndim and dims is None:
            raise invalid_field(
                field=name,
                value="without names for its dims",
                expected="dimension_names, or _ARRAY_DIMENSIONS in Zarr v2, as xarray writes them",
            )


def write_group(dataset: xr.Dataset, version: int, *, consolidated: bool = False) -> dict[str, bytes]:
    """Write a dataset as a Zarr group; gives its objects by key."""
    stored: dict[str, Buffer] = {}
    encoding = {str(name): _encoding(variable, version) for name, variable in dataset.variables.items()}
    with warnings.catch_warnings():
        # Consolidated metadata and fixed-length texts are not in the v3 specification yet; the request had them.
        warnings.simplefilter("ignore", ZarrUserWarning)
        warnings.simplefilter("ignore", UnstableSpecificationWarning)
        # With all chunks, also those that equal the fill value: a view that lacks one is gone.
        how: dict[str, Any] = {"consolidated": consolidated, "encoding": encoding, "write_empty_chunks": True}
        dataset.to_zarr(MemoryStore(stored), mode="w", zarr_format=version, **how)
    return objects_in(stored)


def objects_in(stored: Mapping[str, Buffer]) -> dict[str, bytes]:
    """The objects of a group by key; documents are valid JSON.

    Attributes that are no finite numbers become "NaN", "Infinity" and "-Infinity", as Zarr v3 writes fill values; zarr
    writes attributes as Python does.
    """
    objects = {key: value.to_bytes() for key, value in stored.items()}
    for key, content in objects.items():
        if key.rpartition("/")[2] in DOCUMENTS:
            objects[key] = json.dumps(json.loads(content, parse_constant=str)).encode()
    return objects


def _encoding(variable: xr.Variable, version: int) -> dict[str, Any]:
    large = variable.ndim >= len(AXES)
    # Turbulence does not compress; leave its bytes alone.
    encoding = {"compressors": None, "chunks": tuple(max(1, min(EDGE, n) if large else n) for n in variable.shape)}
    if "_FillValue" in variable.attrs:
        return encoding
    # Otherwise xarray marks NaN as missing in all floats.
    encoding["_FillValue"] = None
    fill = variable.encoding.get(FILL)
    if fill is not None:
        # Cells that were never written keep their value.
        encoding["_FillValue" if version == 2 else "fill_value"] = fill  # noqa: PLR2004 the old one
    return encoding
