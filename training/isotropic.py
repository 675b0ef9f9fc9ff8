"""Forced isotropic turbulence in a periodic box of side 2 pi, pseudo-spectral, on a CPU or a GPU.

``du/dt = u x omega - grad p + nu laplace u + f``, ``div u = 0``, with ``f = eps0 / (2 E_low) u``
for ``0 < |k| <= 2.5``, so that the forcing injects exactly ``eps0``. Time steps are Heun's (RK2)
with the viscous term exact. Products are dealiased by the 2/3 rule: modes with ``|k_i| < n / 3``
for every axis are kept, and nothing else is ever stored, which makes the transforms pruned ones.

Velocities are ``(3, z, y, x)`` with components ``(u, v, w)`` along ``(x, y, z)``. Coefficients are
``(3, kz, ky, kx)`` with ``u(x) = sum_k c(k) exp(i k.x)``: along z and y ``0..K, -K..-1``, along x
``0..K`` (the other half is the complex conjugate).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Complex, Float
    from torch import Tensor

FORCED_WAVENUMBER = 2.5
CFL = 0.5
RESOLUTION = 1.4
"""k_max times the Kolmogorov length that ``viscosity`` aims at."""


def viscosity(n: int, dissipation: float = 1.0) -> float:
    """Viscosity at which an n^3 box has ``k_max eta = 1.4``, where ``k_max = n / 3``."""
    return math.pow(dissipation * (RESOLUTION / (n / 3)) ** 4, 1 / 3)


class Grid:
    """The n^3 points of the box, the modes kept on it, and the way from one to the other."""

    def __init__(self, n: int, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        """Make the grid.

        Raises:
            ValueError: if n is too small to hold the forced modes.
        """
        if n < 12:  # noqa: PLR2004
            message = f"n is {n}, but a box needs 12 points a side to hold the forced modes"
            raise ValueError(message)
        self.n = n
        self.cutoff = (n - 1) // 3
        self.device = torch.device(device)
        self.dtype = dtype
        full = torch.arange(-self.cutoff, self.cutoff + 1, device=device, dtype=dtype)
        full = torch.roll(full, -self.cutoff)
        self.kx = full[None, None, : self.cutoff + 1]
        self.ky = full[None, :, None]
        self.kz = full[:, None, None]
        self.k_squared = self.kx**2 + self.ky**2 + self.kz**2
        """|k|^2, shape (kz, ky, kx)."""
        self.inverse_k_squared = 1 / self.k_squared.clamp(min=1)
        self.weight = torch.where(self.kx > 0, 2.0, 1.0).to(dtype)
        """How often a stored mode counts: twice when its conjugate is left out."""
        self.forced = (self.k_squared > 0) & (self.k_squared <= FORCED_WAVENUMBER**2)
        self.low = round(math.floor(FORCED_WAVENUMBER))

    @property
    def spacing(self) -> float:
        """Distance between points."""
        return 2 * math.pi / self.n

    def to_physical(self, modes: Complex[Tensor, "... kz ky kx"]) -> Float[Tensor, "... z y x"]:
        """Values on the points; each axis is padded only when its turn comes."""
        values = torch.fft.ifft(self._pad(modes, -3), dim=-3, norm="forward")
        values = torch.fft.ifft(self._pad(values, -2), dim=-2, norm="forward")
        result: Tensor = torch.fft.irfft(values, n=self.n, dim=-1, norm="forward")
        return result

    def to_spectral(self, values: Float[Tensor, "... z y x"]) -> Complex[Tensor, "... kz ky kx"]:
        """Coefficients of the kept modes; each axis is cut as soon as it is transformed."""
        modes = torch.fft.rfft(values, dim=-1, norm="forward")[..., : self.cutoff + 1]
        modes = self._cut(torch.fft.fft(modes, dim=-2, norm="forward"), -2)
        return self._cut(torch.fft.fft(modes, dim=-3, norm="forward"), -3)

    def _pad(self, modes: Tensor, dim: int) -> Tensor:
        shape = list(modes.shape)
        shape[dim] = self.n - modes.shape[dim]
        zeros = modes.new_zeros(shape)
        positive = modes.narrow(dim, 0, self.cutoff + 1)
        negative = modes.narrow(dim, self.cutoff + 1, self.cutoff)
        return torch.cat((positive, zeros, negative), dim)

    def _cut(self, modes: Tensor, dim: int) -> Tensor:
        positive = modes.narrow(dim, 0, self.cutoff + 1)
        negative = modes.narrow(dim, self.n - self.cutoff, self.cutoff)
        return torch.cat((positive, negative), dim)

    def project(self, modes: Complex[Tensor, "3 kz ky kx"]) -> Complex[Tensor, "3 kz ky kx"]:
        """Take the gradient part away; the mean stays."""
        u, v, w = modes
        pressure = (self.kx * u + self.ky * v + self.kz * w) * self.inverse_k_squared
        return torch.stack((u - self.kx * pressure, v - self.ky * pressure, w - self.kz * pressure))

    def symmetrise(self, modes: Complex[Tensor, "3 kz ky kx"]) -> Complex[Tensor, "3 kz ky kx"]:
        """Make ``c(-k)`` the conjugate of ``c(k)`` where both are stored, at ``kx = 0``."""
        plane = modes[..., 0]
        mirrored: Tensor = plane.flip((-2, -1)).roll((1, 1), (-2, -1)).conj()
        return torch.cat(((0.5 * (plane + mirrored))[..., None], modes[..., 1:]), dim=-1)

    def curl(self, modes: Complex[Tensor, "3 kz ky kx"]) -> Complex[Tensor, "3 kz ky kx"]:
        """Coefficients of the vorticity."""
        u, v, w = modes
        rotated = torch.stack((self.ky * w - self.kz * v, self.kz * u - self.kx * w, self.kx * v - self.ky * u))
        return rotated * 1j

    def divergence(self, modes: Complex[Tensor, "3 kz ky kx"]) -> Complex[Tensor, "kz ky kx"]:
        """Coefficients of the divergence."""
        u, v, w = modes
        divergence: Tensor = 1j * (self.kx * u + self.ky * v + self.kz * w)
        return divergence

    def energy_density(self, modes: Complex[Tensor, "3 kz ky kx"]) -> Float[Tensor, "kz ky kx"]:
        """Kinetic energy that each stored mode stands for; the sum is ``<u.u> / 2``."""
        parts = modes.real.square() + modes.imag.square()
        return 0.5 * self.weight * (parts[0] + parts[1] + parts[2])

    def shells(self, density: Float[Tensor, "kz ky kx"]) -> Float[Tensor, " shell"]:
        """Sum a density over shells ``|k|`` rounded to an integer: E(k) for k = 0, 1, 2 ..."""
        shell = self.k_squared.sqrt().round().long().flatten()
        total = torch.zeros(int(shell.max()) + 1, dtype=torch.float64, device=self.device)
        return total.index_add_(0, shell, density.flatten().double())


def refine(modes: Complex[Tensor, "3 kz ky kx"], coarse: Grid, fine: Grid) -> Complex[Tensor, "3 kz2 ky2 kx2"]:
    """Put the same field on a finer grid: the new modes are zero."""
    if fine.cutoff < coarse.cutoff:
        message = f"cannot refine from n = {coarse.n} to n = {fine.n}"
        raise ValueError(message)
    size, k = 2 * fine.cutoff + 1, coarse.cutoff
    out = modes.new_zeros((3, size, size, fine.cutoff + 1))
    kept = torch.cat((torch.arange(k + 1), torch.arange(size - k, size))).to(modes.device)
    out[:, kept[:, None], kept[None, :], : k + 1] = modes
    return out


def random_modes(grid: Grid, seed: int, *, energy: float = 2.0, peak: float = 2.0) -> Complex[Tensor, "3 kz ky kx"]:
    """Random solenoidal field with ``E(k) ~ k^4 exp(-2 (k / peak)^2)`` and the given energy.

    The noise is drawn on the CPU in float64, so that a seed means the same field on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((3, grid.n, grid.n, grid.n), generator=generator, dtype=torch.float64)
    modes = grid.project(grid.to_spectral(noise.to(device=grid.device, dtype=grid.dtype)))
    found = grid.shells(grid.energy_density(modes))
    k = torch.arange(len(found), dtype=torch.float64, device=grid.device)
    wanted = k**4 * torch.exp(-2 * (k / peak) ** 2)
    wanted = energy * wanted / wanted.sum()
    gain = (wanted / found.clamp(min=torch.finfo(torch.float64).tiny)).sqrt()
    gain[0] = 0
    return modes * gain.to(grid.dtype)[grid.k_squared.sqrt().round().long()]


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
