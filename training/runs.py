"""A run: a simulation, and the folder with its snapshots and its state.

The folder ``<flow>-<n>-seed<k>`` has ``run.json``, ``snapshot-0000.npy`` ... and ``restart.npz``. The restart file is
replaced after every snapshot and every few minutes. With it, an interrupted run continues to the same numbers, and a
complete run can be extended.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from models.replacing import replacing
from training.checkpoints import readable_checkpoint
from training.results import write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

Record = dict[str, float]
SAVE_EVERY = 120.0
"""Seconds between restarts while there is no snapshot."""


@dataclass(frozen=True)
class Recipe:
    """The parameters of a run. Two runs of a recipe on the same kind of device give the same numbers."""

    flow: str
    n: int
    """Points along each axis."""
    seed: int
    interval: float
    """Time between snapshots; long enough for them to decorrelate."""
    spin_up: float
    """Time on fewer points after the random start; only for flows in a periodic box."""
    settle: float
    """Time on all points before the first snapshot."""
    box: float = 1.0
    """Length, and number of points, along x and z, relative to the default; only for channels."""
    frames: int = 1
    """Time levels of a snapshot."""
    spacing: float = 0.0
    """Time between these levels."""
    compact: bool = False
    """Whether snapshots are on the fewest points that hold the modes; dealiasing leaves a third empty."""
    options: dict[str, float] = field(default_factory=dict)
    """Options of the flow that differ from their defaults."""

    def __post_init__(self) -> None:
        """Check the times: frames follow each other, none before the start, nor before one of the last snapshot."""
        apart = self.spacing if self.frames > 1 else 0.0
        for name, value, fits, wanted in (
            ("spacing", self.spacing, self.frames == 1 or self.spacing > 0, "more than 0"),
            ("interval", self.interval, self.interval > 0, "more than 0"),
            ("interval", self.interval, self.interval >= 2 * apart, f"at least {2 * apart:g}, twice the spacing"),
            ("settle", self.settle, self.settle >= apart, f"at least {apart:g}, the spacing"),
        ):
            if not fits:
                message = f"{name}: {value:g}; expected {wanted}"
                raise ValueError(message)

    @property
    def name(self) -> str:
        """Folder of the run."""
        box = "" if self.box == 1 else f"-box{self.box:g}"
        options = "".join(f"-{name}{value:g}" for name, value in self.options.items())
        compact = "-compact" if self.compact else ""
        frames = "" if self.frames == 1 else f"-{self.frames}frames"
        return f"{self.flow}-{self.n}{box}{options}{compact}{frames}-seed{self.seed}"

    def moment(self, snapshot: int, frame: int | None = None) -> float:
        """Time of a frame of a snapshot; of the middle one unless it is given."""
        off = 0 if frame is None else frame - self.frames // 2
        return self.spin_up + self.settle + snapshot * self.interval + off * self.spacing


class Simulation(Protocol):
    """The simulation of a run: made from a recipe and a device, and resumed from its ``state``."""

    columns: str
    """Column heads of the records."""

    @property
    def time(self) -> float:
        """Time that it has reached."""

    @property
    def restart_after(self) -> float:
        """Time after which the flow restarts."""

    def advance(self, until: float) -> None:
        """Take one step, at most to a given time."""

    def velocity(self) -> Tensor:
        """Velocity (3, z, y, x) now, on uniform cells."""

    def record(self) -> Record:
        """Statistics of a snapshot."""

    def row(self, record: Record) -> str:
        """A record as a line of the table."""

    def summary(self, records: list[Record]) -> str:
        """Results of the whole run, compared with expected ones."""

    def description(self) -> dict[str, Any]:
        """Entries of ``run.json`` beside the recipe and the records."""

    def state(self) -> dict[str, Any]:
        """Arrays, numbers and strings to resume from."""


class Make(Protocol):
    """Make the simulation of a recipe on a device, from a state if there is one."""

    def __call__(self, recipe: Recipe, device: str, state: dict[str, Any] | None) -> Simulation:
        """See the class."""


class Run:
    """A simulation and its folder, resumed from the restart file if there is one.

    Args:
        recipe: what to simulate.
        folder: where to keep it.
        make: makes the simulation.
        device: where to compute.
        say: called with a line for every snapshot.
        live: whether to show progress on standard error.

    Raises:
        ValueError: if the folder holds a run of another recipe.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        make: Make,
        *,
        device: str = "cpu",
        say: Callable[[str], None] = print,
        live: bool = False,
    ) -> None:
        self.folder = folder
        self.recipe = recipe
        self.say = say
        self.live = live
        self.records: list[Record] = []
        self.taken: list[tuple[NDArray[np.float32], Record]] = []
        """Frames of the next snapshot that are done."""
        folder.mkdir(parents=True, exist_ok=True)
        restart = folder / "restart.npz"
        state = self._load(restart) if restart.exists() else None
        self.simulation = make(recipe, device, state)
        if self.records:
            self._describe()  # the last process may have been stopped before it could

    def advance(self, snapshots: int) -> None:
        """Run until there are this many snapshots.

        Raises:
            ValueError: if the flow would restart between the frames of one of them.
        """
        length = self.simulation.restart_after
        for number in range(len(self.records), snapshots):
            restarts = [self.recipe.moment(number, frame) // length for frame in range(self.recipe.frames)]
            if restarts[0] != restarts[-1]:
                message = (
                    f"settle, interval: {self.recipe.settle:g}, {self.recipe.interval:g}; expected no snapshot near "
                    f"t = {restarts[-1] * length:g}, where the flow restarts"
                )
                raise ValueError(message)
        while (number := len(self.records)) < snapshots:
            what = f"snapshot {number + 1}/{snapshots}" if number else "settling"
            while (frame := len(self.taken)) < self.recipe.frames:
                self._run(what, self.recipe.moment(number, frame))
                velocity = self.simulation.velocity().to(device="cpu", dtype=torch.float32).numpy()
                self.taken.append((velocity, self.simulation.record()))
            self._keep(number)

    def _run(self, what: str, until: float) -> None:
        simulation, start, steps = self.simulation, self.simulation.time, 0
        begin = shown = saved = time.perf_counter()
        while simulation.time < until:
            simulation.advance(until)
            steps += 1
            now = time.perf_counter()
            if now - saved > SAVE_EVERY:
                saved = now
                self._save()
            if self.live and now - shown > 1:
                shown = now
                done = (simulation.time - start) / (until - start)
                left = (now - begin) * (1 - done) / done
                rate = (now - begin) / steps
                line = f"{what}: t {simulation.time:.2f}/{until:g}, {rate:.3f} s/step, {left:.0f} s left"
                print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)
        if self.live:
            print(f"\r{'':<78}\r", end="", file=sys.stderr, flush=True)

    def _keep(self, number: int) -> None:
        frames, records = zip(*self.taken, strict=True)
        self.records.append(records[len(records) // 2])
        self.taken = []
        with replacing(self.folder / f"snapshot-{number:04d}.npy") as path, path.open("wb") as file:
            np.save(file, frames[0] if len(frames) == 1 else np.stack(frames))
        self._save()
        self._describe()
        self.say(f"{number:5d} {self.simulation.row(self.records[-1])}")

    def _save(self) -> None:
        state = {
            "recipe": json.dumps(asdict(self.recipe)),
            "records": json.dumps(self.records),
            "taken": np.array([velocity for velocity, _ in self.taken]),
            "taken_records": json.dumps([record for _, record in self.taken]),
            **self.simulation.state(),
        }
        with replacing(self.folder / "restart.npz") as path, path.open("wb") as file:
            np.savez(file, **state)

    def _load(self, path: Path) -> dict[str, Any]:
        with readable_checkpoint(path):
            with np.load(path, allow_pickle=False) as content:
                state = dict(content)
            recipe = json.loads(str(state["recipe"]))
            found = Recipe(**recipe)
        if found != self.recipe:
            message = (
                f"{self.folder} holds another run ({recipe}), not {asdict(self.recipe)}: "
                "give its settings to continue it, or another seed or folder"
            )
            raise ValueError(message)
        self.records = json.loads(str(state["records"]))
        if "taken" in state:
            self.taken = list(zip(state["taken"], json.loads(str(state["taken_records"])), strict=True))
        return state

    def _describe(self) -> None:
        description = {
            **asdict(self.recipe),
            **self.simulation.description(),
            "layout": "([frame,] 3, z, y, x) float32, components u, v, w along x, y, z",
            "times": [record["time"] for record in self.records],
            "statistics": self.records,
        }
        write_json(self.folder / "run.json", description)
