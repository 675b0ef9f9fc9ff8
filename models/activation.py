"""The nonlinearity between group convolutions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from models.group import Group

# Least divisor: its square, which gradients take, is still a float32.
SMALLEST = 2.0**-63


class Activation(nn.Module):
    """r silu(x / r + b), with r the rms over all channels of a cell, and b learned for each field.

    Smooth, and positively homogeneous: scaling x scales the answer, cell by cell, so that the network needs
    to know no amplitude. It commutes with the group, which only permutes channels and gives those of a field one b.

    Args:
        over: the group.
        fields: regular fields of its input.
    """

    def __init__(self, over: Group, fields: int) -> None:
        super().__init__()
        self.order = over.order
        self.offset = nn.Parameter(torch.zeros(fields))

    def forward(self, x: Float[Tensor, "batch channels *cells"]) -> Float[Tensor, "batch channels *cells"]:
        """Apply it; where all channels are zero, so is the answer."""
        offset = self.offset.to(x.dtype).repeat_interleave(self.order).reshape(-1, *(x.ndim - 2) * [1])
        scale = torch.linalg.vector_norm(x, dim=1, keepdim=True) / math.sqrt(x.shape[1])
        unit = scale.clamp_min(SMALLEST)
        # Not addcdiv, whose gradient squares the divisor.
        answer: Tensor = scale * _silu((x / unit).add_(offset))
        return answer


def _silu(x: Tensor) -> Tensor:
    """SiLU, in place where no gradient is wanted, with the same bits for a block whichever are in the batch with it."""
    if x.requires_grad or x.device.type != "cpu":
        return functional.silu(x)
    # A vectorised loop does its last few values another way, so each block gets a loop of its own.
    for block in x:
        functional.silu(block, inplace=True)
    return x
