"""The pseudo-spectral solver of all flows in a periodic box.

``du/dt = u x omega - grad p + nu laplace u + terms``, ``div u = 0``; further components are scalars that the flow
carries, ``db/dt = -div(u b) + nu laplace b + terms`` (Prandtl number 1). Time steps are Heun's (RK2) with viscosity
integrated exactly. A flow is defined by its initial condition, its viscosity and its terms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jaxtyping import Complex, Float
    from torch import Tensor

    from training.flows.periodic_grid import Grid

    # From coefficients to the viscosity of each mode.
    Closure = Callable[[Tensor], Tensor]

CFL = 0.5
PHASE = 0.1
"""Largest angle of an oscillation in a time step: Heun's method amplifies it by ``PHASE^4 / 8`` each time."""
ROUND_OFF = 1e-9
"""Of a step that ends at a given time, relative to its length."""


class Term(Protocol):
    """A term that a flow adds to the equations; the solver removes its gradient part."""

    def __call__(self, modes: Complex[Tensor, "component kz ky kx"]) -> Complex[Tensor, "component kz ky kx"]:
        """Coefficients of the term in the time derivative."""


@dataclass
class Budget:
    """Energy budget since a start: initial energy, energy injected by the terms, and energy dissipated."""

    start: float | None = None
    injected: float = 0.0
    dissipated: float = 0.0

    def residual(self, energy: float) -> float:
        """(change of energy - injected + dissipated) / dissipated."""
        if self.start is None or self.dissipated == 0:
            return 0.0
        return (energy - self.start - self.injected + self.dissipated) / self.dissipated


