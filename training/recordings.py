"""Files as datasets for training: NetCDF, HDF5, Zarr, cutouts of the Johns Hopkins Turbulence Databases.

The client's reader opens them. Velocity is read window by window. Every axis must be evenly spaced. Boundaries and the
name of the flow are options, or the file's attributes ``boundary`` and ``flow``.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from models.blocks import collect, parse_boundary
from models.ends import AXES, check_on_walls, check_periods, check_walls, end_of, summarise_readable
from models.missing import MAX_SPEED, MISSING
from models.operators import FACTOR
from training.dataset import StoredRun
from training.derived import BlockMeans

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    from models.blocks import Boundaries, Cells, Window
    from training.dataset import Dataset

    Slices = tuple[slice, slice, slice]
    # Velocity (3, z, y, x) of a time level in a range of cells.
    Read = Callable[[int, Slices], NDArray[Any]]

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""Names of flows."""
COMPONENTS = ("u", "v", "w")
LEAST = 4
"""Coarse cells that each axis must have for a look at its ends."""
EVEN = 1e-3
"""Largest relative difference between spacings of an even axis."""
EVEN_TIMES = 0.01
"""The same of times of frames."""


@dataclass(frozen=True)
class Recording:
    """A file as a dataset. The frames of a snapshot are successive time levels."""

    path: Path
    flow: str
    boundary: Boundaries
    length: tuple[float, float, float]
    cells: Cells
    times: int
    """Time levels."""
    read: Read
    steps: tuple[float, float] = (1.0, 1.0)
    """Shortest and longest time between successive levels."""

    @property
    def name(self) -> str:
        """Name of the file without its ending."""
        return self.path.stem

    def count(self, frames: int) -> int:
        """Number of snapshots; they overlap if they have several frames.

        Raises:
            ValueError: if there are none, or if they have several frames, and times are not evenly spaced.
        """
        if self.times < frames:
            message = f"{self.path}: time: {self.times} levels; expected at least {frames}, the frames of a snapshot"
            raise ValueError(message)
        shortest, longest = self.steps
        if frames > 1 and longest > (1 + EVEN_TIMES) * shortest:
            message = (
                f"{self.path}: time: steps from {shortest:g} to {longest:g}; expected even ones for {frames} frames"
            )
            raise ValueError(message)
        return self.times - frames + 1

    def shared(self, frames: int) -> int:
        """All frames but one."""
        return frames - 1

    def window(self, index: int, where: Window, frames: int) -> NDArray[np.float32]:
        """Velocity (frame, 3, z, y, x) in some cells of a snapshot.

        Raises:
            ValueError: if there are values that are missing or not finite among them.
        """
        levels = range(index, index + frames)
        values = collect(lambda *box: np.stack([self.read(level, box) for level in levels]), where)
        with np.errstate(over="ignore"):
            single: NDArray[np.float32] = np.ascontiguousarray(values, np.float32)
        bad = ~(np.abs(single) <= MAX_SPEED)
        for marker in MISSING:
            bad |= np.isclose(single, values.dtype.type(marker))  # as the file has it: -10000 in float16
        if bad.any():
            named = f"time level {index}" if frames == 1 else f"time levels {index} to {index + frames - 1}"
            message = (
                f"{self.path}: {bad.sum()} values of {named} are not finite, or mark missing ones as "
                f"{', '.join(map(str, MISSING))}, numbers beyond {MAX_SPEED:g} and those outside of the valid range do"
            )
            raise ValueError(message)
        return single

    def provenance(self) -> dict[str, Any]:
        """The entry for cards."""
        return {"run": self.name, "snapshots": self.times}


