"""Reads cutouts of the Johns Hopkins Turbulence Databases (JHTDB), HDF5 files in one of two layouts.

- From the cutout service: ``Velocity_0001`` and so on, each (z, y, x, 3), with ``xcoor``, ``ycoor`` and ``zcoor``.
- From giverny: ``velocity_0001`` over the dims zcoor, ycoor, xcoor and ``values``, which are ux, uy, uz.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from eddylift import _usual_names
from eddylift._errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

DIMS = ("time", "z", "y", "x", "component")
STEP = re.compile(r"[Vv]elocity_(\d+)")


def open_cutout(path: Path) -> xr.Dataset | None:
    """Open a cutout lazily as ``velocity`` (time, z, y, x, component); None if the file is not a cutout.

    Nor is it one if its axes are labelled in another order.

    ``time`` has the step numbers of the database, from the names in the file; a single step has no time dim. Other
    information in the file (``_dataset``, attributes) becomes attributes.

    Raises:
        InvalidInputError: if the steps are not all of one shape (z, y, x, 3), or not u, v, w in this order.
    """
    file = h5py.File(path)
    steps = sorted((int(match[1]), name) for name in file if (match := STEP.fullmatch(name)))
    if not steps or not all(_is_in_order(file[name]) for _, name in steps):
        file.close()
        return None
    arrays = [file[name] for _, name in steps]
    shapes = {array.shape for array in arrays}
    labels = file["values"].asstr()[:].tolist() if "values" in file else ["u", "v", "w"]
    if len(shapes) != 1 or len(arrays[0].shape) != 4 or arrays[0].shape[-1] != 3:  # noqa: PLR2004 (z, y, x, component)
        message = f"{path}: expected {steps[0][1]} and so on, all of one shape (z, y, x, 3), got {sorted(shapes)}"
        raise InvalidInputError(message)
    if _usual_names.order_of(labels) != (0, 1, 2):
        message = f"{path}: expected ux, uy, uz as values, got {', '.join(labels)}"
        raise InvalidInputError(message)
    coordinates: dict[str, Any] = {axis: (axis, file[f"{axis}coor"][:]) for axis in "zyx" if f"{axis}coor" in file}
    coordinates |= {"time": ("time", [step for step, _ in steps]), "component": ["u", "v", "w"]}
    velocity = xr.Variable(DIMS, indexing.LazilyIndexedArray(_Steps(arrays)))
    dataset = xr.Dataset({"velocity": velocity}, coordinates, _attributes(file))
    if len(steps) == 1:
        dataset = dataset.isel(time=0, drop=True)
    dataset.set_close(file.close)
    return dataset


def _is_in_order(array: h5py.Dataset) -> bool:
    """Return whether axes are z, y, x by their labels, if they have some."""
    labels = [axis.label for axis in array.dims]
    return not any(labels) or [label[:1].lower() for label in labels[:3]] == ["z", "y", "x"]


def _attributes(file: h5py.File) -> dict[str, Any]:
    beside = {name.lstrip("_"): each[()] for name, each in file.items() if name.startswith("_") and each.size == 1}
    plain = {name: value for name, value in file.attrs.items() if not name.startswith("_")}
    return {name: _plain(value) for name, value in {**beside, **plain}.items()}


def _plain(value: Any) -> Any:  # noqa: ANN401 whatever HDF5 holds
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    return value.decode(errors="replace") if isinstance(value, bytes) else value


class _Steps(BackendArray):
    """Datasets of one shape as one array with a leading axis."""

    def __init__(self, steps: list[h5py.Dataset]) -> None:
        self.steps = steps
        self.shape = (len(steps), *steps[0].shape)
        self.dtype = steps[0].dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401 as xarray calls it
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[int | slice, ...]) -> Any:  # noqa: ANN401
        first, *rest = key
        where = tuple(rest)
        if isinstance(first, slice):
            return np.stack([step[where] for step in self.steps[first]])
        return self.steps[first][where]
