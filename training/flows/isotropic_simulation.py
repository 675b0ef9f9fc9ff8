"""Isotropic turbulence as a run: spun up on few points, then refined and settled before its snapshots."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from models.blocks import CUBE, PERIODIC
from training.flows.isotropic import Budget, Flow, Statistics, statistics
from training.flows.periodic_grid import Grid, random_modes, refine
from training.runs import landed

if TYPE_CHECKING:
    from torch import Tensor

    from training.runs import Recipe, Record

SPIN_UP_POINTS = 64
EXPECTED = {64: "36", 96: "47", 128: "55"}
"""Taylor-scale Reynolds numbers that earlier runs had, by box."""


class IsotropicSimulation:
    """See [`Simulation`][training.runs.Simulation].

    Raises:
        ValueError: if another box is asked for than the cube.
    """

    columns = "    #      time  energy     eps  Re_lam  k_eta    skew   flat  divergence   budget"

    def __init__(self, recipe: Recipe, device: str, state: dict[str, Any] | None = None) -> None:
        if recipe.box != 1:
            message = f"isotropic turbulence is simulated in a cube: box must be 1, not {recipe.box:g}"
            raise ValueError(message)
        self.recipe = recipe
        points = min(SPIN_UP_POINTS, recipe.n) if state is None else int(state["points"])
        grid = Grid(points, device=device)
        self.earlier_steps = 0
        if state is None:
            self.flow = Flow(grid, random_modes(grid, recipe.seed))
            if not recipe.spin_up:
                self._refine()
            return
        self.flow = Flow(grid, torch.from_numpy(state["modes"]).to(device), time=float(state["time"]))
        self.flow.steps, self.earlier_steps = int(state["steps"]), int(state["earlier_steps"])
        start, injected, dissipated = (float(value) for value in state["budget"])
        self.flow.budget = Budget(None if np.isnan(start) else start, injected, dissipated)

    @property
    def time(self) -> float:
        """How far it is."""
        return self.flow.time

    def advance(self, until: float) -> None:
        """Take one step; the spin-up ends with the flow on n^3 points."""
        flow, spinning = self.flow, self.flow.time < self.recipe.spin_up
        if spinning:
            until = self.recipe.spin_up
        flow.step(until - flow.time)
        if landed(flow.time, until):
            flow.time = until
            if spinning:
                self._refine()

    def _refine(self) -> None:
        coarse = self.flow
        grid = Grid(self.recipe.n, device=coarse.grid.device)
        self.earlier_steps = coarse.steps
        self.flow = Flow(grid, refine(coarse.modes, coarse.grid, grid), time=coarse.time)

    def velocity(self) -> Tensor:
        """Velocity on the points."""
        return self.flow.velocity()

    def record(self) -> Record:
        """All of [`Statistics`][training.flows.isotropic.Statistics]."""
        return asdict(statistics(self.flow))

    def row(self, record: Record) -> str:
        """One line of the table."""
        found = Statistics(**record)
        return (
            f"{found.time:9.2f} {found.energy:7.3f} {found.dissipation:7.3f} "
            f"{found.reynolds:7.1f} {found.resolution:6.2f} {found.skewness:7.3f} "
            f"{found.flatness:6.2f} {found.divergence:11.1e} {found.budget:8.4f}"
        )

    def summary(self, records: list[Record]) -> str:
        """Averages over snapshots, and what earlier runs had."""
        mean = {part.name: sum(record[part.name] for record in records) / len(records) for part in fields(Statistics)}
        known = EXPECTED.get(self.recipe.n, "36 / 47 / 55 at 64 / 96 / 128")
        return (
            f" mean {self.row(mean)}\nexpect: eps 1.0, Re_lam {known}, k_eta 1.4, "
            "skew -0.48 to -0.49, flat 4.0 to 4.5, budget within 0.01"
        )

    def description(self) -> dict[str, Any]:
        """Viscosity, steps and box."""
        flow = self.flow
        return {
            "nu": flow.nu,
            "dt": (flow.time - self.recipe.spin_up) / flow.steps if flow.steps else None,
            "steps": self.earlier_steps + flow.steps,
            "length": CUBE,
            "boundary": PERIODIC,
        }

    def state(self) -> dict[str, Any]:
        """Modes, budget and counts."""
        flow, budget = self.flow, self.flow.budget
        return {
            "points": flow.grid.n,
            "time": flow.time,
            "steps": flow.steps,
            "earlier_steps": self.earlier_steps,
            "budget": [np.nan if budget.start is None else budget.start, budget.injected, budget.dissipated],
            "modes": flow.modes.cpu().numpy(),
        }
