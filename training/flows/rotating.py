"""Isotropically forced turbulence in a box that rotates about z: ``- 2 Omega e_z x u``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from training.flows.isotropic import Forcing, viscosity
from training.flows.known import Known
from training.flows.periodic import Flow
from training.flows.periodic_simulation import PeriodicSimulation, mean_of

if TYPE_CHECKING:
    from jaxtyping import Complex
    from torch import Tensor

    from training.flows.periodic_grid import Grid
    from training.runs import Record


class Coriolis:
    """The force in a rotating frame; it does no work."""

    def __init__(self, rotation: float) -> None:
        self.rotation = rotation

    def __call__(self, modes: Complex[Tensor, "component kz ky kx"]) -> Complex[Tensor, "component kz ky kx"]:
        """``2 Omega (v, -u, 0)``."""
        force = torch.zeros_like(modes)
        force[0], force[1] = 2 * self.rotation * modes[1], -2 * self.rotation * modes[0]
        return force


class RotatingSimulation(PeriodicSimulation):
    """See [`Simulation`][training.runs.Simulation]. Option: ``rotation``, the angular velocity Omega."""

    usual: ClassVar = {"rotation": 1.0}

    def flow(self, grid: Grid, modes: Tensor, time: float) -> Flow:
        """Forced at a power of one, except for modes that do not vary along z: with rotation they would only grow."""
        terms = Forcing(grid, among=grid.kz != 0), Coriolis(self.options["rotation"])
        frequency = 2 * self.options["rotation"]
        return Flow(grid, modes, nu=viscosity(grid.n), terms=terms, frequency=frequency, time=time)

    def more(self, flow: Flow) -> Record:
        """Rossby number ``eps / (2 Omega u'^2)``, and by how much cyclones are stronger than anticyclones."""
        grid = flow.grid
        vorticity = grid.to_physical(grid.curl(flow.modes)[2]).double()
        square = 2 * float(grid.energy_density(flow.modes).sum()) / 3
        return {
            "rossby": flow.dissipation() / (2 * self.options["rotation"] * square),
            "cyclone_skewness": float(vorticity.pow(3).mean() / vorticity.square().mean() ** 1.5),
        }

    def known(self, records: list[Record]) -> list[Known]:
        """Cyclones are stronger than anticyclones."""
        found = mean_of(records, "cyclone_skewness")
        return [Known("skewness of omega_z", found, 0.8, 0.7, "Morize et al., Phys. Fluids 17, 2005")]
