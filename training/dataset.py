"""Datasets for training and evaluation: snapshots of a flow, and their origin.

Runs of our simulations are memory-mapped. [`training.recordings`][training.recordings] opens files from elsewhere.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from models.blocks import CUBE, PERIODIC, collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.blocks import Boundaries, Cells, Window


class Dataset(Protocol):
    """Snapshots of one flow on one grid."""

    @property
    def name(self) -> str:
        """Such as ``isotropic-96-seed1``."""

    @property
    def flow(self) -> str:
        """Such as ``isotropic``."""

    @property
    def boundary(self) -> Boundaries:
        """What lies beyond the ends of each axis, (z, y, x)."""

    @property
    def length(self) -> tuple[float, float, float]:
        """Of each axis, (z, y, x)."""

    @property
    def cells(self) -> Cells:
        """Fine cells along (z, y, x)."""

    def count(self, frames: int) -> int:
        """Number of snapshots with this number of frames.

        Raises:
            ValueError: if there can be none.
        """

    def shared(self, frames: int) -> int:
        """Number of time levels that neighbouring snapshots of several frames have in common."""

    def window(self, index: int, where: Window, frames: int) -> NDArray[np.float32]:
        """Velocity (frame, 3, z, y, x) in some cells of a snapshot."""

    def provenance(self) -> dict[str, Any]:
        """The entry for cards."""


@dataclass(frozen=True)
class StoredRun:
    """One of our simulations. Its length is the number of snapshots that were there when it was opened."""

    folder: Path

    @cached_property
    def description(self) -> dict[str, Any]:
        """What ``run.json`` says."""
        return read_description(self.folder, plane=False)

    @property
    def name(self) -> str:
        """Name of the folder, such as ``isotropic-96-seed1``."""
        return self.folder.name

    @property
    def flow(self) -> str:
        """Such as ``isotropic``."""
        return str(self.description["flow"])

    @property
    def n(self) -> int:
        """Points along each axis."""
        return int(self.description["n"])

    @property
    def seed(self) -> int:
        """Seed of the initial condition."""
        return int(self.description["seed"])

    @property
    def frames(self) -> int:
        """Time levels of a snapshot."""
        return int(self.description.get("frames", 1))

    @property
    def compact(self) -> bool:
        """Whether snapshots are on the fewest points that hold the modes."""
        return bool(self.description.get("compact", False))

    @property
    def boundary(self) -> Boundaries:
        """What lies beyond the ends of each axis, (z, y, x)."""
        z, y, x = self.description.get("boundary", PERIODIC)
        return z, y, x

    @property
    def length(self) -> tuple[float, float, float]:
        """Of each axis, (z, y, x)."""
        z, y, x = self.description.get("length", CUBE)
        return z, y, x

    @property
    def cells(self) -> Cells:
        """Fine cells along (z, y, x)."""
        z, y, x = self[0].shape[1:]
        return z, y, x

    @property
    def times(self) -> list[float]:
        """Time of each snapshot."""
        return list(self.description["times"])

    def resolution(self, factor: int) -> dict[str, float | list[float]]:
        """How well coarse cells of ``factor`` fine ones resolve the flow.

        Returns:
            Between walls ``re_tau``, and ``coarse_cell_plus``, the edges (z, y, x) of a coarse cell in wall units. Of
            other viscous flows ``re_lambda``, its mean over snapshots, and ``coarse_cell_over_eta``, the least and
            largest edge in Kolmogorov lengths ``(nu^3 / dissipation)^(1/4)``. Without viscosity, nothing.
        """
        records, nu = self.description.get("statistics", []), self.description.get("nu", 0.0)
        edges = [factor * length / cells for length, cells in zip(self.length, self.cells, strict=True)]
        if not records or not nu:
            return {}
        if "re_tau" in records[-1]:
            re_tau = records[-1]["re_tau"]
            return {"re_tau": re_tau, "coarse_cell_plus": [re_tau * edge for edge in edges]}
        found = [edges[0] * (record["dissipation"] / nu**3) ** 0.25 for record in records]
        re_lambda = sum(record["reynolds"] for record in records) / len(records)
        return {"re_lambda": re_lambda, "coarse_cell_over_eta": [min(found), max(found)]}

    def __len__(self) -> int:
        """Count the snapshots."""
        return len(self.times)

    def levels(self, index: int) -> NDArray[np.float32]:
        """Snapshot ``(frame, 3, z, y, x)``, mapped from the file and not to be written to."""
        if not -len(self) <= index < len(self):
            message = f"{self.name} has {len(self)} snapshots, there is no number {index}"
            raise IndexError(message)
        path = self.folder / f"snapshot-{index % len(self):04d}.npy"
        mapped: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped.reshape(self.frames, *mapped.shape[-4:])

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """The middle frame of a snapshot, ``(3, z, y, x)``."""
        middle: NDArray[np.float32] = self.levels(index)[self.frames // 2]
        return middle

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Each snapshot in turn."""
        return (self[index] for index in range(len(self)))

    def count(self, frames: int) -> int:
        """Number of snapshots with this number of frames.

        Raises:
            ValueError: if they do not.
        """
        if frames not in (1, self.frames):
            message = (
                f"{self.name} has {self.frames} frame a snapshot, not {frames}: simulate it with --frames {frames}"
            )
            raise ValueError(message)
        return len(self)

    def shared(self, frames: int) -> int:  # noqa: ARG002
        """0, as each snapshot has its own frames."""
        return 0

    def window(self, index: int, where: Window, frames: int) -> NDArray[np.float32]:
        """Velocity (frame, 3, z, y, x) in some cells of a snapshot."""
        values = self[index][None] if frames == 1 else self.levels(index)
        return np.array(collect(lambda z, y, x: values[..., z, y, x], where))

    def provenance(self) -> dict[str, Any]:
        """The entry for cards."""
        return {"run": self.name, "seed": self.seed, "snapshots": len(self)}


