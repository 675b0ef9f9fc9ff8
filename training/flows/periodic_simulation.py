"""A periodic box as a run: spun up on few points, then refined and settled before its snapshots.

A flow that decays restarts after a while, from the initial condition of another seed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from models.blocks import CUBE, PERIODIC
from training.flows.periodic import Budget, Statistics, statistics
from training.flows.periodic_grid import Grid, random_modes, refine

if TYPE_CHECKING:
    from torch import Tensor

    from training.flows.known import Known
    from training.flows.periodic import Flow
    from training.runs import Recipe, Record

SPIN_UP_POINTS = 64
SEEDS = 1000
"""Restarts add this to the seed, so that no two starts share one; runs have lower seeds."""


class PeriodicSimulation(ABC):
    """See [`Simulation`][training.runs.Simulation]. Each flow defines ``flow``, and overrides what differs.

    Raises:
        ValueError: if another box is asked for than the cube, or of a flow that decays, a spin-up or a seed that a
            restart of another run may have.
    """

    columns = "    #      time  energy     eps  Re_lam  k_eta    skew   flat  divergence   budget"
    usual: ClassVar[dict[str, float]] = {}
    """Options and their usual values."""
    restart_after: float = math.inf
    """Time after which the flow restarts."""

    def __init__(self, recipe: Recipe, device: str, state: dict[str, Any] | None = None) -> None:
        if recipe.box != 1:
            message = f"{recipe.flow} flow is simulated in a cube: box must be 1, not {recipe.box:g}"
            raise ValueError(message)
        if recipe.spin_up and self.restart_after < math.inf:
            message = f"{recipe.flow} flow has no spin-up on fewer points: spin-up must be 0, not {recipe.spin_up:g}"
            raise ValueError(message)
        if recipe.seed >= SEEDS and self.restart_after < math.inf:
            message = f"seed: {recipe.seed}; expected less than {SEEDS}, as restarts have seeds from there on"
            raise ValueError(message)
        self.recipe, self.options = recipe, {**self.usual, **recipe.options}
        points = min(SPIN_UP_POINTS, recipe.n) if state is None and recipe.spin_up else recipe.n
        grid = Grid(points if state is None else int(state["points"]), device=device)
        self.earlier_steps, self.restarts = 0, 0
        if state is None:
            self.now = self.flow(grid, self.start(grid), 0.0)
            return
        self.now = self.flow(grid, torch.from_numpy(state["modes"]).to(device), float(state["time"]))
        self.now.steps, self.earlier_steps = int(state["steps"]), int(state["earlier_steps"])
        self.restarts = int(state.get("lives", 0))
        begin, injected, dissipated = (float(value) for value in state["budget"])
        self.now.budget = Budget(None if np.isnan(begin) else begin, injected, dissipated)

    @abstractmethod
    def flow(self, grid: Grid, modes: Tensor, time: float) -> Flow:
        """The equations of this flow."""

    def start(self, grid: Grid) -> Tensor:
        """Initial modes, of this start."""
        return random_modes(grid, self.seed)

    @property
    def seed(self) -> int:
        """Seed of this start."""
        return self.recipe.seed + SEEDS * self.restarts

    def more(self, flow: Flow) -> Record:  # noqa: ARG002
        """Statistics of a snapshot that only this flow has."""
        return {}

    def known(self, records: list[Record]) -> list[Known]:  # noqa: ARG002
        """Averages of the run, beside known values."""
        return []

    @property
    def time(self) -> float:
        """Time that it has reached."""
        return self.now.time

    def advance(self, until: float) -> None:
        """Take one step. At the end of the spin-up the flow is refined; at later times it may restart."""
        flow, spinning = self.now, self.now.time < self.recipe.spin_up
        ends = self.recipe.spin_up if spinning else (self.restarts + 1) * self.restart_after
        flow.step(min(until, ends))
        if flow.time == ends:
            self._change(spinning=spinning)

    def _change(self, *, spinning: bool) -> None:
        """Refine the flow, or restart it."""
        old = self.now
        self.earlier_steps += old.steps
        grid = Grid(self.recipe.n, device=old.grid.device)
        if spinning:
            modes = refine(old.modes, old.grid, grid)
        else:
            self.restarts += 1
            modes = self.start(grid)
        self.now = self.flow(grid, modes, old.time)

    def velocity(self) -> Tensor:
        """Velocity on all points, or on the fewest that hold the modes."""
        grid = self.now.grid
        return grid.to_physical(self.now.modes[:3], grid.fewest if self.recipe.compact else grid.n)

    def record(self) -> Record:
        """All of [`Statistics`][training.flows.periodic.Statistics], and more."""
        return {**asdict(statistics(self.now)), **self.more(self.now)}

    def row(self, record: Record) -> str:
        """One line of the table."""
        found = Statistics(**{part.name: record[part.name] for part in fields(Statistics)})
        return (
            f"{found.time:9.2f} {found.energy:7.3f} {found.dissipation:7.3f} "
            f"{found.reynolds:7.1f} {found.resolution:6.2f} {found.skewness:7.3f} "
            f"{found.flatness:6.2f} {found.divergence:11.1e} {found.budget:8.4f}"
        )

    def summary(self, records: list[Record]) -> str:
        """Averages over snapshots, and known values of some."""
        mean = {name: mean_of(records, name) for name in records[0]}
        return "\n".join([f" mean {self.row(mean)}", *map(str, self.known(records))])

    def description(self) -> dict[str, Any]:
        """Viscosity, steps and box."""
        flow = self.now
        return {
            "nu": flow.nu,
            "steps": self.earlier_steps + flow.steps,
            "length": CUBE,
            "boundary": PERIODIC,
        }

    def state(self) -> dict[str, Any]:
        """Modes, budget and counts."""
        flow, budget = self.now, self.now.budget
        return {
            "points": flow.grid.n,
            "time": flow.time,
            "steps": flow.steps,
            "earlier_steps": self.earlier_steps,
            "lives": self.restarts,
            "budget": [np.nan if budget.start is None else budget.start, budget.injected, budget.dissipated],
            "modes": flow.modes.cpu().numpy(),
        }


def mean_of(records: list[Record], name: str) -> float:
    """Average of a number over snapshots."""
    return sum(record[name] for record in records) / len(records)
