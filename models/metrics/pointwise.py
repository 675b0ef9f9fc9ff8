"""Errors cell by cell, of all cells and of those near walls."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from models.metrics.slabs import Grid
from models.walls import is_wall

if TYPE_CHECKING:
    from models.blocks import Boundaries
    from models.metrics.slabs import Box

ROUNDING = 16 * torch.finfo(torch.float32).eps
"""Velocities by rounding alone are smaller, relative to the rms velocity.

Mean errors of trilinear interpolation reach 6 epsilons in uniform and linear fields, mostly those of the block means.
"""


class Errors:
    """Sums over errors, which come part by part."""

    def __init__(self) -> None:
        self.cells = self.near_cells = 0
        self.absolute = torch.zeros(3, dtype=torch.float64)
        self.near = self.squares = 0.0

    def add(self, error: Float[Tensor, "3 z y x"], near: Bool[Tensor, "z y x"] | None = None) -> None:
        """Add a part; ``near`` marks its cells near walls."""
        self.cells += error[0].numel()
        self.squares += float(error.square().sum())
        error = error.abs()
        self.absolute += error.sum(dim=(1, 2, 3)).cpu()
        if near is not None and near.any():
            self.near_cells += int(near.sum())
            self.near += float(error[:, near].sum())

    @property
    def mae(self) -> Float[Tensor, " component"]:
        """Mean absolute error of each component."""
        return self.absolute / self.cells

    @property
    def mse(self) -> float:
        """Mean square error of all components."""
        return self.squares / (3 * self.cells)

    @property
    def mae_near_wall(self) -> float | None:
        """Mean absolute error of all components near walls."""
        return self.near / (3 * self.near_cells) if self.near_cells else None


def magnitude(field: Float[Tensor, "*any"]) -> Tensor:
    """Root mean square of all values, about zero."""
    return field.square().mean().sqrt()


def over_interpolation(error: Tensor | float, plain: Tensor | float, size: Tensor | float) -> float:
    """A mean error over that of trilinear interpolation.

    Args:
        error: of an answer.
        plain: of trilinear interpolation.
        size: [`magnitude`][models.metrics.pointwise.magnitude] of the true velocity.

    Returns:
        NaN where interpolation is exact but for rounding, as in uniform and laminar flow: the ratio tells nothing.
    """
    return ratio(error, plain) if plain > ROUNDING * size else math.nan


def near_walls(field: Float[Tensor, "3 z y x"], boundary: Boundaries, cells: int) -> Bool[Tensor, "z y x"]:
    """Which cells are among the first ``cells`` from a wall."""
    _, nz, ny, nx = field.shape
    whole = slice(0, nz), slice(0, ny), slice(0, nx)
    return near_walls_of(whole, Grid((nz, ny, nx), cells, boundary)).to(field.device)


def near_walls_of(box: Box, grid: Grid) -> Bool[Tensor, "z y x"]:
    """Which cells of a box are in coarse cells next to walls."""
    near = torch.zeros([cells.stop - cells.start for cells in box], dtype=torch.bool)
    for axis, (cells, n) in enumerate(zip(box, grid.cells, strict=True)):
        if is_wall(grid.boundary[axis]):
            place = torch.arange(cells.start, cells.stop)
            beside = (place < grid.factor) | (place >= n - grid.factor)
            near |= beside.reshape(-1, *[1] * (2 - axis))
    return near


def ratio(part: Tensor | float, whole: Tensor | float) -> float:
    """Part / whole; NaN for 0 / 0."""
    return float(torch.as_tensor(part, dtype=torch.float64) / torch.as_tensor(whole, dtype=torch.float64))
