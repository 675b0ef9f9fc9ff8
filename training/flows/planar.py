"""Decaying turbulence in a periodic plane, many runs at once.

``dw/dt + u . grad w = nu laplace w`` for the vorticity w, with ``u = (d psi/dy, -d psi/dx)`` and ``laplace psi = -w``,
by Fourier modes. Products are dealiased by the 2/3 rule. Viscosity and the mean velocity are integrated exactly, and
the rest by RK4 (Canuto et al., Spectral Methods, 2007, D.2.5), so that the solver has every symmetry of the equation:
shifts by any distance, quarter turns, boosts, and ``u -> a u(a x, a^2 t)``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

PEAK = 4.0
"""Wavenumber of a random start with the most energy."""


class Planar:
    """Runs of one grid, stepped together.

    Args:
        vorticity: (run, y, x), without a mean; modes beyond a third of the points are cut off.
        nu: viscosity.
        length: edge of the square.
        mean: mean velocity (u, v), (run, 2); zero unless it is given.
    """

    def __init__(
        self,
        vorticity: Float[Tensor, "run n n"],
        nu: float,
        length: float = 2 * math.pi,
        mean: Float[Tensor, "run 2"] | None = None,
    ) -> None:
        runs, _, n = vorticity.shape
        self.n, self.nu = n, nu
        self.mean = vorticity.new_zeros(runs, 2) if mean is None else mean
        k = torch.fft.fftfreq(n, 1 / n, dtype=vorticity.dtype)
        self._kept = (k.abs()[:, None] < n / 3) & (k.abs()[: n // 2 + 1] < n / 3)
        unit = 2 * math.pi / length
        self._kx, self._ky = unit * k[: n // 2 + 1].abs(), unit * k[:, None]
        self._k_squared = self._kx**2 + self._ky**2
        self.modes: Complex[Tensor, "run ky kx"] = torch.fft.rfft2(vorticity) * self._kept
        self.modes[:, 0, 0] = 0

    def velocity(self) -> Float[Tensor, "run 2 n n"]:
        """Velocity (u, v), the mean with it."""
        return self._relative_velocity(self.modes) + self.mean[:, :, None, None]

    def step(self, dt: float) -> None:
        """Advance by one time step."""
        u, v = self.mean[:, :, None, None].unbind(dim=1)
        half = torch.exp(-dt / 2 * (self.nu * self._k_squared + 1j * (self._kx * u + self._ky * v)))
        start = half * self.modes
        first = half * self._advection(self.modes)
        second = self._advection(start + dt / 2 * first)
        third = self._advection(start + dt / 2 * second)
        fourth = self._advection(half * (start + dt * third))
        self.modes = half * (start + dt / 6 * (first + 2 * (second + third))) + dt / 6 * fourth

    def _advection(self, modes: Tensor) -> Tensor:
        """``-u . grad w`` without the mean velocity."""
        u, v = self._relative_velocity(modes).unbind(dim=1)
        along_x, along_y = (torch.fft.irfft2(1j * k * modes, s=(self.n, self.n)) for k in (self._kx, self._ky))
        advection: Tensor = -torch.fft.rfft2(u * along_x + v * along_y) * self._kept
        return advection

    def _relative_velocity(self, modes: Tensor) -> Tensor:
        stream = modes / self._k_squared.clamp(min=self._k_squared[0, 1] / 2)
        velocity = torch.stack((1j * self._ky * stream, -1j * self._kx * stream), dim=1)
        values: Tensor = torch.fft.irfft2(velocity, s=(self.n, self.n))
        return values


def random_vorticity(runs: int, n: int, seed: int) -> Float[Tensor, "run n n"]:
    """Random vorticity in a square of edge 2 pi; each component of velocity has rms 1.

    The spectrum is ``E(k) ~ k^4 exp(-2 (k / PEAK)^2)``.

    Args:
        runs: how many.
        n: points a side.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((runs, n, n), generator=generator, dtype=torch.float64)
    k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    k = (k[:, None] ** 2 + k[: n // 2 + 1] ** 2).sqrt()
    # Energy goes as |w|^2 / k^2 in a shell of k modes.
    flow = Planar(torch.fft.irfft2(torch.fft.rfft2(noise) * k**2.5 * torch.exp(-((k / PEAK) ** 2)), s=(n, n)), 0.0)
    vorticity: Tensor = torch.fft.irfft2(flow.modes, s=(n, n))
    found = flow.velocity().square().mean(dim=(1, 2, 3), keepdim=True)[:, 0].sqrt()
    return vorticity / found
