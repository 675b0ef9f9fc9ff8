"""The grid of a channel between walls at y = -1 and y = 1: modes along x and z, staggered differences along y.

u, w and p are at the centres of cells, v on their faces. All solves along y, for viscosity and pressure, at every
wavenumber and time step, are done in the eigenvectors of the second difference, found once in float64: two small matrix
products and one division.

Arrays are ``(component, y, z, x)`` and coefficients ``(component, y, kz, kx)`` with the modes along z in the
order ``0..K, -K..-1`` and along x ``0..K``. ``v[j]`` lies on the face below cell j, so ``v[0]`` is at the wall.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Complex, Float
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float64]

LENGTH_X, LENGTH_Z = 1.5 * math.pi, 0.75 * math.pi
STRETCHING = 1.9


class Grid:
    """Points, modes, differences and solves along y.

    Faces are at ``y = tanh(1.9 s) / tanh(1.9)`` for ny + 1 even steps of s from -1 to 1. Points along x and z are
    evenly spaced from 0.

    Args:
        nx, ny, nz: points along each axis.
        length_x, length_z: the periods.
        device: where everything lies.
        dtype: float32 or float64.

    Raises:
        ValueError: if there are fewer than 4 cells along y, or no points along x or z.
    """

    def __init__(
        self,
        nx: int = 96,
        ny: int = 96,
        nz: int = 96,
        *,
        length_x: float = LENGTH_X,
        length_z: float = LENGTH_Z,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if ny < 4 or min(nx, nz) < 1:  # noqa: PLR2004
            message = f"a channel needs 4 cells along y and points along x and z, got {nx}, {ny}, {nz} along x, y, z"
            raise ValueError(message)
        self.nx, self.ny, self.nz = nx, ny, nz
        self.length_x, self.length_z = length_x, length_z
        self.device, self.dtype = torch.device(device), dtype
        self.cut_x, self.cut_z = (nx - 1) // 3, (nz - 1) // 3
        self.modes_shape = (3, ny, 2 * self.cut_z + 1, self.cut_x + 1)
        self.modes_dtype = torch.complex64 if dtype == torch.float32 else torch.complex128

        self.faces: Array = np.tanh(STRETCHING * np.linspace(-1, 1, ny + 1)) / math.tanh(STRETCHING)
        self.centres: Array = (self.faces[1:] + self.faces[:-1]) / 2
        cells = np.diff(self.faces)
        # From centre to centre; the first and last reach from the wall to the centre of its cell.
        gaps = np.diff(self.centres, prepend=-1, append=1)
        self.cells = self._tensor(cells)[:, None, None]
        """Heights of cells, (y, 1, 1)."""
        self.gaps = self._tensor(gaps[:-1])[:, None, None]
        """Distances between centres across each face but the last, (y, 1, 1); the first is half a cell."""
        self.per_cell, self.per_gap = 1 / self.cells, 1 / self.gaps
        self.upper = (self.cells / (self.cells + self.cells.roll(1, 0)))[1:]
        """Weight of the cell above an inner face in an average over volume."""

        kz = torch.arange(-self.cut_z, self.cut_z + 1, device=device, dtype=dtype).roll(-self.cut_z)
        kx = torch.arange(self.cut_x + 1, device=device, dtype=dtype)
        self.weight = torch.where(kx > 0, 2.0, 1.0).double()
        """How often a stored mode counts: twice when its conjugate is left out."""
        kx, kz = kx * (2 * math.pi / length_x), kz[:, None] * (2 * math.pi / length_z)
        self.ikx, self.ikz = 1j * kx, 1j * kz
        # Solves see real and imaginary parts side by side, as one real axis.
        self.k_squared = (kx**2 + kz**2).repeat_interleave(2, dim=-1).flatten()
        self.fastest = (float(kx.abs().max()), float(kz.abs().max()))

        above = np.eye(ny + 1, ny) - np.eye(ny + 1, ny, k=-1)  # cell above a face less the one below; 0 in a wall
        inner = above.copy()
        inner[[0, -1]] = 0  # pressure has no gradient through a wall
        across = np.eye(ny, k=1) - np.eye(ny)  # upper face of a cell less its lower one
        across[:, 0] = 0
        solid = _diagonalise(above, gaps, cells)
        bases = (solid, _diagonalise(across, cells, gaps[:-1]), solid)
        exact = [torch.tensor(np.stack(part), device=device) for part in zip(*bases, strict=True)]
        self.exact_values, self.exact_vectors, self.exact_inverse = exact
        self.values, self.vectors, self.inverse = (part.to(dtype) for part in exact)
        values, vectors, inverse = _diagonalise(inner, gaps, cells)
        self.pressure_vectors, self.pressure_inverse = self._tensor(vectors), self._tensor(inverse)
        self.inverse_laplacian = 1 / (self._tensor(values)[:, None] - self.k_squared).clamp(max=-1e-9)
        self.inverse_laplacian[:, :2] = 0  # k = 0: v has no mean, so nothing is to be projected

    def _tensor(self, values: Array) -> Tensor:
        return torch.tensor(values, dtype=self.dtype, device=self.device)

    @property
    def fewest(self) -> tuple[int, int]:
        """Points along x and z that just hold the modes, multiples of 4."""
        return 4 * (self.cut_x // 2 + 1), 4 * (self.cut_z // 2 + 1)

    def to_physical(
        self, modes: Complex[Tensor, "... y kz kx"], points: tuple[int, int] | None = None
    ) -> Float[Tensor, "... y z x"]:
        """Values on the points along x and z, or on another number of points."""
        nx, nz = points or (self.nx, self.nz)
        shape = (*modes.shape[:-2], nz, self.cut_x + 1)
        padded = modes.new_zeros(shape)
        padded[..., : self.cut_z + 1, :] = modes[..., : self.cut_z + 1, :]
        if self.cut_z:
            padded[..., -self.cut_z :, :] = modes[..., -self.cut_z :, :]
        rows = torch.fft.ifft(padded, dim=-2, norm="forward")
        values: Tensor = torch.fft.irfft(rows, n=nx, dim=-1, norm="forward")
        return values

    def to_spectral(self, values: Float[Tensor, "... y z x"]) -> Complex[Tensor, "... y kz kx"]:
        """Coefficients of the kept modes."""
        modes = torch.fft.rfft2(values, norm="forward")[..., : self.cut_x + 1]
        low = modes[..., : self.cut_z + 1, :]
        kept: Tensor = torch.cat((low, modes[..., self.nz - self.cut_z :, :]), dim=-2)
        return kept

    def divergence(self, modes: Complex[Tensor, "3 y kz kx"]) -> Complex[Tensor, "y kz kx"]:
        """Coefficients of the discrete divergence in each cell."""
        u, v, w = modes
        divergence: Tensor = self.ikx * u + self.ikz * w
        divergence -= v * self.per_cell
        divergence[:-1] += v[1:] * self.per_cell[:-1]
        return divergence

    def gradient(self, pressure: Complex[Tensor, "y kz kx"]) -> Complex[Tensor, "3 y kz kx"]:
        """Coefficients of the discrete gradient, where the velocity components are; zero on the walls."""
        gradient = pressure.new_empty((3, *pressure.shape))
        torch.mul(pressure, self.ikx, out=gradient[0])
        gradient[1, 0] = 0
        torch.mul(pressure[1:] - pressure[:-1], self.per_gap[1:], out=gradient[1, 1:])
        torch.mul(pressure, self.ikz, out=gradient[2])
        return gradient

    def project(
        self, modes: Complex[Tensor, "3 y kz kx"]
    ) -> tuple[Complex[Tensor, "3 y kz kx"], Complex[Tensor, "y kz kx"]]:
        """Remove the gradient part; return the solenoidal rest, and the potential of what was removed."""
        divergence = self.divergence(modes)
        coordinates = self.pressure_inverse @ to_columns(divergence)
        potential = from_columns(self.pressure_vectors @ coordinates.mul_(self.inverse_laplacian), divergence)
        return modes - self.gradient(potential), potential

    def diffuse(self, modes: Complex[Tensor, "3 y kz kx"], amount: float) -> Complex[Tensor, "3 y kz kx"]:
        """Solve ``(1 - amount laplace) x = modes`` with x = 0 at the walls."""
        coordinates = self.inverse @ to_columns(modes)
        coordinates /= (1 - amount * self.values)[..., None] + amount * self.k_squared
        solution = from_columns(self.vectors @ coordinates, modes)
        # The mean flow is much larger than the rest: in float32 its round-off would act as a force of 1 %.
        solution[..., 0, 0] = self.diffuse_mean(modes[..., 0, 0].real, amount).to(modes.dtype)
        return solution

    def diffuse_mean(self, mean: Float[Tensor, "3 y"], amount: float) -> Float[Tensor, "3 y"]:
        """Do as ``diffuse`` for k = 0, in float64."""
        coordinates = (self.exact_inverse @ mean[..., None].double()).squeeze(-1)
        coordinates /= 1 - amount * self.exact_values
        return (self.exact_vectors @ coordinates[..., None]).squeeze(-1)

    def inner(self, a: Complex[Tensor, "3 y kz kx"], b: Complex[Tensor, "3 y kz kx"]) -> float:
        """Mean of ``a . b`` over the channel; each component is weighted by the volume of its cells."""
        widths = torch.stack((self.cells, self.gaps, self.cells)).flatten(1)
        return float((self.plane_means(a, b) * widths).sum()) / 2

    def plane_means(
        self, a: Complex[Tensor, "*rest y kz kx"], b: Complex[Tensor, "*rest y kz kx"]
    ) -> Float[Tensor, "*rest y"]:
        """Mean over x and z of the product of two fields, in float64 (Parseval)."""
        product = (torch.view_as_real(a).double() * torch.view_as_real(b)).sum(dim=-1)
        return (product * self.weight).sum(dim=(-2, -1))

    def resampling(self, cells: int) -> tuple[Float[Tensor, "cell y"], Float[Tensor, "cell y"]]:
        """Matrices that turn u (or w) and v along y into means over uniform cells.

        The integral of u from the lower wall, known exactly on the faces, and v itself are continued between faces by
        the cubic spline with zero slope at both walls. So no flux is lost, and because both are the same spline the
        continued field is solenoidal at every point. ``u = 1 - y^2`` comes out exactly.
        """
        n, h, values = self.ny, np.diff(self.faces), np.eye(self.ny + 1)
        # Each row below is a linear form in the values on the faces. Slopes m of the spline at inner face j:
        # m[j-1] / h[j-1] + 2 m[j] (1 / h[j-1] + 1 / h[j]) + m[j+1] / h[j] = 3 (rise[j-1] / h[j-1] + rise[j] / h[j]).
        system, right = np.eye(n + 1), np.zeros((n + 1, n + 1))
        rise = np.diff(values, axis=0) / h[:, None]
        for j in range(1, n):
            system[j, j - 1 : j + 2] = 1 / h[j - 1], 2 / h[j - 1] + 2 / h[j], 1 / h[j]
            right[j] = 3 * (rise[j - 1] / h[j - 1] + rise[j] / h[j])
        slopes = np.linalg.solve(system, right)
        low, high = slopes[:-1], slopes[1:]
        cubic = np.stack((values[:-1] / h[:, None], low, 3 * rise - 2 * low - high, low + high - 2 * rise))
        cubic *= h[:, None]  # powers of t from 0 to 1 in each cell
        powers = np.arange(4)
        edges = np.linspace(-1, 1, cells + 1)
        at = np.clip(np.searchsorted(self.faces, edges, side="right") - 1, 0, n - 1)
        t = ((edges - self.faces[at]) / h[at])[:, None]
        value = np.einsum("ep,pef->ef", t**powers, cubic[:, at])
        integral = np.einsum("ep,pef->ef", h[at, None] * t ** (powers + 1) / (powers + 1), cubic[:, at])
        whole = np.einsum("p,pef->ef", 1 / (powers + 1), cubic) * h[:, None]
        integral += np.concatenate((values[:1] * 0, np.cumsum(whole, axis=0)))[at]
        flux = np.tri(n + 1, n, -1) * h  # from means over cells to the integral on the faces
        horizontal, vertical = (np.diff(form, axis=0) * (cells / 2) for form in (value @ flux, integral[:, :-1]))
        return self._tensor(horizontal), self._tensor(vertical)


def _diagonalise(difference: Array, gaps: Array, widths: Array) -> tuple[Array, Array, Array]:
    """Eigenvalues, eigenvectors and their inverse of ``-1/widths difference^T 1/gaps difference``."""
    root = np.sqrt(widths)
    scaled = difference / root
    values, vectors = np.linalg.eigh(-(scaled.T / gaps) @ scaled)
    return values, vectors / root[:, None], vectors.T * root


def to_columns(modes: Tensor) -> Tensor:
    """View (..., y, kz, kx) as real numbers (..., y, column)."""
    return torch.view_as_real(modes).flatten(-3)


def from_columns(columns: Tensor, like: Tensor) -> Tensor:
    """Undo ``to_columns``."""
    return torch.view_as_complex(columns.view(*like.shape, 2))
