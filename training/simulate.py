"""``python -m training simulate``: run a flow and keep snapshots of it under ``data/``.

A run is a folder ``isotropic-<n>-seed<k>`` with ``run.json``, ``snapshot-0000.npy`` ... and
``restart.npz``. The restart is replaced after every snapshot, so that a run that was interrupted
goes on with the same command, to the same numbers, and a complete run can be made longer.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from training.isotropic import (
    Budget,
    Flow,
    Grid,
    Statistics,
    random_modes,
    refine,
    statistics,
    viscosity,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from numpy.typing import NDArray

SPIN_UP_POINTS = 64

EXPECTED = {64: "36", 96: "47", 128: "55"}
"""Taylor-scale Reynolds numbers that earlier runs had, by box."""


@dataclass(frozen=True)
class Recipe:
    """What a run is made of. Two runs of one recipe are the same, number for number."""

    flow: str
    n: int
    seed: int
    interval: float
    """Time between snapshots; the flow forgets itself in about 2.4."""
    spin_up: float = 10.0
    """Time on at most 64^3 points, from the random start."""
    settle: float = 5.0
    """Time on n^3 points before the first snapshot."""

    @property
    def name(self) -> str:
        """Folder of the run."""
        return f"{self.flow}-{self.n}-seed{self.seed}"

    def moment(self, snapshot: int) -> float:
        """Time of a snapshot."""
        return self.spin_up + self.settle + snapshot * self.interval


class Run:
    """A flow, its folder, and how far it has come."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        *,
        device: str = "cpu",
        say: Callable[[str], None] = print,
        live: bool = False,
    ) -> None:
        """Take a run up where its restart left it, or begin it.

        Raises:
            ValueError: if the folder holds a run of another recipe.
        """
        self.folder = folder
        self.recipe = recipe
        self.say = say
        self.live = live
        self.device = device
        self.records: list[dict[str, float]] = []
        self.steps = 0
        folder.mkdir(parents=True, exist_ok=True)
        restart = folder / "restart.npz"
        if restart.exists():
            self.flow = self._load(restart)
        else:
            points = min(SPIN_UP_POINTS, recipe.n)
            grid = Grid(points, device=device)
            self.flow = Flow(grid, random_modes(grid, recipe.seed))

    def advance(self, snapshots: int) -> None:
        """Go on until that many snapshots are there."""
        recipe = self.recipe
        if self.flow.time < recipe.spin_up:
            self._run("spin-up", recipe.spin_up)
            self._save()
        if self.flow.time == recipe.spin_up:
            self.steps += self.flow.steps
            grid = Grid(recipe.n, device=self.device)
            modes = refine(self.flow.modes, self.flow.grid, grid)
            self.flow = Flow(grid, modes, time=self.flow.time)
        while len(self.records) < snapshots:
            number = len(self.records)
            what = f"snapshot {number + 1}/{snapshots}" if number else "settling"
            self._run(what, recipe.moment(number))
            self._keep(number)

    def _run(self, what: str, until: float) -> None:
        flow, start, begin, steps = self.flow, self.flow.time, time.perf_counter(), self.flow.steps
        shown = begin
        while flow.time < until:
            flow.step(until - flow.time)
            if until - flow.time < 1e-9 * until:
                flow.time = until
            now = time.perf_counter()
            if self.live and now - shown > 1:
                shown = now
                done = (flow.time - start) / (until - start)
                left = (now - begin) * (1 - done) / done
                rate = (now - begin) / (flow.steps - steps)
                line = f"{what}: t {flow.time:.2f}/{until:g}, {rate:.3f} s/step, {left:.0f} s left"
                print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)
        if self.live:
            print(f"\r{'':<78}\r", end="", file=sys.stderr, flush=True)
        if what == "spin-up":
            self.say(f"{what} on {flow.grid.n}^3: t = {flow.time:g}, {flow.steps} steps")

    def _keep(self, number: int) -> None:
        found = statistics(self.flow)
        velocity = self.flow.velocity().to(device="cpu", dtype=torch.float32).numpy()
        self.records.append(asdict(found))
        with Replacing(self.folder / f"snapshot-{number:04d}.npy") as path, path.open("wb") as file:
            np.save(file, velocity)
        self._save()
        self._describe()
        self.say(row(number, found))

    def _save(self) -> None:
        flow = self.flow
        budget = flow.budget
        state: dict[str, Any] = {
            "recipe": json.dumps(asdict(self.recipe)),
            "records": json.dumps(self.records),
            "points": flow.grid.n,
            "time": flow.time,
            "steps": flow.steps,
            "earlier_steps": self.steps,
            "budget": [
                np.nan if budget.start is None else budget.start,
                budget.injected,
                budget.dissipated,
            ],
            "modes": flow.modes.cpu().numpy(),
        }
        with Replacing(self.folder / "restart.npz") as path, path.open("wb") as file:
            np.savez(file, **state)

    def _load(self, path: Path) -> Flow:
        with np.load(path, allow_pickle=False) as state:
            recipe = json.loads(str(state["recipe"]))
            if recipe != asdict(self.recipe):
                message = (
                    f"{self.folder} holds another run ({recipe}), not {asdict(self.recipe)}: "
                    "give its settings to go on with it, or another seed or folder"
                )
                raise ValueError(message)
            self.records = json.loads(str(state["records"]))
            self.steps = int(state["earlier_steps"])
            grid = Grid(int(state["points"]), device=self.device)
            modes: NDArray[np.complex64] = state["modes"]
            flow = Flow(grid, torch.from_numpy(modes).to(self.device), time=float(state["time"]))
            flow.steps = int(state["steps"])
            start, injected, dissipated = (float(value) for value in state["budget"])
            flow.budget = Budget(None if np.isnan(start) else start, injected, dissipated)
        return flow

    def _describe(self) -> None:
        elapsed = self.flow.time - self.recipe.spin_up
        description = {
            **asdict(self.recipe),
            "nu": self.flow.nu,
            "dt": elapsed / self.flow.steps if self.flow.steps else None,
            "steps": self.steps + self.flow.steps,
            "length": "2 pi",
            "boundary": ["periodic", "periodic", "periodic"],
            "layout": "(3, z, y, x) float32, components u, v, w along x, y, z",
            "times": [record["time"] for record in self.records],
            "statistics": self.records,
        }
        with Replacing(self.folder / "run.json") as path:
            path.write_text(json.dumps(description, indent=1) + "\n")


