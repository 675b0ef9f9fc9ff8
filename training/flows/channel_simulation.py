"""The channel as a run: its statistics are averaged while it runs, from the moment that it has settled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from training.flows.channel import Flow, start
from training.flows.channel_grid import LENGTH_X, LENGTH_Z, Grid
from training.flows.channel_statistics import Statistics, compare
from training.runs import landed

if TYPE_CHECKING:
    from torch import Tensor

    from training.runs import Recipe, Record

SAMPLE_EVERY = 10
"""Steps between moments that are averaged; a step is about 0.003 h/u_tau at 96^3."""


class ChannelSimulation:
    """See [`Simulation`][training.runs.Simulation]. Times are in h/u_tau, and there is no spin-up.

    Raises:
        ValueError: if a spin-up is asked for, or a box that no whole number of points fits.
    """

    columns = "    #      time  Re_tau  samples  u_rms+   at y+  -u'v'+  off linear"

    def __init__(self, recipe: Recipe, device: str, state: dict[str, Any] | None = None) -> None:
        if recipe.spin_up:
            message = f"a channel has no spin-up on fewer points: spin-up must be 0, not {recipe.spin_up}"
            raise ValueError(message)
        self.recipe = recipe
        along = recipe.n * recipe.box
        if along != int(along) or along < 1:
            message = f"a box of {recipe.box:g} times the usual length has no whole number of points beside {recipe.n}"
            raise ValueError(message)
        length_x, length_z = recipe.box * LENGTH_X, recipe.box * LENGTH_Z
        grid = Grid(int(along), recipe.n, int(along), length_x=length_x, length_z=length_z, device=device)
        self.averages = Statistics(grid)
        if state is None:
            self.flow = Flow(grid, start(grid, recipe.seed))
            return
        self.flow = Flow.restore(grid, state)
        self.averages.sums, self.averages.samples = state["sums"], int(state["samples"])

    @property
    def time(self) -> float:
        """How far it is."""
        return self.flow.time

    def advance(self, until: float) -> None:
        """Take one step."""
        flow = self.flow
        flow.step(until - flow.time)
        if landed(flow.time, until):
            flow.time = until
        if flow.time >= self.recipe.settle and flow.steps % SAMPLE_EVERY == 0:
            self.averages.add(flow)

    def velocity(self) -> Tensor:
        """Velocity on as many uniform cells along y as there are points."""
        return self.flow.velocity_uniform(self.recipe.n)

    def record(self) -> Record:
        """The present wall stress as Re_tau, and averages so far."""
        if not self.averages.samples:
            self.averages.add(self.flow)
        profile = self.averages.profile()
        peak = int(profile.u_rms.argmax())
        return {
            "time": self.flow.time,
            "re_tau": math.sqrt(max(self.flow.force, 0.0)) / self.flow.nu,
            "samples": profile.samples,
            "u_rms_peak": float(profile.u_rms[peak]),
            "u_rms_peak_y_plus": float(profile.y_plus[peak]),
            "shear_peak": float(profile.shear.max()),
            "stress_deviation": profile.deviation,
        }

    def row(self, record: Record) -> str:
        """One line of the table."""
        return (
            f"{record['time']:9.2f} {record['re_tau']:7.1f} {record['samples']:8d} {record['u_rms_peak']:7.2f} "
            f"{record['u_rms_peak_y_plus']:7.1f} {record['shear_peak']:7.3f} {record['stress_deviation']:11.3f}"
        )

    def summary(self, records: list[Record]) -> str:
        """Averages over all that was sampled, beside published ones."""
        lines = [f"{'averages over':26} {records[-1]['samples']} moments"]
        lines += [
            f"{each.name:26} {each.found:8.3f}   published {each.published:7.2f} +- {each.tolerance:4.2f}"
            f" {'   ' if each.agrees else 'OFF'} {each.source}"
            for each in compare(self.averages.profile())
        ]
        return "\n".join(lines)

    def description(self) -> dict[str, Any]:
        """Viscosity, steps and box."""
        flow, grid = self.flow, self.flow.grid
        return {
            "nu": flow.nu,
            "dt": flow.time / flow.steps if flow.steps else None,
            "steps": flow.steps,
            "length": [grid.length_z, 2.0, grid.length_x],
            "boundary": ["periodic", "wall", "periodic"],
        }

    def state(self) -> dict[str, Any]:
        """The flow's own, and the sums of its statistics."""
        return {**self.flow.state(), "sums": self.averages.sums, "samples": self.averages.samples}
