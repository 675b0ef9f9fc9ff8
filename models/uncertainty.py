"""Predicting the error of an answer, by a second head on a network's trunk.

    error = c s softplus(f(asinh(4 y / s) ..., log(l / s + e) ...)),    e = 1e-3,

is the expected absolute error of a fine cell, the mean over its components, in the units of the velocity. The y are
four scalars read from the features of the trunk, invariant under rotations if the network is equivariant; s is the
local variation of the coarse field, and f a network of one hidden layer. The l are lengths: of the network's correction
to trilinear interpolation, and those of [`lengths_of`][models.uncertainty.lengths_of], which tell how much of the field
is as fine as the grid. The error scales as the velocity does, does not change with a boost, and is zero where the field
is constant.

It is trained after the network, whose answers it leaves as they are, on the likelihood of a Laplace distribution,
whose best scale is the expected absolute error (Kendall & Gal, NeurIPS 2017, eq. 5, with an L1 residual). At last c is
set so that predictions and errors have the same mean on snapshots that were kept back, in the median over flows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.activation import SMALLEST, Activation
from models.convolution import NOWHERE, RADIUS, SIZE, Axes, crop, wrap
from models.group import MIRROR, group, rotate_scalar
from models.layers import ProjectScalar
from models.metrics.ranks import rank_correlation
from models.operators import refine, variation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.networks import Architecture

NEGLIGIBLE = 1e-3
SCALARS, LENGTHS, HIDDEN = 4, 6, 32
"""Channels that the last layers see: scalars of the features, and lengths; and of the hidden layer."""
NEAR = 3
"""Cells beyond a cell that its local lengths depend on."""


class Pointwise(nn.Conv3d):
    """A convolution of kernel size 1, as a matrix product: with few channels, it spares copies in other layouts."""

    def forward(self, x: Float[Tensor, "batch channels z y x"]) -> Float[Tensor, "batch outputs z y x"]:
        """Apply the layer."""
        weight = self.weight.flatten(1).expand(len(x), -1, -1)
        answer = torch.baddbmm(cast("Tensor", self.bias)[:, None], weight, x.flatten(2))
        return answer.reshape(len(x), -1, *x.shape[2:])


class ErrorHead(nn.Module):
    """The expected absolute error, from the features of a network's trunk.

    Args:
        architecture: of the network.
        halo: coarse cells that the network consumes at both ends of an axis.
    """

    scale: Tensor

    def __init__(self, architecture: Architecture, halo: int) -> None:
        super().__init__()
        over = group(architecture.group)
        relaxed = architecture.family == "relaxed"
        self.activation = Activation(over, architecture.fields)
        self.project = ProjectScalar(
            over, architecture.fields, SCALARS, banks=architecture.banks, relaxed=relaxed, factor=architecture.factor
        )
        self.hidden = Pointwise(SCALARS + LENGTHS, HIDDEN, 1)
        self.answer = Pointwise(HIDDEN, 1, 1)
        nn.init.zeros_(self.answer.weight)
        nn.init.constant_(cast("Tensor", self.answer.bias), -2.0)
        self.register_buffer("scale", torch.tensor(1.0))
        # Fine cells of the halo that the trunk and this head leave; a head that upsamples twice consumes one cell more.
        self.factor, self.halo, self.mirrored = architecture.factor, halo, architecture.mirrored
        self.spare = self.factor * (halo - 2 * RADIUS * architecture.blocks - 2 * RADIUS)

    def forward(
        self,
        features: Float[Tensor, "fields channels z y x"],
        coarse: Float[Tensor, "batch 3 z3 y3 x3"],
        variation: Float[Tensor, "batch 1 fine_z fine_y fine_x"],
        correction: Float[Tensor, "batch 3 fine_z fine_y fine_x"],
        circular: Axes = NOWHERE,
    ) -> Float[Tensor, "batch 1 fine_z fine_y fine_x"]:
        """Apply the head.

        Args:
            features: of the trunk; if the network is mirrored, of the mirrored fields, too.
            coarse: velocity, with the halo at both ends of every axis that is not circular.
            variation: local variation of the coarse field, in the units of the network's input.
            correction: what the network added to trilinear interpolation, in the same units.
            circular: axes (z, y, x) to wrap around.
        """
        scalars = crop(self.project(self.activation(features), circular), self.spare, circular).to(variation.dtype)
        if self.mirrored:
            given, mirrored = scalars.chunk(2)
            scalars = (given + rotate_scalar(mirrored, MIRROR)) / 2
        length = correction.square().sum(dim=1, keepdim=True).sqrt()
        unit = variation.clamp_min(SMALLEST)
        lengths = torch.cat([length, refine(lengths_of(coarse, self.halo, circular), self.factor)], dim=1)
        ratios = torch.cat([(4 * scalars / unit).asinh(), (lengths / unit + 1e-3).log()], dim=1)
        return self.scale * variation * self.relative(ratios)

    def relative(self, ratios: Float[Tensor, "batch inputs z y x"]) -> Float[Tensor, "batch 1 z y x"]:
        """The last layers: the error in units of the variation, but for ``scale``."""
        return functional.softplus(self.answer(functional.silu(self.hidden(ratios.to(self.hidden.weight.dtype)))))


def lengths_of(coarse: Float[Tensor, "batch 3 z3 y3 x3"], halo: int, circular: Axes) -> Float[Tensor, "batch 5 z y x"]:
    """The rms lengths of derivatives, cell size 1: what tells how much of a field is as fine as the grid.

    Of the Laplacian and of the Laplacian of that in 3^3 cells around each cell; then of the variation and these two in
    a wide neighbourhood, an average in 3^3 cells that is taken as often as the halo lasts.

    Args:
        coarse: velocity, with ``halo`` more cells at both ends of every axis that is not circular.
        halo: at least ``NEAR``.
        circular: axes (z, y, x) to wrap around.
    """
    second = _laplacian(coarse, circular)
    fourth = _laplacian(second, circular)
    parts = [x.square().sum(dim=1, keepdim=True) for x in (crop(second, 1, circular), fourth)]
    squares = _averaged(torch.cat(parts, dim=1), circular)
    first = crop(variation(coarse, circular).square(), NEAR - 1, circular)
    wide = torch.cat([first, squares], dim=1)
    for _ in range(halo - NEAR):
        wide = _averaged(wide, circular)
    return torch.cat([crop(squares, halo - NEAR, circular), wide], dim=1).sqrt()


def _averaged(x: Tensor, circular: Axes) -> Tensor:
    """Means over 3^3 cells."""
    return functional.avg_pool3d(wrap(x, circular), SIZE, stride=1)


def _laplacian(x: Tensor, circular: Axes) -> Tensor:
    """Sum of the second differences along the axes, one cell less at both ends of every axis that is not circular."""
    x = wrap(x, circular)
    along = [crop(x.diff(n=2, dim=axis), 1, tuple(axis == other for other in (-3, -2, -1))) for axis in (-3, -2, -1)]
    return along[0] + along[1] + along[2]


def laplace_loss(
    predicted: Float[Tensor, "*cells"], error: Float[Tensor, "*cells"], weight: Float[Tensor, "*cells"]
) -> Float[Tensor, ""]:
    """Weighted mean of error / predicted + log predicted, least where the prediction is the expected error.

    Predictions below a thousandth of the weighted mean error count as that much.
    """
    total = weight.sum().clamp_min(SMALLEST)  # zero in a fluid at rest, of which nothing can be learned
    least = NEGLIGIBLE * float((weight * error).sum() / total)
    scale = predicted.clamp_min(max(least, SMALLEST))
    return (weight * (error / scale + scale.log())).sum() / total


LEVELS = (0.5, 0.9)
"""Shares of the cells whose errors lie below the bounds by a card's quantiles."""
SOME = 1 << 17
"""Cells whose ranks are compared, and of which quantiles are taken."""