def open_dataset(path: Path, flow: str | None = None, boundary: str | None = None, **reading: Any) -> Dataset:  # noqa: ANN401 passed on
    """Open one of our runs, or a file.

    Args:
        path: folder of a run, or a file that [`open_volume`][eddylift.open_volume] opens; a suffix ``@2`` gives its
            means over 2^3 cells.
        flow: name of the flow, for files without this attribute.
        boundary: as [`parse_boundary`][models.blocks.parse_boundary] reads it; None for the attribute of the file.
        reading: options of [`open_volume`][eddylift.open_volume], such as names.

    Raises:
        ValueError: if it is none of these, has no boundary, or no velocity on an evenly spaced grid.
    """
    if (path / "run.json").exists():
        return StoredRun(path)
    name, _, size = path.name.rpartition("@")
    if name and size.isdecimal() and not path.exists():
        return BlockMeans(open_dataset(path.with_name(name), flow, boundary, **reading), int(size))
    # Not needed, and perhaps not installed, on hosts that train on simulated runs alone.
    from eddylift import open_volume  # noqa: PLC0415

    volume = open_volume(path, boundary=boundary, **reading)
    flow, boundaries = _kind(path, volume.attrs, flow)
    parts = [volume[name] for name in COMPONENTS]
    if kinds := {part.dtype for part in parts if part.dtype.kind != "f"}:
        message = f"{path}: velocity must be real floating-point numbers, not {', '.join(map(str, kinds))}"
        raise ValueError(message)
    _check_units(path, volume)
    steps = _time_steps(path, volume)
    parts = [part if "time" in part.dims else part.expand_dims("time") for part in parts]

    def read(level: int, where: Slices) -> NDArray[Any]:
        try:
            return np.stack([_valid(part[(level, *where)]) for part in parts])
        except (OSError, RuntimeError) as error:  # of h5py, and of numcodecs
            message = f"{path}: time level {level} cannot be read: {error}"
            raise ValueError(message) from None

    z, y, x = (volume.sizes[axis] for axis in AXES)
    dz, dy, dx = (_length(path, axis, volume) for axis in AXES)
    _check_axes(path, volume)
    for axis, end in enumerate(boundaries):
        if end == "periodic" and _repeats_its_end(read, (z, y, x), axis):
            message = f"{path}: {AXES[axis]} is periodic, but its last plane repeats the first; leave out the last"
            raise ValueError(message)
    return Recording(path, flow, boundaries, (dz, dy, dx), (z, y, x), parts[0].sizes["time"], read, steps)


def open_datasets(paths: Sequence[Path], **reading: Any) -> list[Dataset]:  # noqa: ANN401 passed on
    """Open datasets, which are told apart by their names; see [`open_dataset`][training.recordings.open_dataset].

    A warning is printed of each whose ends do not fit its boundary.

    Raises:
        ValueError: if two have the same name, or one cannot be opened.
    """
    runs = [open_dataset(path, **reading) for path in paths]
    seen: dict[str, Path] = {}
    for run, path in zip(runs, paths, strict=True):
        if (other := seen.setdefault(run.name, path)) is not path:
            message = f"--data: {other} and {path} are both called {run.name}; expected names that differ"
            raise ValueError(message)
    for run in runs:
        for warning in doubts(run):
            print(f"{run.name}: {warning}", file=sys.stderr, flush=True)
    return runs


def doubts(run: Dataset) -> tuple[str, ...]:
    """Warnings about ends that do not fit the boundary, from the first snapshot; none of volumes that are too small.

    Planes are those of block means, as models see them; points on a wall show at the cells themselves.
    """
    if any(n % FACTOR or n < FACTOR * LEAST for n in run.cells):
        return ()
    means, own = (summarise_readable(partial(_part, each), each.cells) for each in (BlockMeans(run, FACTOR), run))
    ends = check_periods(means.ends, run.boundary) + check_walls(means, run.boundary)
    return ends + check_on_walls(own, run.boundary)


