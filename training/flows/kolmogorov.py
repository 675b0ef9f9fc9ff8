"""Kolmogorov flow: a steady force ``cos z`` along x drives a turbulent mean flow ``U cos z``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from training.flows.isotropic import viscosity
from training.flows.known import Known
from training.flows.periodic import Flow
from training.flows.periodic_simulation import PeriodicSimulation, mean_of

if TYPE_CHECKING:
    from jaxtyping import Complex
    from torch import Tensor

    from training.flows.periodic_grid import Grid
    from training.runs import Record


def steady_force(modes: Complex[Tensor, "component kz ky kx"]) -> Complex[Tensor, "component kz ky kx"]:
    """``cos z`` along x: half in the mode kz = 1, half in its conjugate."""
    force = torch.zeros_like(modes)
    force[0, 1, 0, 0] = force[0, -1, 0, 0] = 1 / 2
    return force


class KolmogorovSimulation(PeriodicSimulation):
    """See [`Simulation`][training.runs.Simulation]."""

    def flow(self, grid: Grid, modes: Tensor, time: float) -> Flow:
        """Driven by the steady force alone."""
        return Flow(grid, modes, nu=viscosity(grid.n), terms=(steady_force,), time=time)

    def more(self, flow: Flow) -> Record:
        """Amplitudes U of the mean flow and S of its turbulent stress, ``<u w> = S sin z``."""
        u, _, w = flow.velocity()
        z = torch.arange(flow.grid.n, device=u.device, dtype=u.dtype) * flow.grid.spacing
        stress = 2 * ((u * w).mean(dim=(1, 2)) * torch.sin(z)).mean()
        return {"amplitude": 2 * float(flow.modes[0, 1, 0, 0].real), "stress": float(stress)}

    def known(self, records: list[Record]) -> list[Known]:
        """The mean balance ``1 = S + nu U``, and the friction factor ``1 / U^2 = 0.124 + 5.75 nu / U``."""
        amplitude, nu = mean_of(records, "amplitude"), viscosity(self.recipe.n)
        friction = 0.124 + 5.75 * nu / amplitude
        source = "Musacchio & Boffetta, Phys. Rev. E 89, 2014"
        return [
            Known("stress over force", mean_of(records, "stress") + nu * amplitude, 1.0, 0.1, "momentum balance"),
            Known("friction factor", 1 / amplitude**2, friction, 0.3 * friction, source),
        ]
