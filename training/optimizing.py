"""What the optimisation of all networks has in common: the schedule of the learning rate, and bounded gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn


def share_of_rate(steps: int, warm_up: int, first: int = 0) -> Callable[[int], float]:
    """Learning rate of each step relative to the highest one: a warm-up from the step ``first``, then half a cosine."""

    def share(step: int) -> float:
        warm = min(1.0, max(step + 1 - first, 0) / warm_up)
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))

    return share


def clip_gradients(model: nn.Module, largest: float, loss: Tensor, step: int) -> None:
    """Limit the length of the gradient with respect to all weights.

    Raises:
        ValueError: if it is not finite, naming the step and its loss; the next weights would not be finite either.
    """
    if not torch.nn.utils.clip_grad_norm_(model.parameters(), largest).isfinite():
        message = f"loss of step {step + 1}: {loss.item():g}; expected a finite one with finite gradients"
        raise ValueError(message)
