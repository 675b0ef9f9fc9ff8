"""Other people's files: Zarr and NetCDF with xarray's names, and HDF5 cutouts of the Johns Hopkins databases (JHTDB).

- Zarr and NetCDF: variables ``u``, ``v``, ``w`` over (time, z, y, x), or one with a ``component`` dim of u, v, w beside
  these; time may be missing, and the order of dims is free.
- JHTDB: ``Velocity_0001`` and so on, each (z, y, x, 3), with ``xcoor``, ``ycoor`` and ``zcoor``.

Every axis must be evenly spaced. Boundaries and the name of the flow are taken from the attributes ``boundary`` and
``flow``, or have to be given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.blocks import collect, parse_boundary
from training.dataset import StoredRun

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.blocks import Boundaries, Cells, Window
    from training.dataset import Dataset

    Slices = tuple[slice, slice, slice]
    # Velocity (3, z, y, x) of a time level in a range of cells.
    Read = Callable[[int, Slices], NDArray[Any]]

AXES = ("z", "y", "x")
COMPONENTS = ("u", "v", "w")
MISSING = np.float32(-999.9)
"""Where a JHTDB cutout has nothing."""
EVEN = 1e-3
"""Largest departure of a spacing from the mean one, relatively."""


@dataclass(frozen=True)
class Recording:
    """A file as a dataset. With several frames, a snapshot is that many time levels in a row."""

    path: Path
    flow: str
    boundary: Boundaries
    length: tuple[float, float, float]
    cells: Cells
    times: int
    """Time levels."""
    read: Read

    @property
    def name(self) -> str:
        """Name of the file without its ending."""
        return self.path.stem

    def count(self, frames: int) -> int:
        """Snapshots that begin early enough."""
        return max(self.times - frames + 1, 0)

    def shared(self, frames: int) -> int:
        """All but one."""
        return frames - 1

    def window(self, index: int, where: Window, frames: int) -> NDArray[np.float32]:
        """Velocity (frame, 3, z, y, x) in some cells of a snapshot.

        Raises:
            ValueError: if there are values that are missing or not finite among them.
        """
        levels = range(index, index + frames)
        values = collect(lambda *box: np.stack([self.read(level, box) for level in levels]), where)
        bad = int((~np.isfinite(values) | np.isclose(values, MISSING)).sum())
        if bad:
            named = f"time level {index}" if frames == 1 else f"time levels {index} to {index + frames - 1}"
            message = f"{self.path}: {bad} values of {named} are not finite, or -999.9, which marks missing ones"
            raise ValueError(message)
        return np.ascontiguousarray(values, np.float32)

    def provenance(self) -> dict[str, Any]:
        """What a card says of it."""
        return {"run": self.name, "snapshots": self.times}


def open_dataset(path: Path, flow: str | None = None, boundary: str | None = None) -> Dataset:
    """Open one of our runs, or a file.

    Args:
        path: folder of a run, or ``.zarr``, ``.nc``, ``.h5`` or ``.hdf5``.
        flow: name of the flow, for files that do not say.
        boundary: of its axes, as [`parse_boundary`][models.blocks.parse_boundary] reads it, for files that do not say.

    Raises:
        ValueError: if it is none of these, or does not hold velocity on an evenly spaced grid.
    """
    if (path / "run.json").exists():
        return StoredRun(path)
    opened = {".zarr": _open_xarray, ".nc": _open_xarray, ".h5": _open_jhtdb, ".hdf5": _open_jhtdb}.get(path.suffix)
    if opened is None or not path.exists():
        message = f"{path} is neither the folder of a run nor a .zarr, .nc, .h5 or .hdf5 that is there"
        raise ValueError(message)
    read, shape, coordinates, attributes = opened(path)
    times, *cells = shape
    flow = flow or attributes.get("flow")
    if flow is None or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", flow):
        message = f"{path}: the flow needs a name of small letters, digits and hyphens, got {flow!r}; give --flow"
        raise ValueError(message)
    named = boundary or attributes.get("boundary")
    if named is None:
        message = f"{path} does not say what lies beyond the ends of its axes; give --boundary, for z, y, x"
        raise ValueError(message)
    lengths = [_length(path, axis, values, n) for axis, values, n in zip(AXES, coordinates, cells, strict=True)]
    return Recording(
        path,
        flow,
        parse_boundary(named if isinstance(named, str) else ",".join(named)),
        (lengths[0], lengths[1], lengths[2]),
        (cells[0], cells[1], cells[2]),
        times,
        read,
    )


def add_naming(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what files may leave out."""
    parser.add_argument("--flow", help="name of the flow in files that do not say")
    parser.add_argument(
        "--boundary", help="of files that do not say: periodic, or as periodic,wall,periodic for z, y, x"
    )


