"""Forced isotropic turbulence: ``f = eps0 / (2 E_low) u`` for ``0 < |k| <= 2.5``, so that forcing injects exactly eps0.

In the flow ``inertial``, the inertial range extends to the cutoff k_c. There the spectral eddy viscosity of Chollet &
Lesieur (J. Atmos. Sci. 38, 1981) removes the energy,

``nu(k) = 0.267 (1 + 34.5 exp(-3.03 k_c / k)) sqrt(E(k_c) / k_c)``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch

from training.flows.known import Known
from training.flows.periodic import CFL, Flow
from training.flows.periodic_simulation import PeriodicSimulation, mean_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Complex, Float
    from torch import Tensor

    from training.flows.periodic_grid import Grid
    from training.runs import Record

FORCED_WAVENUMBER = 2.5
RESOLUTION = 1.4
CFL_UNDAMPED = 0.4
"""CFL number if viscosity does not damp the smallest eddies, to which RK2 would add energy."""
REYNOLDS = {64: 36, 96: 47, 128: 55}
"""Taylor-scale Reynolds numbers of earlier runs at the default resolution, by points along each axis."""


def viscosity(n: int, resolution: float = RESOLUTION) -> float:
    """Viscosity at which an n^3 box with a dissipation of 1 has this ``k_max eta``, where ``k_max = n / 3``."""
    return math.pow(resolution / (n / 3), 4 / 3)


class Forcing:
    """Drives the large eddies with constant power.

    Args:
        grid: the grid.
        power: energy injected per unit of time.
        among: the modes that may be forced; None for all.
    """

    def __init__(
        self,
        grid: Grid,
        power: float = 1.0,
        among: Bool[Tensor, "kz ky2 kx2"] | None = None,
    ) -> None:
        self.grid, self.power = grid, power
        self.forced = (grid.k_squared > 0) & (grid.k_squared <= FORCED_WAVENUMBER**2)
        if among is not None:
            self.forced = self.forced & among

    def __call__(self, modes: Complex[Tensor, "component kz ky kx"]) -> Complex[Tensor, "component kz ky kx"]:
        """The force; it does not act on scalars."""
        forced = modes * self.forced
        forced[3:] = 0
        return forced * (self.power / (2 * self.grid.energy_density(forced).sum()))


class EddyViscosity:
    """The spectral eddy viscosity at the top of this file."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        wavenumber = grid.k_squared.sqrt()
        self.last_shell = wavenumber.round() == grid.cutoff
        self.shape = 0.267 * (1 + 34.5 * torch.exp(-3.03 * grid.cutoff / wavenumber.clamp(min=1e-6)))

    def __call__(self, modes: Complex[Tensor, "component kz ky kx"]) -> Float[Tensor, "kz ky kx"]:
        """Present viscosity of each mode."""
        energy = self.grid.energy_density(modes[:3])[self.last_shell].sum()
        return self.shape * (energy / self.grid.cutoff).sqrt()


class IsotropicSimulation(PeriodicSimulation):
    """See [`Simulation`][training.runs.Simulation]. Options: ``resolution``, k_max eta at a dissipation of one."""

    usual: ClassVar = {"resolution": RESOLUTION}

    def flow(self, grid: Grid, modes: Tensor, time: float) -> Flow:
        """Forced at a power of one."""
        resolution = self.options["resolution"]
        cfl = CFL if resolution >= 1 else CFL_UNDAMPED
        return Flow(grid, modes, nu=viscosity(grid.n, resolution), terms=(Forcing(grid),), cfl=cfl, time=time)

    def known(self, records: list[Record]) -> list[Known]:
        """Values from earlier runs and the literature."""
        resolution = self.options["resolution"]
        found = [
            Known("dissipation", mean_of(records, "dissipation"), 1.0, 0.15, "what is injected"),
            Known("k_max eta", mean_of(records, "resolution"), resolution, 0.05 * resolution, "the viscosity"),
        ]
        if resolution == RESOLUTION:
            found += [
                Known("skewness of du/dx", mean_of(records, "skewness"), -0.48, 0.06, "earlier runs"),
                Known("flatness of du/dx", mean_of(records, "flatness"), 4.2, 0.4, "earlier runs"),
            ]
        if resolution == RESOLUTION and self.recipe.n in REYNOLDS:
            reynolds = REYNOLDS[self.recipe.n]
            found.append(Known("Re_lambda", mean_of(records, "reynolds"), reynolds, 0.1 * reynolds, "earlier runs"))
        return found


class InertialSimulation(PeriodicSimulation):
    """Isotropic turbulence without molecular viscosity: an inertial range up to the cutoff."""

    def flow(self, grid: Grid, modes: Tensor, time: float) -> Flow:
        """Forced at a power of one, with the eddy viscosity."""
        closure = EddyViscosity(grid)
        return Flow(grid, modes, nu=0.0, terms=(Forcing(grid),), closure=closure, cfl=CFL_UNDAMPED, time=time)

    def more(self, flow: Flow) -> Record:
        """The compensated spectrum ``E(k) k^(5/3) eps^(-2/3)``, averaged from 4 to the cutoff."""
        spectrum = flow.grid.shells(flow.grid.energy_density(flow.modes))[4 : flow.grid.cutoff + 1]
        k = torch.arange(4, flow.grid.cutoff + 1, dtype=spectrum.dtype, device=spectrum.device)
        return {"kolmogorov": float((spectrum * k ** (5 / 3)).mean()) * math.pow(flow.dissipation(), -2 / 3)}

    def known(self, records: list[Record]) -> list[Known]:
        """The dissipation, and Kolmogorov's constant."""
        return [
            Known("dissipation", mean_of(records, "dissipation"), 1.0, 0.15, "what is injected"),
            Known("E k^5/3 eps^-2/3", mean_of(records, "kolmogorov"), 1.6, 0.4, "Sreenivasan, Phys. Fluids 7, 1995"),
        ]
