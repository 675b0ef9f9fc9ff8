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

    It is smooth and positively homogeneous: if x is scaled, so is the answer, cell by cell. So the network needs no
    amplitude. It commutes with the group, which only permutes the channels of a field, as these share one b.

    Args:
        over: the group.
        fields: regular fields of its input.
    """

    def __init__(self, over: Group, fields: int) -> None:
        super().__init__()
        self.order = over.order
        self.offset = nn.Parameter(torch.zeros(fields))

    def forward(self, x: Float[Tensor, "batch channels *cells"]) -> Float[Tensor, "batch channels *cells"]:
        """Apply the nonlinearity. Where all channels are zero, the answer is zero."""
        offset = self.offset.to(x.dtype).repeat_interleave(self.order).reshape(-1, *(x.ndim - 2) * [1])
        scale = torch.linalg.vector_norm(x, dim=1, keepdim=True) / math.sqrt(x.shape[1])
        unit = scale.clamp_min(SMALLEST)
        # Not addcdiv, whose gradient squares the divisor.
        answer: Tensor = scale * _silu((x / unit).add_(offset))
        return answer


def _silu(x: Tensor) -> Tensor:
    """SiLU, in place if no gradient is needed. The bits of a block do not depend on the others in its batch."""
    if x.requires_grad or x.device.type != "cpu":
        return functional.silu(x)
    # A vectorised loop computes its last few values differently, so each block gets its own loop.
    for block in x:
        functional.silu(block, inplace=True)
    return x
