"""Means and central moments of samples that come part by part."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


class Moments:
    """Mean and central moments of rows of samples.

    Parts are combined by their own means (Chan, Golub & LeVeque, Am. Stat. 37, 1983; Pebay, SAND2008-6212). Unlike a
    sum of squares, this loses no digits if the mean is much larger than the fluctuations.

    Args:
        order: highest moment.

    Attributes:
        count: samples in each row.
        mean: of each row.
        second: sum over samples of (sample - mean)^2; ``third`` and ``fourth`` are those of its powers.
    """

    def __init__(self, order: Literal[2, 4] = 2) -> None:
        self.order = order
        self.count = 0
        self.mean = self.second = self.third = self.fourth = torch.zeros(())

    def add(self, samples: Float[Tensor, "row sample"]) -> None:
        """Add a part, in its own precision."""
        old, new = self.count, samples.shape[1]
        if not new:
            return
        total = old + new
        mean = samples.mean(dim=1)
        centred = samples - mean[:, None]
        squares = centred.square()
        second = squares.sum(dim=1)
        gap = mean - self.mean
        share = new / total
        if self.order > 2:  # noqa: PLR2004
            third = torch.linalg.vecdot(squares, centred)
            fourth = torch.linalg.vecdot(squares, squares)
            self.fourth = (
                (self.fourth + fourth)
                + gap**4 * (old * share * (old * old - old * new + new * new) / total**2)
                + 6 * gap**2 * ((old / total) ** 2 * second + share**2 * self.second)
                + 4 * gap * (old / total * third - share * self.third)
            )
            self.third = (
                (self.third + third)
                + gap**3 * (old * share * (old - new) / total)
                + 3 * gap * (old / total * second - share * self.second)
            )
        self.second = self.second + second + gap**2 * (old * share)
        self.mean = self.mean + gap * share
        self.count = total

    @property
    def variance(self) -> Float[Tensor, " row"]:
        """Mean square about the mean."""
        return self.second / self.count

    @property
    def rms(self) -> Float[Tensor, ""]:
        """Root mean square of all rows about their means."""
        return self.variance.mean().sqrt()

    @property
    def magnitude(self) -> Float[Tensor, ""]:
        """Root mean square of all rows about zero."""
        return (self.variance + self.mean.square()).mean().sqrt()

    @property
    def skewness(self) -> Float[Tensor, " row"]:
        """Third central moment over the standard deviation cubed."""
        return self.third / self.count / self.variance.pow(1.5)

    @property
    def flatness(self) -> Float[Tensor, " row"]:
        """Fourth central moment over the variance squared."""
        return self.fourth / self.count / self.variance.square()
