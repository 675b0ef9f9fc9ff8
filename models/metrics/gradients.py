"""The velocity gradient by central differences, and its statistics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from models.metrics.moments import Moments

if TYPE_CHECKING:
    from models.blocks import Lengths

# Array axes (z, y, x) that the components (u, v, w) lie along.
ALONG = (-1, -2, -3)


def central_differences(
    field: Float[Tensor, "3 z y x"], spacing: Lengths
) -> Float[Tensor, "3 3 inner_z inner_y inner_x"]:
    """du_i/dx_j to second order at all but the outermost cells.

    Args:
        field: velocity.
        spacing: of the cells along (z, y, x).
    """
    inner = [n - 2 for n in field.shape[1:]]
    gradient = field.new_empty(3, 3, *inner)
    for column, axis in enumerate(ALONG):
        line = field
        for other in ALONG:
            if other != axis:
                line = line.narrow(other, 1, inner[other])
        n = inner[axis]
        torch.sub(line.narrow(axis, 2, n), line.narrow(axis, 0, n), out=gradient[:, column])
        gradient[:, column] /= 2 * spacing[axis]
    return gradient


class Gradients(NamedTuple):
    """Statistics of the velocity gradient of a field, by differences of the cells at both sides of each cell.

    Cells at a wall of velocity U count, too, beyond which the field is ``2 U - u``; in a channel, much of the
    dissipation is there. Cells at open ends do not count, as nothing is known beyond.

    Attributes:
        divergence: rms(du_i/dx_i) over rms(|grad u|); 0 for an incompressible field resolved by central differences.
        enstrophy: mean of |curl u|^2 / 2.
        dissipation: mean of 2 S_ij S_ij, the dissipation rate over the viscosity.
        skewness: of du_i/dx_i for i = 1, 2, 3; about -0.5 in turbulence (Sreenivasan & Antonia 1997).
        flatness: of du_i/dx_i for i = 1, 2, 3; 3 for a Gaussian.
    """

    divergence: float
    enstrophy: float
    dissipation: float
    skewness: list[float]
    flatness: list[float]


class GradientSums:
    """[`Gradients`][models.metrics.gradients.Gradients] of a field whose velocity gradient comes part by part."""

    def __init__(self) -> None:
        self.trace = self.squares = self.spin = self.strain = 0.0
        self.longitudinal = Moments(order=4)

    def add(self, gradient: Float[Tensor, "3 3 z y x"]) -> None:
        """Add a part."""
        self.longitudinal.add(gradient.diagonal().movedim(-1, 0).flatten(1))
        self.trace += _squares(gradient.diagonal().sum(dim=-1))
        self.squares += _squares(gradient)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            # Twice: ij and ji.
            self.spin += 2 * _squares((gradient[i, j] - gradient[j, i]) / 2)
            self.strain += 2 * _squares((gradient[i, j] + gradient[j, i]) / 2)
        for i in range(3):
            self.strain += _squares(gradient[i, i])

    def statistics(self) -> Gradients:
        """The statistics of all parts; NaN where there are no cells."""
        longitudinal = self.longitudinal
        count = longitudinal.count or math.nan
        return Gradients(
            divergence=math.sqrt(self.trace / self.squares) if self.squares else math.nan,
            enstrophy=self.spin / count,
            dissipation=2 * self.strain / count,
            skewness=longitudinal.skewness.tolist(),
            flatness=longitudinal.flatness.tolist(),
        )


def _squares(values: Tensor) -> float:
    return float(values.square().sum())
