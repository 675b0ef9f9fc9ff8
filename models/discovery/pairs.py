"""Pairs of fields (X, Y), whose symmetries are to be found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["scalar", "vector"]
PRECISIONS = (torch.float64, torch.float32)
ENOUGH_PAIRS = 10
"""Fewer are too few for a test of which symmetries they keep on average."""
FEWEST_CELLS = 3
LARGEST = 1e100
"""Squares of larger values, and of their inverses, would be no numbers."""
BATCH = 1 << 18
"""Most cells of X that are computed together: 48 channels of them take 50 MB in float32."""
BATCH_VALUES = 1 << 25
"""Most values of Y that are computed together: they take 130 MB in float32."""


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
        # All, so that it can be pickled from process to process.
        super().__init__(field, self.value, expected)

    def __str__(self) -> str:
        """Say what was expected."""
        return f"{self.field}: {self.value}; expected {self.expected}"


@runtime_checkable
class Fields(Protocol):
    """Fields of all pairs: a tensor, or what is stored and read in the parts that are taken."""

    @property
    def shape(self) -> torch.Size:
        """(pair, channel, y, x) or (pair, channel, z, y, x)."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the values."""

    def __getitem__(self, pairs: slice, /) -> Tensor:
        """The fields of some pairs."""


@dataclass(frozen=True)
class Pairs:
    """Fields X and Y in a plane or in space, treated as periodic, in float64 or, for large data, in float32.

    Attributes:
        x, y: as `Fields`; y on the grid of x, or on one finer by a whole factor.
        x_kind, y_kind: ``scalar``: channels are independent; ``vector``: successive channels are components along x, y
            (and z).

    Raises:
        UnfitPairsError: if they do not fit together.
    """

    x: Fields
    y: Fields
    x_kind: Kind = "scalar"
    y_kind: Kind = "scalar"

    def __post_init__(self) -> None:
        for name, values, kind in (("x", self.x, self.x_kind), ("y", self.y, self.y_kind)):
            if len(values.shape) not in (4, 5):
                raise UnfitPairsError(name, values.shape, "axes (pair, channel, y, x) or (pair, channel, z, y, x)")
            if 0 in values.shape:
                raise UnfitPairsError(name, values.shape, "no empty axis")
            if values.dtype not in PRECISIONS or values.dtype != self.x.dtype:
                raise UnfitPairsError(name, values.dtype, "float64 or float32, the same of x and y")
            if isinstance(values, Tensor):
                _check_values(name, values)
            if kind == "vector" and values.shape[1] % self.dimension:
                raise UnfitPairsError(name, f"{values.shape[1]} channels", f"{self.dimension} for each vector")
        if min(self.x.shape[2:]) < FEWEST_CELLS:
            raise UnfitPairsError("x", self.x.shape, f"at least {FEWEST_CELLS} cells along each axis")
        if len(self.y.shape) != len(self.x.shape) or self.y.shape[0] != self.count:
            raise UnfitPairsError("y", self.y.shape, f"as many axes and pairs as x, which is {tuple(self.x.shape)}")
        if any(fine != self.factor * coarse for fine, coarse in zip(self.y.shape[2:], self.x.shape[2:], strict=True)):
            expected = f"one whole number of cells for each of x along every axis, {tuple(self.x.shape[2:])}"
            raise UnfitPairsError("y", self.y.shape, expected)

    @property
    def count(self) -> int:
        """How many pairs there are."""
        return self.x.shape[0]

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.x.shape) - 2

    @property
    def cells(self) -> int:
        """Cells of an X."""
        return math.prod(self.x.shape[2:])

    @property
    def factor(self) -> int:
        """Cells of y per cell of x along an axis."""
        return max(1, self.y.shape[2] // self.x.shape[2])

    @property
    def batch(self) -> int:
        """Cells of X that are computed together."""
        return max(1, min(BATCH, BATCH_VALUES * self.cells // math.prod(self.y.shape[1:])))

    @property
    def many(self) -> bool:
        """Whether there are enough for a test of which symmetries they keep on average."""
        return self.count >= ENOUGH_PAIRS

    def batches(self, most: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """X and Y of all pairs in turn, of as many at a time as there are cells in a batch, and of at most so many."""
        together = min(most or self.count, max(1, self.batch // self.cells))
        for start in range(0, self.count, together):
            pairs = slice(start, start + together)
            yield self.x[pairs], self.y[pairs]

    @property
    def copies(self) -> bool:
        """Whether X, repeated on the grid of Y, has the same fields."""
        return self.x_kind == self.y_kind and self.x.shape[1] == self.y.shape[1]

    def copied(self, x: Tensor) -> Tensor | float:
        """X as a prediction of Y: repeated on the finer grid; zero if Y has other fields than X."""
        if not self.copies:
            return 0.0
        for axis in range(2, x.ndim):
            x = x.repeat_interleave(self.factor, axis)
        return x


def _check_values(name: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise UnfitPairsError(name, "NaN or inf", "finite values")
    largest = float(values.abs().max())
    if largest and not 1 / LARGEST <= largest <= LARGEST:
        expected = f"values of which the largest is from {1 / LARGEST:g} to {LARGEST:g}, in other units"
        raise UnfitPairsError(name, f"up to {largest:g}", expected)
