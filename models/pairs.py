"""Pairs of fields (X, Y) whose common symmetries are asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Kind = Literal["scalar", "vector"]
PRECISIONS = (torch.float64, torch.float32)
ENOUGH_PAIRS = 10
"""Fewer have too few turns for a test of what they keep on the average."""
FEWEST_CELLS = 3


@dataclass(frozen=True)
class Pairs:
    """Fields X and Y on a plane or in space, taken to be periodic, in float64 or, for large data, in float32.

    Attributes:
        x, y: (pair, channel, y, x) or (pair, channel, z, y, x); y on the grid of x, or on one finer by a whole factor.
        x_kind, y_kind: ``scalar``, each channel a field of its own, or ``vector``: components along x, y(, z) adjacent.

    Raises:
        ValueError: if they do not fit together; the message begins with the name of the argument.
    """

    x: Float[Tensor, ...]
    y: Float[Tensor, ...]
    x_kind: Kind = "scalar"
    y_kind: Kind = "scalar"

    def __post_init__(self) -> None:
        for name, values, kind in (("x", self.x, self.x_kind), ("y", self.y, self.y_kind)):
            if values.ndim not in (4, 5):
                _refuse(f"{name} must have axes (pair, channel, y, x) or (pair, channel, z, y, x), not {values.ndim}")
            if 0 in values.shape:
                _refuse(f"{name} must not be empty, has shape {tuple(values.shape)}")
            if values.dtype not in PRECISIONS or values.dtype != self.x.dtype:
                _refuse(f"{name} must be float64 or float32, as the other one is, not {values.dtype}")
            if not values.isfinite().all():
                _refuse(f"{name} must be finite, holds NaN or inf")
            if kind == "vector" and values.shape[1] % self.dimension:
                _refuse(f"{name} must have {self.dimension} channels a vector, has {values.shape[1]}")
        if min(self.x.shape[2:]) < FEWEST_CELLS:
            _refuse(f"x must have at least {FEWEST_CELLS} cells along each axis, has {tuple(self.x.shape[2:])}")
        if self.y.ndim != self.x.ndim or len(self.y) != len(self.x):
            _refuse(f"y must have as many axes and pairs as x, {tuple(self.x.shape)}, has {tuple(self.y.shape)}")
        if any(fine != self.factor * coarse for fine, coarse in zip(self.y.shape[2:], self.x.shape[2:], strict=True)):
            _refuse(
                f"y must have one and the same whole number of cells per cell of x along each axis, has "
                f"{tuple(self.y.shape[2:])} for {tuple(self.x.shape[2:])}"
            )

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return self.x.ndim - 2

    @property
    def factor(self) -> int:
        """Cells of y per cell of x along an axis."""
        return max(1, self.y.shape[2] // self.x.shape[2])

    @property
    def many(self) -> bool:
        """Whether there are enough for a test of what they keep on the average."""
        return len(self.x) >= ENOUGH_PAIRS

    def copied(self) -> Tensor:
        """X as a prediction of Y: repeated on a finer grid, and zero where Y has other fields."""
        if self.x_kind != self.y_kind or self.x.shape[1] != self.y.shape[1]:
            return torch.zeros_like(self.y)
        copied = self.x
        for axis in range(2, copied.ndim):
            copied = copied.repeat_interleave(self.factor, axis)
        return copied


def _refuse(message: str) -> None:
    raise ValueError(message)
