"""How well two quantities agree on which cells have more."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def rank_correlation(a: Float[Tensor, " sample"], b: Float[Tensor, " sample"]) -> float:
    """Spearman's: the correlation of ranks, where equal values have the mean of their ranks."""
    return float(torch.corrcoef(torch.stack([_ranks(a), _ranks(b)]))[0, 1])


def _ranks(values: Float[Tensor, " sample"]) -> Float[Tensor, " sample"]:
    _, place, count = values.unique(return_inverse=True, return_counts=True)
    means: Tensor = count.cumsum(0) - (count - 1).double() / 2
    return means[place]
