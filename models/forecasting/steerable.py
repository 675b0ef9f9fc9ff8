"""Relaxed steerable convolutions: sums of steerable kernels whose weights may differ from cell to cell.

    f_out(x) = sum_y sum_i (w_i + delta_i(y)) phi_i(y) f_in(x + y)

The phi_i are a basis of the kernels with ``phi(g y) = rho_out(g) phi(y) rho_in(g)^-1`` for all g of a group: with
delta = 0 the convolution commutes with the group. Delta is zero at the start, and learned (Wang, Walters & Yu,
"Approximately equivariant networks for imperfectly symmetric dynamics", ICML 2022, arXiv 2201.11969, whose
``w_i(y)`` is ``w_i + delta_i(y)`` here).

Features are fields side by side. A field of scalars or vectors has their components; a hidden one has the values of a
function on the group, or for SO(2) the Fourier coefficients of a function on the circle. Bases come from where weights
are made; what is frozen is a plain convolution and takes none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.convolution import KernelLayer

Kind = Literal["scalar", "vector", "hidden"]
"""Of fields."""
Basis = Callable[[Kind, Kind], Tensor]
"""The kernels phi_i from one kind of fields to another, (basis, out, in, *k)."""
FREQUENCY = 2
"""The highest of functions on the circle; a kernel of three cells resolves no higher one."""
SAMPLES = 8
"""Of a function on the circle: a multiple of four, so that a quarter turn takes samples to samples."""


def field_size(group: str) -> int:
    """Channels of a hidden field.

    Args:
        group: ``C<n>`` or ``D<n>`` (n rotations of a plane, without or with reflections), ``SO2`` (all rotations of a
            plane), or ``O`` (24 rotations of space).

    Raises:
        ValueError: for any other name.
    """
    sizes = {"SO2": 2 * FREQUENCY + 1, "O": 24}
    if group in sizes:
        return sizes[group]
    if not re.fullmatch(r"[CD]([2-9]|[1-9]\d+)", group):
        message = f"group: {group!r}; expected C<n> or D<n> with n from 2, SO2 or O"
        raise ValueError(message)
    return int(group[1:]) * (2 if group[0] == "D" else 1)


class SteerableConvolution(KernelLayer):
    """See the module.

    Args:
        basis: phi_i, from one field to one field.
        fields_in: fields in.
        fields: fields out.
    """

    basis: Tensor

    def __init__(self, basis: Float[Tensor, "basis out in *k"], fields_in: int, fields: int) -> None:
        super().__init__()
        size, cells = basis.shape[1], basis.shape[3:]
        # As He et al. (2015) have it: the kernel of an output channel has a square of 2 in the mean.
        scale = math.sqrt(2 * size / (fields_in * float(basis.square().sum())))
        self.weights = nn.Parameter(torch.randn(fields, fields_in, len(basis)) * scale)
        self.delta = nn.Parameter(torch.zeros(fields, fields_in, len(basis), *cells))
        self.register_buffer("basis", basis, persistent=False)

    def kernel(self) -> Float[Tensor, "out channels *k"]:
        """See the class."""
        with torch.autocast(self.basis.device.type, enabled=False):
            weights = self.weights.reshape(*self.weights.shape, *(self.basis.ndim - 3) * [1]) + self.delta
            kernel = torch.einsum("oib...,brs...->oris...", weights, self.basis.to(weights.dtype))
        return kernel.flatten(2, 3).flatten(0, 1)


def penalty(module: nn.Module) -> Float[Tensor, ""]:
    """The mean of delta^2 over all relaxed steerable convolutions of a module; zero if there are none."""
    deltas = [layer.delta.flatten() for layer in module.modules() if isinstance(layer, SteerableConvolution)]
    return torch.cat(deltas).square().mean() if deltas else torch.zeros(())


class CircleOffset(nn.Module):
    """silu(f + b) of functions f on the circle, by their Fourier coefficients, with b learned for each field.

    The samples of f + b go through silu, and the answer is the coefficients of what comes out up to the same frequency.
    It commutes with those rotations that take samples to samples, and with others as far as samples resolve.

    Args:
        fields: hidden fields of its input.
    """

    samples: Tensor

    def __init__(self, fields: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(fields))
        angles = 2 * math.pi / SAMPLES * torch.arange(SAMPLES, dtype=torch.float64)
        waves = [torch.ones_like(angles)]
        for k in range(1, FREQUENCY + 1):
            waves += [math.sqrt(2) * (k * angles).cos(), math.sqrt(2) * (k * angles).sin()]
        self.register_buffer("samples", torch.stack(waves, dim=1), persistent=False)

    def forward(self, x: Float[Tensor, "batch channels y x"]) -> Float[Tensor, "batch channels y x"]:
        """Apply it."""
        samples = self.samples.to(x.dtype)
        values = torch.einsum("sc,bfcyx->bfsyx", samples, x.unflatten(1, (len(self.offset), -1)))
        bent = functional.silu(values + self.offset.to(x.dtype)[:, None, None, None])
        return (torch.einsum("sc,bfsyx->bfcyx", samples, bent) / SAMPLES).flatten(1, 2)
