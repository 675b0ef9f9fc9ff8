"""Forced turbulence in a stably stratified box (Boussinesq), with gravity along -z.

The buoyancy is ``N b``, so that b is a velocity and ``(u.u + b b) / 2`` is the energy:
``dw/dt = ... + N b``, ``db/dt = ... - N w``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from training.flows.isotropic import Forcing, viscosity
from training.flows.known import Known
from training.flows.periodic import Flow
from training.flows.periodic_grid import random_modes
from training.flows.periodic_simulation import PeriodicSimulation, mean_of

if TYPE_CHECKING:
    from jaxtyping import Complex
    from torch import Tensor

    from training.flows.periodic_grid import Grid
    from training.runs import Record


class Buoyancy:
    """Exchange between velocity and buoyancy; it does no work in total."""

    def __init__(self, frequency: float) -> None:
        self.frequency = frequency

    def __call__(self, modes: Complex[Tensor, "component kz ky kx"]) -> Complex[Tensor, "component kz ky kx"]:
        """``N b`` along z, and ``-N w`` on b."""
        force = torch.zeros_like(modes)
        force[2], force[3] = self.frequency * modes[3], -self.frequency * modes[2]
        return force


class StratifiedSimulation(PeriodicSimulation):
    """See [`Simulation`][training.runs.Simulation]. Option: ``frequency``, that of Brunt and Vaisala, N."""

    usual: ClassVar = {"frequency": 1.0}

    def start(self, grid: Grid) -> Tensor:
        """Random velocity, and no buoyancy."""
        velocity = random_modes(grid, self.seed)
        return torch.cat((velocity, torch.zeros_like(velocity[:1])))

    def flow(self, grid: Grid, modes: Tensor, time: float) -> Flow:
        """Forced at a power of one, except for modes that vary only along z or not along z: they would only grow."""
        among = (grid.kz != 0) & (grid.kx**2 + grid.ky**2 > 0)
        frequency = self.options["frequency"]
        terms = Forcing(grid, among=among), Buoyancy(frequency)
        return Flow(grid, modes, nu=viscosity(grid.n), terms=terms, frequency=frequency, time=time)

    def more(self, flow: Flow) -> Record:
        """Froude number ``eps / (N u'^2)``, and the dissipation of potential over that of kinetic energy."""
        density = flow.grid.energy_density(flow.modes[:3])
        kinetic = 2 * flow.nu * float((flow.grid.k_squared * density).sum())
        return {
            "froude": kinetic / (self.options["frequency"] * 2 * float(density.sum()) / 3),
            "mixing": flow.dissipation() / kinetic - 1,
        }

    def known(self, records: list[Record]) -> list[Known]:
        """The mixing coefficient."""
        source = "Maffioli et al., J. Fluid Mech. 794, 2016"
        return [Known("mixing coefficient", mean_of(records, "mixing"), 0.4, 0.2, source)]
