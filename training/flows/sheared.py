"""Homogeneous turbulence in a uniform shear: the mean velocity is ``U = S y`` along x.

The fluctuations are computed on a grid that moves with the mean flow, where they are periodic (Rogallo, NASA TM 81315,
1981): wave vectors turn, ``ky -> ky - S t kx``. When a wave has moved by half a box from one end of y to the other, the
grid is sheared back by a whole one. The large eddies are then limited by the box, and the flow is stationary on average
(Pumir, Phys. Fluids 8, 3112, 1996). At multiples of ``1 / S`` the moving points are those of the box.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from training.flows.isotropic import viscosity
from training.flows.known import Known
from training.flows.periodic import Flow
from training.flows.periodic_grid import Grid
from training.flows.periodic_simulation import PeriodicSimulation, mean_of

if TYPE_CHECKING:
    from jaxtyping import Complex
    from torch import Tensor

    from training.runs import Recipe, Record

FURTHEST = 0.5
"""Strain at which the grid is sheared back."""


class ShearedGrid(Grid):
    """A grid whose points have moved along x by ``strain`` times y."""

    def __init__(self, n: int, *, device: torch.device | str, dtype: torch.dtype) -> None:
        super().__init__(n, device=device, dtype=dtype)
        self.unsheared = self.ky

    def shear(self, strain: float) -> None:
        """Set the strain."""
        self.ky = self.unsheared - strain * self.kx
        self._square()

    def sheared_back(self, modes: Complex[Tensor, "component kz ky kx"]) -> Complex[Tensor, "component kz ky kx"]:
        """The same field on a grid whose strain is less by one; waves too short for that grid are lost."""
        ky = (self.unsheared + self.kx)[0].long()
        place = ky % (2 * self.cutoff + 1), torch.arange(self.cutoff + 1, device=self.device)
        return modes[:, :, *place] * (ky.abs() <= self.cutoff)


class ShearedFlow(Flow):
    """The fluctuations about a uniform shear.

    Args:
        grid: points and modes kept.
        modes: coefficients of the fluctuations, on the grid as it is sheared at that time.
        shear: S.
        nu: viscosity.
        time: of the start; the strain is zero at multiples of ``1 / S``.
    """

    grid: ShearedGrid

    def __init__(self, grid: Grid, modes: Tensor, *, shear: float, nu: float, time: float = 0.0) -> None:
        moving = ShearedGrid(grid.n, device=grid.device, dtype=grid.dtype)
        super().__init__(moving, modes, nu=nu, terms=(Production(shear),), time=time)
        self.shear = shear
        moving.shear(shear * time - self._turns())

    def step(self, until: float = math.inf, *, dt: float | None = None) -> float:
        """See [`Flow`][training.flows.periodic.Flow]; a step ends where the grid is sheared back."""
        back = (self._turns() + FURTHEST) / self.shear
        dt = super().step(min(until, back), dt=dt)
        if self.time == back:
            before = self.energy()
            self.modes = self.grid.sheared_back(self.modes)
            self.grid.shear(-FURTHEST)
            self.budget.dissipated += before - self.energy()
        return dt

    def mean_square(self, dt: float) -> Tensor:
        """The mean of |k|^2 while the wave vectors turn."""
        grid, strain = self.grid, self.shear * dt
        return grid.k_squared - strain * grid.kx * grid.ky + (strain * grid.kx) ** 2 / 3

    def carry(self, dt: float) -> None:
        """Move the grid with the mean flow."""
        self.grid.shear(self.shear * (self.time + dt) - self._turns())

    def _turns(self) -> int:
        """How often the grid was sheared back until now."""
        return math.floor(self.shear * self.time + FURTHEST + 1e-9)

    def _tendency(self, modes: Tensor) -> tuple[Tensor, float, float]:
        grid = self.grid
        modes = grid.project(modes)  # wave vectors may have turned since
        tendency, fastest, power = super()._tendency(modes)
        # Keeps the velocity normal to the wave vectors as they turn; the other half of the rapid pressure.
        along = self.shear * grid.kx * modes[1] * grid.inverse_k_squared
        return tendency + torch.stack((grid.kx * along, grid.ky * along, grid.kz * along)), fastest, power


class Production:
    """The work of the mean shear, ``- S v`` along x."""

    def __init__(self, shear: float) -> None:
        self.shear = shear

    def __call__(self, modes: Complex[Tensor, "component kz ky kx"]) -> Complex[Tensor, "component kz ky kx"]:
        """``- S v`` along x."""
        force = torch.zeros_like(modes)
        force[0] = -self.shear * modes[1]
        return force


class ShearedSimulation(PeriodicSimulation):
    """See [`Simulation`][training.runs.Simulation]. Option: ``shear``, the mean velocity gradient S.

    Snapshots have the mean velocity, too, and open ends along y.

    Raises:
        ValueError: for snapshots at other times than multiples of ``1 / S``, or several frames.
    """

    usual: ClassVar = {"shear": 2.0}

    def __init__(self, recipe: Recipe, device: str, state: dict[str, Any] | None = None) -> None:
        shear = {**self.usual, **recipe.options}["shear"]
        for name, time in (("interval", recipe.interval), ("spin-up + settle", recipe.spin_up + recipe.settle)):
            if abs(shear * time - round(shear * time)) > 1e-6:  # noqa: PLR2004
                message = f"{name}: {time:g}; expected a multiple of 1 / shear = {1 / shear:g}"
                raise ValueError(message)
        if recipe.frames > 1:
            message = f"frames: {recipe.frames}; expected 1 in a sheared flow"
            raise ValueError(message)
        super().__init__(recipe, device, state)

    def flow(self, grid: Grid, modes: Tensor, time: float) -> Flow:
        """Driven by the shear alone."""
        return ShearedFlow(grid, modes, shear=self.options["shear"], nu=viscosity(grid.n), time=time)

    def velocity(self) -> Tensor:
        """Fluctuations and mean, zero in the middle."""
        velocity = super().velocity()
        points = velocity.shape[-2]
        y = torch.arange(points, device=velocity.device, dtype=velocity.dtype) * (2 * math.pi / points) - math.pi
        velocity[0] += self.options["shear"] * y[:, None]
        return velocity

    def more(self, flow: Flow) -> Record:
        """The shear stress ``<u v> / <u.u>``, and production over dissipation."""
        modes = flow.modes
        stress = flow.grid.inner(modes[:1], modes[1:2])
        return {"stress": stress / (2 * flow.energy()), "production": flow.power() / flow.dissipation()}

    def known(self, records: list[Record]) -> list[Known]:
        """The stress as in a wind tunnel, and a balance on average."""
        source = "Tavoularis & Corrsin, J. Fluid Mech. 104, 1981"
        production = sum(record["production"] * record["dissipation"] for record in records)
        balance = production / sum(record["dissipation"] for record in records)
        return [
            Known("<u v> / <u.u>", mean_of(records, "stress"), -0.14, 0.04, source),
            Known("production over dissipation", balance, 1.0, 0.25, "a stationary flow"),
        ]

    def description(self) -> dict[str, Any]:
        """Open along y."""
        return {**super().description(), "boundary": ("periodic", "open", "periodic")}
