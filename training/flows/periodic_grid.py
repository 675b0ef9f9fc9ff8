"""The grid of a periodic box of side 2 pi: points, the modes kept on them, and random fields.

Products are dealiased by the 2/3 rule: modes with ``|k_i| < n / 3`` for every axis are kept, and nothing else is ever
stored, which makes the transforms pruned ones.

Velocities are ``(3, z, y, x)`` with components ``(u, v, w)`` along ``(x, y, z)``. Coefficients are
``(3, kz, ky, kx)`` with ``u(x) = sum_k c(k) exp(i k.x)``: along z and y ``0..K, -K..-1``, along x
``0..K`` (the other half is the complex conjugate).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Complex, Float
    from torch import Tensor

FEWEST = 12
"""Points along each axis that hold wavenumbers up to 3."""


class Grid:
    """The n^3 points of the box, the modes kept on it, and the transforms between them."""

    def __init__(self, n: int, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        """Make the grid.

        Raises:
            ValueError: if n is too small to hold large eddies.
        """
        if n < FEWEST:
            message = f"n is {n}, but a box needs {FEWEST} points a side to hold large eddies"
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
        self._square()
        self.weight = torch.where(self.kx > 0, 2.0, 1.0).to(dtype)
        """How often a stored mode counts: twice when its conjugate is left out."""

    def _square(self) -> None:
        self.k_squared = self.kx**2 + self.ky**2 + self.kz**2
        """|k|^2, shape (kz, ky, kx)."""
        self.inverse_k_squared = 1 / self.k_squared.clamp(min=1)

    @property
    def spacing(self) -> float:
        """Distance between points."""
        return 2 * math.pi / self.n

    @property
    def fewest(self) -> int:
        """Points along each axis that just hold the modes, a multiple of 4."""
        return 4 * (self.cutoff // 2 + 1)

    def to_physical(
        self, modes: Complex[Tensor, "... kz ky kx"], points: int | None = None
    ) -> Float[Tensor, "... z y x"]:
        """Values on n, or another number of, points along each axis, which is padded only when it is transformed."""
        points = points or self.n
        values = torch.fft.ifft(self._pad(modes, -3, points), dim=-3, norm="forward")
        values = torch.fft.ifft(self._pad(values, -2, points), dim=-2, norm="forward")
        result: Tensor = torch.fft.irfft(values, n=points, dim=-1, norm="forward")
        return result

    def to_spectral(self, values: Float[Tensor, "... z y x"]) -> Complex[Tensor, "... kz ky kx"]:
        """Coefficients of the kept modes; each axis is cut as soon as it is transformed."""
        modes = torch.fft.rfft(values, dim=-1, norm="forward")[..., : self.cutoff + 1]
        modes = self._cut(torch.fft.fft(modes, dim=-2, norm="forward"), -2)
        return self._cut(torch.fft.fft(modes, dim=-3, norm="forward"), -3)

    def _pad(self, modes: Tensor, dim: int, points: int) -> Tensor:
        shape = list(modes.shape)
        shape[dim] = points - modes.shape[dim]
        zeros = modes.new_zeros(shape)
        positive = modes.narrow(dim, 0, self.cutoff + 1)
        negative = modes.narrow(dim, self.cutoff + 1, self.cutoff)
        return torch.cat((positive, zeros, negative), dim)

    def _cut(self, modes: Tensor, dim: int) -> Tensor:
        positive = modes.narrow(dim, 0, self.cutoff + 1)
        negative = modes.narrow(dim, self.n - self.cutoff, self.cutoff)
        return torch.cat((positive, negative), dim)

    def project(self, modes: Complex[Tensor, "component kz ky kx"]) -> Complex[Tensor, "component kz ky kx"]:
        """Remove the gradient part of the velocity; the mean and further components stay."""
        u, v, w, *scalars = modes
        pressure = (self.kx * u + self.ky * v + self.kz * w) * self.inverse_k_squared
        return torch.stack((u - self.kx * pressure, v - self.ky * pressure, w - self.kz * pressure, *scalars))

    def symmetrise(self, modes: Complex[Tensor, "component kz ky kx"]) -> Complex[Tensor, "component kz ky kx"]:
        """Make ``c(-k)`` the conjugate of ``c(k)`` where both are stored, at ``kx = 0``."""
        plane = modes[..., 0]
        mirrored: Tensor = plane.flip((-2, -1)).roll((1, 1), (-2, -1)).conj()
        return torch.cat(((0.5 * (plane + mirrored))[..., None], modes[..., 1:]), dim=-1)

    def curl(self, modes: Complex[Tensor, "component kz ky kx"]) -> Complex[Tensor, "3 kz ky kx"]:
        """Coefficients of the vorticity."""
        u, v, w = modes[:3]
        rotated = torch.stack((self.ky * w - self.kz * v, self.kz * u - self.kx * w, self.kx * v - self.ky * u))
        return rotated * 1j

    def divergence(self, modes: Complex[Tensor, "3 kz ky kx"]) -> Complex[Tensor, "kz ky kx"]:
        """Coefficients of the divergence."""
        u, v, w = modes
        divergence: Tensor = 1j * (self.kx * u + self.ky * v + self.kz * w)
        return divergence

    def energy_density(self, modes: Complex[Tensor, "component kz ky kx"]) -> Float[Tensor, "kz ky kx"]:
        """Energy that each stored mode stands for; the sum is ``<u.u> / 2`` over the components."""
        parts = modes.real.square() + modes.imag.square()
        return 0.5 * self.weight * parts.sum(dim=0)

    def inner(self, a: Complex[Tensor, "component kz ky kx"], b: Complex[Tensor, "component kz ky kx"]) -> float:
        """Mean of ``a.b`` over the box."""
        product = (torch.view_as_real(a) * torch.view_as_real(b)).sum(dim=(0, -1))
        return float((self.weight * product).sum())

    def shells(self, density: Float[Tensor, "kz ky kx"]) -> Float[Tensor, " shell"]:
        """Sum a density over shells ``|k|`` rounded to an integer: E(k) for k = 0, 1, 2 ..."""
        shell = self.k_squared.sqrt().round().long().flatten()
        total = torch.zeros(int(shell.max()) + 1, dtype=torch.float64, device=self.device)
        return total.index_add_(0, shell, density.flatten().double())


def refine(
    modes: Complex[Tensor, "component kz ky kx"], coarse: Grid, fine: Grid
) -> Complex[Tensor, "component kz2 ky2 kx2"]:
    """Put the same field on a finer grid: the new modes are zero."""
    if fine.cutoff < coarse.cutoff:
        message = f"cannot refine from n = {coarse.n} to n = {fine.n}"
        raise ValueError(message)
    size, k = 2 * fine.cutoff + 1, coarse.cutoff
    out = modes.new_zeros((len(modes), size, size, fine.cutoff + 1))
    kept = torch.cat((torch.arange(k + 1), torch.arange(size - k, size))).to(modes.device)
    out[:, kept[:, None], kept[None, :], : k + 1] = modes
    return out


def random_modes(
    grid: Grid, seed: int, *, energy: float = 2.0, peak: float = 2.0, power: float = 4.0
) -> Complex[Tensor, "3 kz ky kx"]:
    """Random solenoidal field with ``E(k) ~ k^power exp(-power / 2 (k / peak)^2)`` and the given energy.

    The noise is drawn on the CPU in float64, so that a seed means the same field on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((3, grid.n, grid.n, grid.n), generator=generator, dtype=torch.float64)
    modes = grid.project(grid.to_spectral(noise.to(device=grid.device, dtype=grid.dtype)))
    found = grid.shells(grid.energy_density(modes))
    k = torch.arange(len(found), dtype=torch.float64, device=grid.device)
    wanted = k**power * torch.exp(-power / 2 * (k / peak) ** 2)
    wanted = energy * wanted / wanted.sum()
    gain = (wanted / found.clamp(min=torch.finfo(torch.float64).tiny)).sqrt()
    gain[0] = 0
    return modes * gain.to(grid.dtype)[grid.k_squared.sqrt().round().long()]
