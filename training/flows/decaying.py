"""Turbulence that decays: from random starts of several spectra, and from the Taylor-Green vortex."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from training.flows.isotropic import viscosity
from training.flows.known import Known
from training.flows.periodic import Flow
from training.flows.periodic_grid import random_modes
from training.flows.periodic_simulation import PeriodicSimulation, mean_of

if TYPE_CHECKING:
    from jaxtyping import Complex
    from torch import Tensor

    from training.flows.periodic_grid import Grid
    from training.runs import Record

SPECTRA = ((2.0, 4.0), (4.0, 4.0), (3.0, 2.0))
"""Peak and power at low wavenumbers of the starts, in turn."""


class DecayingSimulation(PeriodicSimulation):
    """See [`Simulation`][training.runs.Simulation]. Option: ``resolution``, k_max eta at a dissipation of one."""

    usual: ClassVar = {"resolution": 1.4}
    restart_after = 6.0

    def start(self, grid: Grid) -> Tensor:
        """Random modes; restarts take the spectra in turn."""
        peak, power = SPECTRA[self.restarts % len(SPECTRA)]
        return random_modes(grid, self.seed, peak=peak, power=power)

    def flow(self, grid: Grid, modes: Tensor, time: float) -> Flow:
        """Viscosity alone."""
        return Flow(grid, modes, nu=viscosity(grid.n, self.options["resolution"]), time=time)

    def known(self, records: list[Record]) -> list[Known]:
        """The skewness, which developed turbulence keeps while it decays."""
        source = "Sreenivasan & Antonia, Annu. Rev. Fluid Mech. 29, 1997"
        return [Known("skewness of du/dx", mean_of(records, "skewness"), -0.48, 0.08, source)]


def taylor_green(grid: Grid) -> Complex[Tensor, "3 kz ky kx"]:
    """``u = sin x cos y cos z, v = -cos x sin y cos z, w = 0``."""
    axis = torch.arange(grid.n, device=grid.device, dtype=grid.dtype) * grid.spacing
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    u, v = x.sin() * y.cos() * z.cos(), -x.cos() * y.sin() * z.cos()
    return grid.to_spectral(torch.stack((u, v, torch.zeros_like(u))))


class TaylorGreenSimulation(PeriodicSimulation):
    """The vortex through its transition, with a little noise that breaks its symmetries and differs between restarts.

    Option: ``reynolds``, one over the viscosity. Dissipation peaks near t = 6 to 9 (Brachet et al., J. Fluid Mech. 130,
    1983).
    """

    usual: ClassVar = {"reynolds": 400.0}
    restart_after = 16.0
    noise = 0.05
    """Its rms over that of the vortex."""

    def start(self, grid: Grid) -> Tensor:
        """The vortex and noise."""
        vortex = taylor_green(grid)
        energy = self.noise**2 * float(grid.energy_density(vortex).sum())
        return vortex + random_modes(grid, self.seed, energy=energy, peak=3.0)

    def flow(self, grid: Grid, modes: Tensor, time: float) -> Flow:
        """Viscosity alone."""
        return Flow(grid, modes, nu=1 / self.options["reynolds"], time=time)
