"""The channel as a run. Statistics are averaged while it runs, once it has settled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from models.walls import Walls
from training.flows.channel import Flow, bulk_velocity, start
from training.flows.channel_grid import LENGTH_X, LENGTH_Z, Grid
from training.flows.channel_statistics import Statistics, compare
from training.flows.known import Known

if TYPE_CHECKING:
    from torch import Tensor

    from training.flows.channel_statistics import Profile
    from training.runs import Recipe, Record

SAMPLE_EVERY = 10
"""Steps between samples of the averages; a step is about 0.003 h/u_tau at 96^3."""


class ChannelSimulation:
    """See [`Simulation`][training.runs.Simulation]. Times are in h/u_tau, and there is no spin-up.

    Options: ``re_tau``; ``nx`` and ``nz``, points along x and z, 0 for n times the box.

    Raises:
        ValueError: if a spin-up is asked for, or a box that no whole number of points fits.
    """

    columns = "    #      time  Re_tau  samples  u_rms+   at y+  -u'v'+  off linear"
    restart_after = math.inf
    usual: ClassVar = {"re_tau": 180.0, "nx": 0.0, "nz": 0.0}

    def __init__(self, recipe: Recipe, device: str, state: dict[str, Any] | None = None) -> None:
        if recipe.spin_up:
            message = f"a channel has no spin-up on fewer points: spin-up must be 0, not {recipe.spin_up}"
            raise ValueError(message)
        self.recipe, self.options = recipe, {**self.usual, **recipe.options}
        nx, nz = (self.options[name] or recipe.n * recipe.box for name in ("nx", "nz"))
        if nx != int(nx) or nz != int(nz) or min(nx, nz) < 1:
            message = (
                f"a box of {recipe.box:g} times the usual length has no whole number of points beside {recipe.n}: "
                f"{nx:g} along x, {nz:g} along z"
            )
            raise ValueError(message)
        length_x, length_z = recipe.box * LENGTH_X, recipe.box * LENGTH_Z
        grid = Grid(int(nx), recipe.n, int(nz), length_x=length_x, length_z=length_z, device=device)
        self.flow = self.begin(grid) if state is None else Flow.restore(grid, state)
        self.averages = Statistics(grid, self.flow.nu, self.flow.wall)
        if state is not None:
            self.averages.sums, self.averages.samples = state["sums"], int(state["samples"])

    def begin(self, grid: Grid) -> Flow:
        """The flow at its start."""
        re_tau = self.options["re_tau"]
        nu, bulk = 1 / re_tau, bulk_velocity(re_tau)
        return Flow(grid, start(grid, self.recipe.seed, bulk=bulk, nu=nu), nu=nu, bulk=bulk)

    def known(self, profile: Profile) -> list[Known]:
        """Published values at Re_tau = 180; otherwise those of the friction law."""
        re_tau = self.options["re_tau"]
        if re_tau == self.usual["re_tau"]:
            return compare(profile)
        return [
            Known("Re_tau", profile.re_tau, re_tau, 0.06 * re_tau, "Dean, J. Fluids Eng. 100, 1978"),
            Known("U+ at y+ 5", profile.mean_at(5), 4.9, 0.2, "law of the wall"),
            Known("total stress off linear", profile.deviation, 0, 0.05, "momentum balance"),
        ]

    @property
    def time(self) -> float:
        """Time that it has reached."""
        return self.flow.time

    def advance(self, until: float) -> None:
        """Take one step."""
        flow = self.flow
        flow.step(until)
        if flow.time >= self.recipe.settle and flow.steps % SAMPLE_EVERY == 0:
            self.averages.add(flow)

    def velocity(self) -> Tensor:
        """Velocity on as many uniform cells along y as there are points."""
        return self.flow.velocity_uniform(self.recipe.n, compact=self.recipe.compact)

    def record(self) -> Record:
        """Present wall stress as Re_tau, and averages so far."""
        if not self.averages.samples:
            self.averages.add(self.flow)
        profile = self.averages.profile()
        peak = int(profile.u_rms.argmax())
        return {
            "time": self.flow.time,
            "re_tau": math.sqrt(max(self.flow.stress, 0.0)) / self.flow.nu,
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
        """Averages over all samples, compared with published ones."""
        lines = [f"{'averages over':26} {records[-1]['samples']} moments"]
        lines += map(str, self.known(self.averages.profile()))
        return "\n".join(lines)

    def description(self) -> dict[str, Any]:
        """Viscosity, steps and box."""
        flow, grid = self.flow, self.flow.grid
        return {
            "nu": flow.nu,
            "steps": flow.steps,
            "length": [grid.length_z, 2.0, grid.length_x],
            "boundary": ["periodic", str(Walls((-flow.wall, 0.0, 0.0), (flow.wall, 0.0, 0.0))), "periodic"],
        }

    def state(self) -> dict[str, Any]:
        """The flow's own, and the sums of its statistics."""
        return {**self.flow.state(), "sums": self.averages.sums, "samples": self.averages.samples}
