"""Forced isotropic turbulence in a periodic box of side 2 pi, pseudo-spectral, on a CPU or a GPU.

``du/dt = u x omega - grad p + nu laplace u + f``, ``div u = 0``, with ``f = eps0 / (2 E_low) u``
for ``0 < |k| <= 2.5``, so that the forcing injects exactly ``eps0``. Time steps are Heun's (RK2)
with the viscous term exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Complex, Float
    from torch import Tensor

    from training.flows.periodic_grid import Grid

CFL = 0.5
RESOLUTION = 1.4
"""k_max times the Kolmogorov length that ``viscosity`` aims at."""


def viscosity(n: int, dissipation: float = 1.0) -> float:
    """Viscosity at which an n^3 box has ``k_max eta = 1.4``, where ``k_max = n / 3``."""
    return math.pow(dissipation * (RESOLUTION / (n / 3)) ** 4, 1 / 3)


@dataclass
class Budget:
    """Energy since a moment: what was there, and what forcing and viscosity have done to it."""

    start: float | None = None
    injected: float = 0.0
    dissipated: float = 0.0

    def residual(self, energy: float) -> float:
        """(change of energy - injected + dissipated) / dissipated."""
        if self.start is None or self.dissipated == 0:
            return 0.0
        return (energy - self.start - self.injected + self.dissipated) / self.dissipated


class Flow:
    """A box of turbulence that can be stepped forward in time."""

    def __init__(
        self,
        grid: Grid,
        modes: Complex[Tensor, "3 kz ky kx"],
        *,
        nu: float | None = None,
        injection: float = 1.0,
        time: float = 0.0,
    ) -> None:
        """Start from solenoidal coefficients; ``injection`` is eps0, and 0 lets the flow decay."""
        self.grid = grid
        self.modes = modes
        self.nu = viscosity(grid.n) if nu is None else nu
        self.injection = injection
        self.time = time
        self.steps = 0
        self.budget = Budget()

    def velocity(self) -> Float[Tensor, "3 z y x"]:
        """Return the velocity on the points."""
        return self.grid.to_physical(self.modes)

    def energy(self) -> float:
        """``<u.u> / 2``."""
        return float(self.grid.energy_density(self.modes).sum())

    def dissipation(self) -> float:
        """``nu <omega.omega>``."""
        density = self.grid.energy_density(self.modes)
        return 2 * self.nu * float((self.grid.k_squared * density).sum())

    def power(self) -> float:
        """Return what the forcing injects, measured from the force itself: ``<u.f>``."""
        force = self._force(self.modes)
        work = (torch.view_as_real(force) * torch.view_as_real(self.modes)).sum(dim=(0, -1))
        return float((self.grid.weight * work).sum())

    def step(self, limit: float = math.inf, *, dt: float | None = None) -> float:
        """Advance by one time step and return it.

        Args:
            limit: the step is cut to this at most, to land on a moment.
            dt: a fixed step instead of ``0.5 dx / max |u_i|``.

        Raises:
            FloatingPointError: if the flow is no longer finite.
        """
        first, fastest = self._tendency(self.modes)
        if not math.isfinite(fastest):
            message = f"the flow is no longer finite at t = {self.time:.4f}"
            raise FloatingPointError(message)
        if dt is None:
            dt = CFL * self.grid.spacing / max(fastest, 1e-12)
        dt = min(dt, limit)
        before = self.dissipation()
        if self.budget.start is None:
            self.budget.start = self.energy()
        decay = torch.exp(-self.nu * dt * self.grid.k_squared)
        guess = (self.modes + dt * first) * decay
        second, _ = self._tendency(guess)
        modes = (self.modes + (dt / 2) * first) * decay + (dt / 2) * second
        # The forcing would amplify round-off in the parts that no velocity field has.
        self.modes = self.grid.symmetrise(self.grid.project(modes))
        self.time += dt
        self.steps += 1
        self.budget.injected += self.injection * dt
        self.budget.dissipated += (before + self.dissipation()) / 2 * dt
        return dt

    def run(self, until: float) -> None:
        """Advance to a moment, exactly."""
        while self.time < until:
            remaining = until - self.time
            self.step(remaining)
            if until - self.time < 1e-9 * max(1.0, abs(until)):
                self.time = until

    def _force(self, modes: Tensor) -> Tensor:
        forced = modes * self.grid.forced
        if self.injection == 0:
            return torch.zeros_like(forced)
        low = self.grid.energy_density(forced).sum()
        return forced * (self.injection / (2 * low))

    def _tendency(self, modes: Tensor) -> tuple[Tensor, float]:
        """Everything but viscosity, and the largest velocity component."""
        grid = self.grid
        u, v, w = velocity = grid.to_physical(modes)
        a, b, c = grid.to_physical(grid.curl(modes))
        fastest = max(float(velocity.max()), -float(velocity.min()))
        lamb = torch.empty_like(velocity)
        torch.mul(v, c, out=lamb[0]).addcmul_(w, b, value=-1)
        torch.mul(w, a, out=lamb[1]).addcmul_(u, c, value=-1)
        torch.mul(u, b, out=lamb[2]).addcmul_(v, a, value=-1)
        tendency = grid.project(grid.to_spectral(lamb))
        tendency[:, 0, 0, 0] = 0  # momentum is conserved; what is there is round-off
        if self.injection:
            tendency += self._force(modes)
        return tendency, fastest


@dataclass(frozen=True)
class Statistics:
    """What a snapshot is known by. Lengths are in units of box / 2 pi."""

    time: float
    energy: float
    dissipation: float
    enstrophy: float
    reynolds: float
    """Taylor-scale Reynolds number ``u'^2 sqrt(15 / (nu eps))`` with ``u'^2 = 2 E / 3``."""
    resolution: float
    """``k_max eta`` with ``k_max = n / 3``."""
    skewness: float
    """Of du_i/dx_i, the mean over the three."""
    flatness: float
    divergence: float
    """rms of div u over rms of the velocity gradient."""
    budget: float
    """Residual of the energy budget since the start on this grid, over the dissipated energy."""


def statistics(flow: Flow) -> Statistics:
    """Measure a flow."""
    grid, nu = flow.grid, flow.nu
    energy, dissipation = flow.energy(), flow.dissipation()
    derivatives = [1j * k * c for k, c in zip((grid.kx, grid.ky, grid.kz), flow.modes, strict=True)]
    gradients = grid.to_physical(torch.stack(derivatives)).double()
    second = gradients.square().mean(dim=(-3, -2, -1))
    third = gradients.pow(3).mean(dim=(-3, -2, -1))
    fourth = gradients.pow(4).mean(dim=(-3, -2, -1))
    enstrophy = dissipation / (2 * nu)
    # <|grad u|^2> equals <omega^2> in a periodic box, twice the enstrophy.
    divergence = grid.weight * torch.view_as_real(grid.divergence(flow.modes)).square().sum(dim=-1)
    return Statistics(
        time=flow.time,
        energy=energy,
        dissipation=dissipation,
        enstrophy=enstrophy,
        reynolds=(2 * energy / 3) * math.sqrt(15 / (nu * dissipation)),
        resolution=(grid.n / 3) * (nu**3 / dissipation) ** 0.25,
        skewness=float((third / second**1.5).mean()),
        flatness=float((fourth / second**2).mean()),
        divergence=math.sqrt(float(divergence.double().sum()) / (2 * enstrophy)),
        budget=flow.budget.residual(energy),
    )