def error_quantiles(predicted: Float[Tensor, "z y x"], error: Float[Tensor, "z y x"]) -> dict[str, float]:
    """By level, the multiple of the predicted error that this share of the cells stays below.

    Cells at rest, of which no error is predicted, do not count.
    """
    told = predicted > 0
    ratios = _some(error[told] / predicted[told])
    return {f"{level:g}": float(ratios.quantile(level)) for level in LEVELS}


def calibration(
    predicted: Float[Tensor, "z y x"], error: Float[Tensor, "z y x"], quantiles: Mapping[str, float]
) -> dict[str, float]:
    """How good a prediction of errors was.

    Args:
        predicted: expected absolute error of each cell.
        error: the absolute error that was found.
        quantiles: of the model, see [`error_quantiles`][models.uncertainty.error_quantiles].

    Returns:
        ``error_predicted_over_found``, the ratio of the means; ``error_coverage_50`` and ``_90``, the share of cells
        below the bound of each level, of those of which an error is predicted; ``error_rank_correlation``, Spearman's,
        over cells. All are NaN if no error was found or predicted, as in uniform flow.
    """
    told = predicted > 0
    below = {
        f"error_coverage_{float(level) * 100:.0f}": float((error <= bound * predicted)[told].double().mean())
        for level, bound in quantiles.items()
    }
    found = {
        "error_predicted_over_found": float(predicted.double().mean() / error.double().mean()),
        **below,
        "error_rank_correlation": rank_correlation(_some(predicted.flatten()), _some(error.flatten())),
    }
    return found if error.any() and told.any() else dict.fromkeys(found, math.nan)


def _some(values: Float[Tensor, " cell"]) -> Float[Tensor, " some"]:
    """At most ``SOME`` cells, the same ones of fields of one size.

    At random, as every nth cell might be at the same edge of its coarse cell.
    """
    chosen = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))[:SOME]
    return values[chosen.to(values.device)]