Opened = tuple["Read", "tuple[int, ...]", "Sequence[NDArray[np.float64] | None]", "dict[str, Any]"]


def _open_xarray(path: Path) -> Opened:
    import xarray as xr  # noqa: PLC0415 training runs on hosts without it

    is_zarr = path.suffix == ".zarr"
    opened = xr.open_zarr(path, chunks=None, consolidated=False) if is_zarr else xr.open_dataset(path)
    if set(COMPONENTS) <= set(opened.data_vars):
        parts = [opened[name] for name in COMPONENTS]
    else:
        whole = [variable for variable in opened.data_vars.values() if "component" in variable.dims]
        if len(whole) != 1:
            message = f"{path}: expected variables u, v, w or one with a component dim, got {list(opened.data_vars)}"
            raise ValueError(message)
        names = [str(name) for name in whole[0]["component"].values] if "component" in whole[0].coords else []
        if names != list(COMPONENTS):
            message = f"{path}: components must be labelled u, v, w in this order, got {names}"
            raise ValueError(message)
        parts = [whole[0].isel(component=index) for index in range(3)]
    dims = set(parts[0].dims)
    if dims not in ({*AXES}, {"time", *AXES}) or any(set(part.dims) != dims for part in parts):
        message = f"{path}: dims must be z, y, x and perhaps time, got {[part.dims for part in parts]}"
        raise ValueError(message)
    for part in parts:
        _require_real(path, part.dtype)
    parts = [(part if "time" in part.dims else part.expand_dims("time")).transpose("time", *AXES) for part in parts]

    def read(level: int, where: Slices) -> NDArray[Any]:
        return np.stack([part[(level, *where)].values for part in parts])

    coordinates = [opened[axis].values if axis in opened.coords else None for axis in AXES]
    return read, parts[0].shape, coordinates, {str(key): value for key, value in opened.attrs.items()}


def _open_jhtdb(path: Path) -> Opened:
    import h5py  # noqa: PLC0415

    file = h5py.File(path)
    levels = [file[name] for name in sorted(file) if re.fullmatch(r"Velocity_\d+", name)]
    shapes = {level.shape for level in levels}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 4 or shape[-1] != 3:  # noqa: PLR2004 (z, y, x, component)
        found = {name: getattr(file[name], "shape", None) for name in file}
        message = f"{path}: expected Velocity_0001 and so on, all of one shape (z, y, x, 3), got {found}"
        raise ValueError(message)
    _require_real(path, levels[0].dtype)

    def read(level: int, where: Slices) -> NDArray[Any]:
        return np.moveaxis(levels[level][where], -1, 0)

    coordinates = [file[f"{axis}coor"][:] if f"{axis}coor" in file else None for axis in AXES]
    return read, (len(levels), *shape[:3]), coordinates, dict(file.attrs)


def _require_real(path: Path, dtype: np.dtype[Any]) -> None:
    if dtype.kind != "f":
        message = f"{path}: velocity must be real floating-point numbers, not {dtype}"
        raise ValueError(message)


def _length(path: Path, axis: str, values: NDArray[np.float64] | None, cells: int) -> float:
    """Length of an axis by its coordinates; in cells without them."""
    if values is None:
        return float(cells)
    steps = np.diff(np.asarray(values, np.float64))
    if len(values) != cells or not (steps > 0).all() or np.ptp(steps) > EVEN * steps.mean():
        message = (
            f"{path}: {axis} must be {cells} evenly spaced, growing coordinates, got {len(values)} with steps from "
            f"{steps.min():.4g} to {steps.max():.4g}"
        )
        raise ValueError(message)
    return float(steps.mean()) * cells