class Replacing:
    """A path to write to that takes the place of another one only when it is complete."""

    def __init__(self, target: Path) -> None:
        """Name the file that is to be replaced."""
        self.target = target
        self.part = target.with_name(f".{target.name}.part")

    def __enter__(self) -> Path:
        """Give the path to write to."""
        return self.part

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Put it in place, or take it away when writing failed."""
        if kind is None:
            os.replace(self.part, self.target)  # noqa: PTH105
        else:
            self.part.unlink(missing_ok=True)


COLUMNS = "    #      time  energy     eps  Re_lam  k_eta    skew   flat  divergence   budget"


def row(label: int | str, found: Statistics) -> str:
    """One line of the table of statistics."""
    return (
        f"{label!s:>5} {found.time:9.2f} {found.energy:7.3f} {found.dissipation:7.3f} "
        f"{found.reynolds:7.1f} {found.resolution:6.2f} {found.skewness:7.3f} "
        f"{found.flatness:6.2f} {found.divergence:11.1e} {found.budget:8.4f}"
    )


def mean(records: list[dict[str, float]]) -> Statistics:
    """Average each number over snapshots."""
    return Statistics(
        **{field.name: sum(record[field.name] for record in records) / len(records) for field in fields(Statistics)}
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the subcommand takes."""
    parser.add_argument("--flow", choices=["isotropic"], default="isotropic")
    parser.add_argument("--n", type=int, default=96, help="points a side (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the start (default: %(default)s)")
    parser.add_argument("--snapshots", type=int, default=10, help="how many in all")
    parser.add_argument("--interval", type=float, default=2.5, help="time between snapshots")
    parser.add_argument("--spin-up", type=float, default=10.0, help="time on 64^3 points at first")
    parser.add_argument("--settle", type=float, default=5.0, help="time on n^3 before a snapshot")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: all)")
    parser.add_argument("--out", type=Path, default=Path("data"), help="where runs are kept")


def run(args: argparse.Namespace) -> int:
    """Simulate."""
    if args.threads:
        torch.set_num_threads(args.threads)
    recipe = Recipe(args.flow, args.n, args.seed, args.interval, args.spin_up, args.settle)
    folder: Path = args.out / recipe.name
    simulation = Run(
        recipe,
        folder,
        device=args.device,
        say=lambda line: print(line, flush=True),
        live=sys.stderr.isatty(),
    )
    print(f"{folder}: {args.n}^3, nu = {viscosity(args.n):.5f}, {len(simulation.records)} of "
          f"{args.snapshots} snapshots are there", flush=True)  # fmt: skip
    print(COLUMNS, flush=True)
    try:
        simulation.advance(args.snapshots)
    except KeyboardInterrupt:
        print(f"\nstopped after {len(simulation.records)} snapshots; the same command goes on")
        return 130
    print(row("mean", mean(simulation.records)))
    known = EXPECTED.get(args.n)
    print(
        f"expect: eps 1.0, Re_lam {known or '36 / 47 / 55 at 64 / 96 / 128'}, k_eta 1.4, "
        "skew -0.48 to -0.49, flat 4.0 to 4.5, budget within 0.01"
    )
    return 0
