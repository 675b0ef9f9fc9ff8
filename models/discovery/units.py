"""Units in which a network sees pairs (X, Y), so that neither units nor large offsets of a field decide what counts.

If X has the same fields as Y, both must be in the same units.

Each scalar has units of its own, and so has each vector. What is subtracted and divided by commutes with rotations and
reflections:

- X is in units of its rms. Of a scalar whose mean is larger than its standard deviation, so much is subtracted that it
  is as large: temperatures of 300 K would hide fluctuations of 1 K. A constant scalar stays as it is.
- The part of Y that is no copy of X, about its mean if it is scalar, is in units of the field's size, all of which are
  then scaled alike, so that the rms of all parts together is one. A field that hardly changes counts little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.discovery.pairs import Pairs

ROUNDING = 64
"""Changes and fluctuations below so many times the precision, relative to the field, count as none."""


class PairUnits(NamedTuple):
    """Units of each channel.

    Attributes:
        x_offset, x: what X is less, and divided by; each (channel, 1, 1) or (channel, 1, 1, 1).
        change_offset, change: the same of the part of Y that is no copy of X.
        x_square, y_square, change_square: mean squares of X, of Y and of this part of it, about the mean of scalars;
            zero for a constant X.
    """

    x_offset: Tensor
    x: Tensor
    change_offset: Tensor
    change: Tensor
    x_square: Float[Tensor, " channel"]
    y_square: Float[Tensor, " channel"]
    change_square: Float[Tensor, " channel"]

    @classmethod
    def of(cls, pairs: Pairs, progress: Callable[[], None]) -> PairUnits:
        """Those of pairs, all of which are read twice; progress is called after each batch."""
        vectors = [kind == "vector" for kind in (pairs.x_kind, pairs.y_kind, pairs.y_kind)]
        shape = (-1, *pairs.dimension * [1])

        def fields(x: Tensor, y: Tensor) -> list[Tensor]:
            return [x.double(), y.double(), y.double() - pairs.copied(x.double())]

        found = zip(_means(pairs, fields, progress), vectors, strict=True)
        means = [torch.zeros_like(mean) if vector else mean for mean, vector in found]

        def squares(x: Tensor, y: Tensor) -> list[Tensor]:
            about = zip(fields(x, y), means, strict=True)
            return [(field - mean.reshape(shape)).square() for field, mean in about]

        squared = zip(_means(pairs, squares, progress), vectors, strict=True)
        x_square, y_square, change_square = (
            over_components(square, pairs.dimension) if vector else square for square, vector in squared
        )
        x_mean, y_mean, change_mean = means
        rounding = ROUNDING * torch.finfo(pairs.x.dtype).eps
        spread = x_square.sqrt()
        varies = spread > rounding * x_mean.abs()
        left = torch.where(varies, x_mean.clamp(-spread, spread), x_mean)
        size = _divisor(y_square + x_square if pairs.copies else y_square)
        is_change = change_square > rounding**2 * (y_square + y_mean.square())
        part = torch.where(is_change, change_square / size.square(), 0.0).mean()

        def shaped(each: Tensor) -> Tensor:
            return each.reshape(shape).to(pairs.x.dtype)

        return cls(
            x_offset=shaped(x_mean - left),
            x=shaped(_divisor(x_square + left.square())),
            change_offset=shaped(change_mean),
            change=shaped(size * _divisor(part)),
            x_square=torch.where(varies, x_square, 0.0),
            y_square=y_square,
            change_square=change_square,
        )


def _means(
    pairs: Pairs, of: Callable[[Tensor, Tensor], Sequence[Tensor]], progress: Callable[[], None]
) -> list[Tensor]:
    """Means over pairs and cells, for each channel, of what is made of X and Y."""
    rows = []
    for x, y in pairs.batches():
        rows.append([field.mean(dim=(0, *range(2, field.ndim))) * len(field) / pairs.count for field in of(x, y)])
        progress()
    return [torch.stack(each).sum(dim=0) for each in zip(*rows, strict=True)]


def over_components(squares: Tensor, dimension: int) -> Tensor:
    """Mean squares of channels, averaged over the components of each vector."""
    average: Tensor = squares.unflatten(0, (-1, dimension)).mean(dim=1)
    return average.repeat_interleave(dimension)


def _divisor(square: Tensor) -> Tensor:
    """The roots of mean squares, or one."""
    return torch.where(square > 0, square, 1.0).sqrt()
