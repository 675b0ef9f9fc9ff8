"""Small channels and simple flows in them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from training.flows.channel_grid import Grid

if TYPE_CHECKING:
    from torch import Tensor

    from training.flows.channel import Flow

DOUBLE = torch.float64


def box(
    nx: int = 16, ny: int = 24, nz: int = 12, *, dtype: torch.dtype = DOUBLE, length_x: float = 1.5 * math.pi
) -> Grid:
    """Return a small channel, in float64 if not said otherwise."""
    return Grid(nx, ny, nz, dtype=dtype, length_x=length_x)


def still(grid: Grid) -> Tensor:
    """No flow."""
    return torch.zeros(grid.modes_shape, dtype=torch.complex128)


def laminar(grid: Grid, bulk: float) -> Tensor:
    """Steady flow of the discrete equations, from the stress -y on every face."""
    steps = -grid.faces[:-1] * grid.gaps.flatten().numpy()
    profile = np.cumsum(steps)
    modes = still(grid)
    modes[0, :, 0, 0] = torch.from_numpy(profile * 2 * bulk / (profile @ np.diff(grid.faces)))
    return modes


def flux(flow: Flow) -> float:
    """Mean streamwise velocity."""
    return float(flow.grid.cells.flatten() @ flow.modes[0, :, 0, 0].real) / 2


def largest(values: Tensor) -> float:
    """Largest magnitude."""
    return float(values.abs().max())


def reflect_z(modes: Tensor) -> Tensor:
    """Return the mirror image in z = 0."""
    return modes.flip(-2).roll(1, -2) * torch.tensor([1, 1, -1]).view(3, 1, 1, 1)


def reflect_y(modes: Tensor) -> Tensor:
    """Return the mirror image in y = 0."""
    image = modes.flip(1)
    image[1] = -image[1].roll(1, 0)
    return image
