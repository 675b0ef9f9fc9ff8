"""Training and test data of forecasts: windows of a set of runs in a plane, split by time and by place."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from models.forecasting.forecaster import Units
from models.forecasting.network import Scales
from training.dataset import read_description

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float
    from torch import Tensor

EARLY = 0.65
"""Fraction of the frames of a run that networks learn from."""
KEPT = (2, 4)
"""Held-out inflows: index of the first one, and the step to the next."""
BEGIN = 4
"""First frame that is used: before it, smoke hardly moves."""
TESTED_EVERY = 10
"""Frames from the start of a test window to that of the next."""


class Window(NamedTuple):
    """Frames that follow one another, of several runs.

    Attributes:
        frames: velocity (u, v) in cells a frame, (batch, frame, 2, y, x).
        scales: of the runs, (batch).
    """

    frames: Float[Tensor, "batch frame 2 y x"]
    scales: Scales


def read_set(folder: Path, name: str | None = None) -> dict[str, Any]:
    """What ``run.json`` says of a set of runs in a plane.

    Raises:
        ValueError: if it is of a run in space, or not the set of this name.
    """
    about = read_description(folder, plane=True)
    if name not in (None, about["set"]):
        message = f"{folder} has the set {about['set']}; expected {name}"
        raise ValueError(message)
    return about


class Windows:
    """A set of runs, stored by ``simulate``.

    Runs of every fourth inflow are held out: they are the split *domain*. Late frames of the other runs are the split
    *future*.

    Args:
        folder: such as ``data/smoke-rotation-32``.
        level: level of the set ``levels``; None takes all runs.

    Attributes:
        circular: whether the axes (y, x) wrap around.
        nu: viscosity.
        scales: of each run.
        units: of each run, as it was simulated.

    Raises:
        ValueError: if it is no such set, or has no run of this level.
    """

    def __init__(self, folder: Path, level: int | None = None) -> None:
        about = read_set(folder)
        self.name = folder.name
        self.flow: str = about["flow"]
        levels = [run.get("level") for run in about["runs"]]
        runs = [i for i, each in enumerate(levels) if level is None or each == level]
        if not runs:
            message = f"level: {level}; expected one of those of {folder}, {sorted({*levels} - {None})}"
            raise ValueError(message)
        velocity = np.load(folder / "frames.npy", mmap_mode="r")[runs[0] : runs[-1] + 1, :, :2]
        dx, dt = (torch.tensor(about[key])[runs] for key in ("dx", "dt"))
        self.nu: float = about["nu"]
        self.units = [Units(float(edge), float(time), self.nu) for edge, time in zip(dx, dt, strict=True)]
        self.frames = torch.from_numpy(velocity.copy()) * (dt / dx)[:, None, None, None, None]
        self.scales = Scales(self.nu * dt / dx**2, dx / dt)
        y, x = (axis == "periodic" for axis in about["boundary"])
        self.circular = (y, x)
        inflows = torch.tensor([about["runs"][run]["inflow"] for run in runs])
        self.kept = inflows % KEPT[1] == KEPT[0]
        self.places = [torch.nonzero(inflows == place).flatten() for place in inflows[~self.kept].unique()]
        self.early = int(EARLY * self.frames.shape[1])

    @property
    def cells(self) -> tuple[int, int]:
        """Along (y, x)."""
        y, x = self.frames.shape[-2:]
        return y, x

    def identity(self) -> str:
        """Name, size and checksum of the runs, as another set may have the same name."""
        runs, frames = self.frames.shape[:2]
        checksum = zlib.crc32(np.ascontiguousarray(self.frames.numpy()).data)
        return f"{self.name}: {runs} runs of {frames} frames, {checksum:08x}"

    def draw(self, batch: int, length: int, random: torch.Generator) -> Window:
        """Random windows for training.

        Runs with the same inflow on different sides are drawn together, so that a batch is closed under the rotations
        that map one side to another.
        """
        sides = len(self.places[0])
        runs, starts = [], []
        for place in torch.randint(len(self.places), (max(1, batch // sides),), generator=random).tolist():
            start = int(torch.randint(BEGIN, self.early - length + 1, (), generator=random))
            runs += self.places[place].tolist()
            starts += sides * [start]
        return self._take(runs, starts, length)

    def test(self, split: str, length: int) -> Window:
        """Windows of a split, ``future`` or ``domain``, that begin at every tenth frame.

        Raises:
            ValueError: if there are none.
        """
        first, last = (self.early, self.frames.shape[1]) if split == "future" else (BEGIN, self.early)
        runs = torch.nonzero(self.kept if split == "domain" else ~self.kept).flatten().tolist()
        starts = range(first, last - length + 1, TESTED_EVERY)
        if not runs or not starts:
            message = f"{self.name}: {len(runs)} runs of {last - first} frames in the split {split}; expected {length}"
            raise ValueError(message)
        return self._take([run for run in runs for _ in starts], [start for _ in runs for start in starts], length)

    def _take(self, runs: list[int], starts: list[int], length: int) -> Window:
        frames = [self.frames[run, start : start + length] for run, start in zip(runs, starts, strict=True)]
        return Window(torch.stack(frames), Scales(*(values[runs] for values in self.scales)))