class Flow:
    """A periodic box that can be stepped forward in time.

    Args:
        grid: the grid.
        modes: coefficients of the solenoidal velocity, and of scalars if there are any.
        nu: viscosity, also the diffusivity of scalars.
        terms: terms that are added to the equations.
        closure: adds a viscosity to each mode, as a model of unresolved scales.
        frequency: the largest one, in radians, of oscillations by the terms.
        cfl: the largest ``dt max |u_i| / dx``.
        time: of the start.
    """

    def __init__(
        self,
        grid: Grid,
        modes: Complex[Tensor, "component kz ky kx"],
        *,
        nu: float,
        terms: Sequence[Term] = (),
        closure: Closure | None = None,
        frequency: float = 0.0,
        cfl: float = CFL,
        time: float = 0.0,
    ) -> None:
        self.grid, self.modes, self.nu = grid, modes, nu
        self.terms, self.closure, self.frequency, self.cfl = terms, closure, frequency, cfl
        self.time, self.steps = time, 0
        self.budget = Budget()

    def velocity(self) -> Float[Tensor, "3 z y x"]:
        """Return the velocity on the points."""
        return self.grid.to_physical(self.modes[:3])

    def energy(self) -> float:
        """``<u.u> / 2``, plus the same of scalars."""
        return float(self.grid.energy_density(self.modes).sum())

    def dissipation(self) -> float:
        """``nu <omega.omega>``, plus the same of scalars."""
        density = self.grid.energy_density(self.modes)
        return 2 * float((self.viscosity() * self.grid.k_squared * density).sum())

    def power(self) -> float:
        """The work of all terms, ``<u.f>``."""
        return sum(self.grid.inner(self.modes, term(self.modes)) for term in self.terms)

    def viscosity(self) -> Tensor | float:
        """Viscosity of each mode."""
        return self.nu if self.closure is None else self.nu + self.closure(self.modes)

    def step(self, until: float = math.inf, *, dt: float | None = None) -> float:
        """Advance by one time step and return it.

        Args:
            until: the step ends at this time at the latest.
            dt: a fixed step instead of ``cfl dx / max |u_i|``, or less to resolve oscillations.

        Raises:
            FloatingPointError: if the flow is no longer finite.
        """
        first, fastest, power = self._tendency(self.modes)
        if not math.isfinite(fastest):
            message = f"the flow is no longer finite at t = {self.time:.4f}"
            raise FloatingPointError(message)
        if dt is None:
            dt = min(self.cfl * self.grid.spacing / max(fastest, 1e-12), PHASE / max(self.frequency, 1e-12))
        rest = until - self.time
        dt = dt if dt < (1 - ROUND_OFF) * rest else rest
        before = self.dissipation()
        if self.budget.start is None:
            self.budget.start = self.energy()
        decay = torch.exp(-dt * self.viscosity() * self.mean_square(dt))
        guess = (self.modes + dt * first) * decay
        self.carry(dt)
        second, _, power_then = self._tendency(guess)
        modes = (self.modes + (dt / 2) * first) * decay + (dt / 2) * second
        # Otherwise forcing would amplify round-off that is not solenoidal or not real.
        self.modes = self.grid.symmetrise(self.grid.project(modes))
        self.time = until if dt == rest else self.time + dt
        self.steps += 1
        self.budget.injected += (power + power_then) / 2 * dt
        self.budget.dissipated += (before + self.dissipation()) / 2 * dt
        return dt

    def mean_square(self, dt: float) -> Tensor:  # noqa: ARG002
        """The mean of |k|^2 in a time step, which a mean flow may change."""
        return self.grid.k_squared

    def carry(self, dt: float) -> None:
        """Move the grid with the mean flow, if there is one."""

    def _tendency(self, modes: Tensor) -> tuple[Tensor, float, float]:
        """Everything but viscosity, the largest velocity component, and the work of the terms."""
        grid = self.grid
        u, v, w = velocity = grid.to_physical(modes[:3])
        a, b, c = grid.to_physical(grid.curl(modes))
        fastest = max(float(velocity.max()), -float(velocity.min()))
        lamb = torch.empty_like(velocity)
        torch.mul(v, c, out=lamb[0]).addcmul_(w, b, value=-1)
        torch.mul(w, a, out=lamb[1]).addcmul_(u, c, value=-1)
        torch.mul(u, b, out=lamb[2]).addcmul_(v, a, value=-1)
        carried = [
            -grid.divergence(grid.to_spectral(velocity * grid.to_physical(scalar)))[None] for scalar in modes[3:]
        ]
        tendency = torch.cat((grid.to_spectral(lamb), *carried))
        tendency[:, 0, 0, 0] = 0  # momentum is conserved; the rest is round-off
        power = 0.0
        for term in self.terms:
            added = term(modes)
            power += grid.inner(modes, added)
            tendency = tendency + added
        return grid.project(tendency), fastest, power


@dataclass(frozen=True)
class Statistics:
    """Statistics of a snapshot. Lengths are in units of box / 2 pi."""

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
    """Measure the velocity of a flow. With a closure, ``nu`` is the viscosity with the same dissipation."""
    grid, velocity = flow.grid, flow.modes[:3]
    density = grid.energy_density(velocity)
    energy, enstrophy = float(density.sum()), float((grid.k_squared * density).sum())
    dissipation = 2 * float((flow.viscosity() * grid.k_squared * density).sum())
    nu = dissipation / (2 * enstrophy)
    derivatives = [1j * k * c for k, c in zip((grid.kx, grid.ky, grid.kz), velocity, strict=True)]
    gradients = grid.to_physical(torch.stack(derivatives)).double()
    second = gradients.square().mean(dim=(-3, -2, -1))
    third = gradients.pow(3).mean(dim=(-3, -2, -1))
    fourth = gradients.pow(4).mean(dim=(-3, -2, -1))
    # <|grad u|^2> equals <omega^2> in a periodic box, twice the enstrophy.
    divergence = grid.weight * torch.view_as_real(grid.divergence(velocity)).square().sum(dim=-1)
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
        budget=flow.budget.residual(flow.energy()),
    )
