"""The runs under ``data/``: their descriptions, and their snapshots, mapped rather than read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from models.blocks import PERIODIC
from models.metrics import CUBE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.blocks import Boundaries


@dataclass(frozen=True)
class StoredRun:
    """One simulation. Its length is the number of snapshots that were there when it was opened."""

    folder: Path

    @cached_property
    def description(self) -> dict[str, Any]:
        """What ``run.json`` says."""
        content: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return content

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
        """Points a side."""
        return int(self.description["n"])

    @property
    def seed(self) -> int:
        """Seed of the start."""
        return int(self.description["seed"])

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
    def times(self) -> list[float]:
        """Time of each snapshot."""
        return list(self.description["times"])

    def __len__(self) -> int:
        """Count the snapshots."""
        return len(self.times)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Snapshot ``(3, z, y, x)``, mapped from the file and not to be written to."""
        if not -len(self) <= index < len(self):
            message = f"{self.name} has {len(self)} snapshots, there is no number {index}"
            raise IndexError(message)
        path = self.folder / f"snapshot-{index % len(self):04d}.npy"
        mapped: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Each snapshot in turn."""
        return (self[index] for index in range(len(self)))


def find_runs(folder: Path, *, flow: str = "isotropic", seeds: set[int] | None = None) -> list[StoredRun]:
    """Find the runs of a flow below a folder that have a snapshot, in order of size and seed.

    Args:
        folder: where ``simulate`` keeps runs.
        flow: which flow.
        seeds: only these; held-out runs differ from training runs by their seed.
    """
    runs = [StoredRun(path.parent) for path in sorted(folder.glob("*/run.json"))]
    chosen = [run for run in runs if run.flow == flow and (seeds is None or run.seed in seeds)]
    return sorted(chosen, key=lambda run: (run.n, run.seed))


def require_alike(runs: Sequence[StoredRun]) -> None:
    """Refuse runs of several flows, or with other boundaries: a model is for one.

    Raises:
        ValueError: naming the first run that differs.
    """
    first = runs[0]
    for run in runs:
        if (run.flow, run.boundary) != (first.flow, first.boundary):
            kinds = [f"{each.name} is {each.flow} with boundaries {','.join(each.boundary)}" for each in (first, run)]
            message = f"runs must be of one flow with the same boundaries, but {' and '.join(kinds)}"
            raise ValueError(message)