def _part(run: Dataset, *where: slice) -> NDArray[np.float32]:
    z, y, x = (np.arange(cells.start, cells.stop) for cells in where)
    velocity: NDArray[np.float32] = run.window(0, (z, y, x), 1)[0]
    return velocity


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Declare the options for files: flow, boundary, names."""
    parser.add_argument("--flow", help="name of the flow, for files without it and for the network")
    parser.add_argument(
        "--boundary",
        help="periodic, wall, wall:u=-1..1 (walls that move) or open; or three of them for z, y, x, such as "
        "periodic,wall,periodic (default: that of each file)",
    )
    parser.add_argument("--names", help="new names of variables and dims by old ones: Ux:u,lev:z")
    parser.add_argument("--drop", help="variables to leave out: p,rho")
    parser.add_argument("--resample", help="stretched axes to resample to uniform cells: y, or y:128 with their number")


def reading(args: argparse.Namespace) -> dict[str, Any]:
    """Return what [`open_dataset`][training.recordings.open_dataset] takes from the options."""
    return {name: getattr(args, name) for name in ("flow", "boundary", "names", "drop", "resample")}


def _kind(path: Path, said: dict[str, Any], flow: str | None) -> tuple[str, Boundaries]:
    """Flow and boundaries: the attributes of a volume, or else the option."""
    own = str(said.get("flow", ""))
    flow = own if NAME.fullmatch(own) else flow or own or None
    if flow is None or not NAME.fullmatch(flow):
        message = f"{path}: the flow needs a name of small letters, digits and hyphens, got {flow!r}; give --flow"
        raise ValueError(message)
    if "boundary" not in said:
        message = f"{path} does not say what lies beyond the ends of its axes; give --boundary, for z, y, x"
        raise ValueError(message)
    return flow, parse_boundary(said["boundary"])


def _valid(part: xr.DataArray) -> NDArray[Any]:
    """Values, NaN where the attributes of the variable say that they are not valid (CF 2.5.1)."""
    least, greatest = part.attrs.get("valid_range", (-np.inf, np.inf))
    least, greatest = part.attrs.get("valid_min", least), part.attrs.get("valid_max", greatest)
    values: NDArray[Any] = part.values
    return np.where((values < least) | (values > greatest), np.nan, values)


def _repeats_its_end(read: Read, cells: Cells, axis: int) -> bool:
    """Whether the last plane of an axis is the first one again; see [`end_of`][models.ends.end_of]."""

    def planes(first: int) -> NDArray[Any]:
        where = [slice(0, n) for n in cells]
        where[axis] = slice(first, first + 2)
        return np.moveaxis(read(0, (where[0], where[1], where[2])), axis + 1, 0)

    with np.errstate(invalid="ignore"):  # missing values may be infinite; they equal nothing
        return end_of((*planes(0), *planes(cells[axis] - 2)), ()) == "repeated"


def _time_steps(path: Path, volume: xr.Dataset) -> tuple[float, float]:
    """The shortest and the longest time between levels, which must grow: the frames of a snapshot follow each other."""
    times = volume["time"].values if "time" in volume.dims else np.arange(2)
    try:  # of dates, the differences are exact
        numbers = times if times.dtype.kind in "iuf" else (times - times[:1]).astype("timedelta64[ns]")
    except TypeError:
        message = f"{path}: time: {times[0]}; expected numbers or dates"
        raise ValueError(message) from None
    if not len(times):
        message = f"{path}: time: 0 levels; expected at least 1"
        raise ValueError(message)
    steps = np.diff(numbers.astype(np.float64))
    if not (steps > 0).all():
        level = int((steps > 0).argmin())
        message = f"{path}: time: {times[level]} before {times[level + 1]}; expected times that grow"
        raise ValueError(message)
    return (steps.min(), steps.max()) if len(steps) else (1.0, 1.0)


def _check_units(path: Path, volume: xr.Dataset) -> None:
    """Refuse components of one vector in different units."""
    from eddylift._units import same  # noqa: PLC0415 as above

    first, *others = (volume[name].attrs.get("units") for name in COMPONENTS)
    for name, units in zip(COMPONENTS[1:], others, strict=True):
        if not same(first, units):
            message = (
                f"{path}: {name}: in {units or 'no units'}; expected {first or 'no units'}, as {COMPONENTS[0]} has"
            )
            raise ValueError(message)


def _check_axes(path: Path, volume: xr.Dataset) -> None:
    """Refuse axes whose lengths cannot be compared: only some with coordinates, or several units."""
    from eddylift._axes import require_one_unit  # noqa: PLC0415 as above

    known = [axis for axis in AXES if axis in volume.coords]
    if 0 < len(known) < len(AXES):
        message = f"{path} has coordinates along {', '.join(known)} alone; expected them along z, y, x, or none"
        raise ValueError(message)
    require_one_unit(volume, AXES)


def _length(path: Path, axis: str, volume: xr.Dataset) -> float:
    """Length of an axis by its coordinates; in cells without them."""
    cells: int = volume.sizes[axis]
    if cells < 2:  # noqa: PLR2004
        message = f"{path}: {axis} has {cells} cells; expected at least 2"
        raise ValueError(message)
    if axis not in volume.coords:
        return float(cells)
    values = volume[axis].values
    steps = np.diff(values.astype(np.float64))
    # Coordinates far from 0 are uneven by rounding.
    rounding = 2 * float(np.spacing(np.abs(values).max())) if values.dtype.kind == "f" else 0.0
    if not (steps > 0).all() or np.ptp(steps) > EVEN * steps.mean() + rounding:
        message = (
            f"{path}: {axis} must be {cells} evenly spaced, growing coordinates, got steps from {steps.min():.4g} to "
            f"{steps.max():.4g}"
        )
        raise ValueError(message)
    return float(steps.mean()) * cells
