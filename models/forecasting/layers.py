"""The layers of a forecasting network, with group convolutions or with steerable ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.convolution import SIZE, Axes, Frozen
from models.forecasting.steerable import CircleOffset, SteerableConvolution, field_size
from models.layers import Convolve, LiftScalar, Project, SeeingLift

if TYPE_CHECKING:
    from models.forecasting.steerable import Basis, Kind
    from models.group import Group

FIRST_CHANGE = 0.1
"""Of the free weights of a projection at the start, so that a network begins near persistence."""


class GroupLayers:
    """Those of plain, equivariant and relaxed networks.

    Args:
        over: the group.
        fields: regular fields in the trunk.
        banks: of weights, in a relaxed layer.
        cells: (y, x) of the domain, where weights may differ from place to place; else none.
        relaxed: learn the relaxation weights.
    """

    def __init__(self, over: Group, fields: int, banks: int, cells: tuple[int, ...], *, relaxed: bool) -> None:
        self.over, self.fields, self.banks, self.cells, self.relaxed = over, fields, banks, cells, relaxed

    def lift(self, frames: int) -> nn.Module:
        """Velocities to features; a constant one counts, as it carries the flow along."""
        return SeeingLift(self.over, frames, self.fields, banks=self.banks, relaxed=self.relaxed)

    def lift_scalar(self) -> nn.Module:
        """A scalar to features."""
        return LiftScalar(self.over, 1, self.fields, banks=self.banks, relaxed=self.relaxed)

    def offset(self) -> nn.Module:
        """Between convolutions."""
        return Offset(self.over.order, self.fields)

    def convolve(self) -> nn.Module:
        """Features to features."""
        if self.cells:
            return Placed(self.over, self.fields, self.banks, self.cells)
        return Convolve(self.over, self.fields, self.fields, banks=self.banks, relaxed=self.relaxed)

    def project(self) -> nn.Module:
        """Features to a velocity."""
        layer = Project(self.over, self.fields, banks=self.banks, relaxed=self.relaxed)
        layer.psi.data *= FIRST_CHANGE
        return layer


class SteerableLayers:
    """Those of relaxed steerable networks.

    Args:
        group: see [`field_size`][models.forecasting.steerable.field_size].
        fields: hidden fields in the trunk.
        basis: of steerable kernels; None makes plain convolutions for kernels that are loaded.
    """

    def __init__(self, group: str, fields: int, basis: Basis | None) -> None:
        self.group, self.fields, self.basis = group, fields, basis

    def lift(self, frames: int) -> nn.Module:
        """Velocities to features."""
        return self._layer("vector", frames, "hidden", self.fields)

    def lift_scalar(self) -> nn.Module:
        """A scalar to features."""
        return self._layer("scalar", 1, "hidden", self.fields)

    def offset(self) -> nn.Module:
        """Between convolutions."""
        return CircleOffset(self.fields) if self.group == "SO2" else Offset(field_size(self.group), self.fields)

    def convolve(self) -> nn.Module:
        """Features to features."""
        return self._layer("hidden", self.fields, "hidden", self.fields)

    def project(self) -> nn.Module:
        """Features to a velocity."""
        layer = self._layer("hidden", self.fields, "vector", 1)
        if isinstance(layer, SteerableConvolution):
            layer.weights.data *= FIRST_CHANGE
        return layer

    def _layer(self, source: Kind, fields_in: int, target: Kind, fields: int) -> SteerableConvolution | Frozen:
        if self.basis is not None:
            return SteerableConvolution(self.basis(source, target), fields_in, fields)
        sizes: dict[Kind, int] = {"scalar": 1, "vector": 2, "hidden": field_size(self.group)}
        return Frozen(torch.zeros(fields * sizes[target], fields_in * sizes[source], SIZE, SIZE), 1)


class Offset(nn.Module):
    """silu(x + b), with b learned for each field.

    Args:
        order: channels of a field.
        fields: regular fields of its input.
    """

    def __init__(self, order: int, fields: int) -> None:
        super().__init__()
        self.order = order
        self.offset = nn.Parameter(torch.zeros(fields))

    def forward(self, x: Float[Tensor, "batch channels y x"]) -> Float[Tensor, "batch channels y x"]:
        """Apply it."""
        return functional.silu(x + self.offset.to(x.dtype).repeat_interleave(self.order)[:, None, None])


class Placed(nn.Module):
    """A convolution whose weights may differ from place to place: ``sum_l w_l(x) (psi_l * f)(x)``.

    The weights w are constant at the start, so that it begins as a convolution (Wang et al., arXiv 2201.11969, eq. 7).

    Args:
        over: the group.
        fields: regular fields in and out.
        banks: L, how many kernels are mixed.
        cells: (y, x) of the domain.
    """

    def __init__(self, over: Group, fields: int, banks: int, cells: tuple[int, ...]) -> None:
        super().__init__()
        self.kernels = nn.ModuleList(Convolve(over, fields, fields) for _ in range(banks))
        self.weights = nn.Parameter(torch.full((banks, *cells), 1 / math.sqrt(banks)))

    def forward(self, x: Float[Tensor, "batch channels y x"], circular: Axes) -> Float[Tensor, "batch channels y2 x2"]:
        """Apply it."""
        total = x.new_zeros(())
        for kernel, weight in zip(self.kernels, self.weights, strict=True):
            total = total + weight.to(x.dtype) * kernel(x, circular)
        return total
