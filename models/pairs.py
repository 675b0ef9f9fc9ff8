"""Pairs of fields (X, Y), whose symmetries are to be found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Kind = Literal["scalar", "vector"]
PRECISIONS = (torch.float64, torch.float32)
ENOUGH_PAIRS = 10
"""Fewer are too few for a test of which symmetries they keep on average."""
FEWEST_CELLS = 3


class UnfitPairsError(ValueError):
    """X and Y do not fit together.

    Attributes:
        field: the argument, ``x`` or ``y``.
        value: its value.
        expected: what was expected.
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = str(tuple(value) if isinstance(value, torch.Size) else value)
        self.expected = expected
        super().__init__(f"{field}: {self.value}; expected {expected}")


@dataclass(frozen=True)
class Pairs:
    """Fields X and Y in a plane or in space, treated as periodic, in float64 or, for large data, in float32.

    Attributes:
        x, y: (pair, channel, y, x) or (pair, channel, z, y, x); y on the grid of x, or on one finer by a whole factor.
        x_kind, y_kind: ``scalar``: channels are independent; ``vector``: successive channels are components along x, y
            (and z).

    Raises:
        UnfitPairsError: if they do not fit together.
    """

    x: Float[Tensor, ...]
    y: Float[Tensor, ...]
    x_kind: Kind = "scalar"
    y_kind: Kind = "scalar"

    def __post_init__(self) -> None:
        for name, values, kind in (("x", self.x, self.x_kind), ("y", self.y, self.y_kind)):
            if values.ndim not in (4, 5):
                raise UnfitPairsError(name, values.shape, "axes (pair, channel, y, x) or (pair, channel, z, y, x)")
            if 0 in values.shape:
                raise UnfitPairsError(name, values.shape, "no empty axis")
            if values.dtype not in PRECISIONS or values.dtype != self.x.dtype:
                raise UnfitPairsError(name, values.dtype, "float64 or float32, the same of x and y")
            if not values.isfinite().all():
                raise UnfitPairsError(name, "NaN or inf", "finite values")
            if kind == "vector" and values.shape[1] % self.dimension:
                raise UnfitPairsError(name, f"{values.shape[1]} channels", f"{self.dimension} for each vector")
        if min(self.x.shape[2:]) < FEWEST_CELLS:
            raise UnfitPairsError("x", self.x.shape, f"at least {FEWEST_CELLS} cells along each axis")
        if self.y.ndim != self.x.ndim or len(self.y) != len(self.x):
            raise UnfitPairsError("y", self.y.shape, f"as many axes and pairs as x, which is {tuple(self.x.shape)}")
        if any(fine != self.factor * coarse for fine, coarse in zip(self.y.shape[2:], self.x.shape[2:], strict=True)):
            expected = f"one whole number of cells for each of x along every axis, {tuple(self.x.shape[2:])}"
            raise UnfitPairsError("y", self.y.shape, expected)

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
        """Whether there are enough for a test of which symmetries they keep on average."""
        return len(self.x) >= ENOUGH_PAIRS

    def copied(self) -> Tensor:
        """X as a prediction of Y: repeated on the finer grid; zero if Y has other fields than X."""
        if self.x_kind != self.y_kind or self.x.shape[1] != self.y.shape[1]:
            return torch.zeros_like(self.y)
        copied = self.x
        for axis in range(2, copied.ndim):
            copied = copied.repeat_interleave(self.factor, axis)
        return copied