def read_description(folder: Path, *, plane: bool) -> dict[str, Any]:
    """What ``run.json`` says of a run in space, or of a set of runs in a plane.

    Raises:
        ValueError: if it is the other one.
    """
    content: dict[str, Any] = json.loads((folder / "run.json").read_text())
    if ("runs" in content) != plane:
        kinds = ("a run in space, for `train`, `evaluate` and `discover`", "a set of runs in a plane, for `forecast`")
        message = f"{folder} has {kinds[not plane]}; expected {kinds[plane]}"
        raise ValueError(message)
    return content


def identity(run: Dataset) -> str:
    """Name, flow, size and checksum of a dataset, as another one may have the same name.

    The checksum is of a plane of the first snapshot, of one in the middle, and of the last.
    """
    z, y, x = (np.arange(n) for n in run.cells)
    count, checksum = run.count(1), 0
    for index in (0, count // 2, count - 1):
        checksum = zlib.crc32(run.window(index, (z[len(z) // 2 :][:1], y, x), 1).tobytes(), checksum)
    kind = f"{run.flow}, {run.cells} cells, {','.join(run.boundary)}"
    return f"{run.name}: {kind}, {count} snapshots, {checksum:08x}"


def require_whole(run: Dataset, factor: int) -> None:
    """Refuse a dataset that cannot be made coarse by this factor.

    Raises:
        ValueError: naming it, its cells, and the option that helps.
    """
    cut = [axis for axis in range(3) if run.cells[axis] % factor]
    if not cut:
        return
    message = f"{run.name} has {run.cells} cells along z, y, x; each must be a multiple of {factor}"
    if stretched := [axis for axis in cut if run.boundary[axis] != "periodic" and run.cells[axis] > factor]:
        cells = ",".join(f"{'zyx'[axis]}:{run.cells[axis] // factor * factor}" for axis in stretched)
        message += f"; --resample {cells} resamples a file to so many"
    raise ValueError(message)


def require_alike(runs: Sequence[Dataset]) -> None:
    """Refuse runs of several flows or boundaries: a model is for one.

    Raises:
        ValueError: naming the first run that differs.
    """
    first = runs[0]
    for run in runs:
        if (run.flow, run.boundary) != (first.flow, first.boundary):
            kinds = [f"{each.name} is {each.flow} with boundaries {','.join(each.boundary)}" for each in (first, run)]
            message = (
                f"runs must be of one flow with the same boundaries, but {' and '.join(kinds)}; give --flow to name a "
                "network that learns from several"
            )
            raise ValueError(message)
