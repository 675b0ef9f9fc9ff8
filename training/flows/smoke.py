"""Smoke plumes: many runs at once of buoyant smoke in a closed square box, without viscosity.

``du/dt + u . grad u = -grad p + b s``, ``div u = 0``, ``ds/dt + u . grad s = inflow``, with s the density of the smoke
and b the buoyancy, which may differ from place to place. Nothing flows through the walls.

Staggered grid (Harlow & Welch, Phys. Fluids 8, 1965). The smoke is advected by MacCormack's scheme with its limiter,
velocities by semi-Lagrangian steps (Selle et al., J. Sci. Comput. 35, 2008); the pressure is solved exactly by cosine
transforms. Turning inflow and buoyancy by a quarter turns the solution, to round-off.

Arrays are (run, y, x) and so are faces: u on (y, x + 1), v on (y + 1, x).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


class Smoke:
    """Runs of one grid, stepped together.

    Args:
        inflow: source of smoke, per unit of time, (run, y, x).
        buoyancy: force on smoke of density one, components along (x, y), (run, 2, y, x).
        dx: edge of a cell.

    Raises:
        ValueError: if the box is not square.
    """

    def __init__(self, inflow: Float[Tensor, "run y x"], buoyancy: Float[Tensor, "run 2 y x"], dx: float) -> None:
        runs, ny, n = inflow.shape
        if ny != n:
            message = f"the box must be square, not {ny} x {n} cells"
            raise ValueError(message)
        self.inflow, self.buoyancy, self.dx = inflow, buoyancy, dx
        self.density = torch.zeros_like(inflow)
        self.u = inflow.new_zeros(runs, n, n + 1)
        self.v = inflow.new_zeros(runs, n + 1, n)
        k = torch.arange(n, dtype=inflow.dtype)
        self._cosines = torch.cos(math.pi / n * k[:, None] * (k + 0.5)) * math.sqrt(2 / n)
        self._cosines[0] /= math.sqrt(2)
        eigenvalues = (2 * torch.cos(math.pi / n * k) - 2) / dx**2
        self._laplacian = eigenvalues[:, None] + eigenvalues
        self._laplacian[0, 0] = 1  # where the divergence of a closed box is zero

    def velocity(self) -> Float[Tensor, "run 2 y x"]:
        """Velocity (u, v) at the centres of cells, the mean of their faces."""
        return torch.stack((_between(self.u, -1), _between(self.v, -2)), dim=1)

    def divergence(self) -> Float[Tensor, "run y x"]:
        """Of each cell."""
        return (self.u.diff(dim=-1) + self.v.diff(dim=-2)) / self.dx

    def step(self, dt: float) -> None:
        """Advance by one time step."""
        u, v = self.velocity().unbind(dim=1)
        cells = dt / self.dx
        density = _mac_cormack(self.density, u * cells, v * cells) + dt * self.inflow
        on_u = _between(functional.pad(v, (1, 1), mode="replicate"), -1)
        on_v = _between(functional.pad(u, (0, 0, 1, 1), mode="replicate"), -2)
        self.u, self.v = (
            _trace(self.u, self.u * cells, on_u * cells).value,
            _trace(self.v, on_v * cells, self.v * cells).value,
        )
        force = dt * self.buoyancy * density[:, None]
        self.u[..., 1:-1] += _between(force[:, 0], -1)
        self.v[..., 1:-1, :] += _between(force[:, 1], -2)
        self.density = density
        self._project()

    def _project(self) -> None:
        """Set the velocity through the walls to zero, and remove the gradient part."""
        self.u[..., (0, -1)] = 0
        self.v[..., (0, -1), :] = 0
        c = self._cosines
        pressure = c.T @ ((c @ self.divergence() @ c.T) / self._laplacian) @ c
        self.u[..., 1:-1] -= pressure.diff(dim=-1) / self.dx
        self.v[..., 1:-1, :] -= pressure.diff(dim=-2) / self.dx


class _Traced(NamedTuple):
    """Values at the departure points of the grid's points, and the extremes of the values around these."""

    value: Tensor
    low: Tensor
    high: Tensor


def _between(values: Tensor, axis: int) -> Tensor:
    """Means of neighbours along an axis."""
    n = values.shape[axis] - 1
    return (values.narrow(axis, 0, n) + values.narrow(axis, 1, n)) / 2


def _trace(values: Tensor, u: Tensor, v: Tensor) -> _Traced:
    """Trace back along a straight line for one step (velocity in cells); outside, values are those at the edge."""
    height, width = values.shape[-2:]
    y = (torch.arange(height, dtype=v.dtype)[:, None] - v).clamp(0, height - 1)
    x = (torch.arange(width, dtype=u.dtype) - u).clamp(0, width - 1)
    low_y, low_x = y.long().clamp(max=height - 2), x.long().clamp(max=width - 2)
    first = low_y * width + low_x
    flat = values.flatten(1)
    a, b, c, d = (flat.gather(1, (first + step).flatten(1)).reshape(u.shape) for step in (0, 1, width, width + 1))
    y, x = y - low_y, x - low_x
    value = (1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d)
    around = torch.stack((a, b, c, d))
    return _Traced(value, around.amin(dim=0), around.amax(dim=0))


def _mac_cormack(values: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Advect one step, corrected by half the error of a step back, and limited to the neighbouring values."""
    there = _trace(values, u, v)
    back = _trace(there.value, -u, -v).value
    corrected = there.value + (values - back) / 2
    return corrected.clamp(there.low, there.high)
