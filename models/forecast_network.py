"""The network that forecasts a velocity field in a plane: the frames so far in, the next one out.

All families share a lift, a residual trunk and a projection whose answer is added to the last frame; see
[`ForecastArchitecture`][models.forecast_network.ForecastArchitecture] for how they differ. Velocities are in cells a
frame, so that a network knows how far a frame carries, and all that it needs to know of the fluid is its viscosity,
``nu dt / dx^2``. Along axes that do not wrap around, all is zero outside.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.convolution import RADIUS, Axes
from models.group import Group, group
from models.layers import Convolve, Lift, LiftScalar, Project

ForecastFamily = Literal["conv", "equivariant", "relaxed", "relaxed-translation"]
FORECAST_FAMILIES: tuple[ForecastFamily, ...] = get_args(ForecastFamily)


@dataclass(frozen=True)
class ForecastArchitecture:
    """What a forecasting network is made of, as stored in its card.

    Attributes:
        family: ``conv`` keeps translations alone, ``equivariant`` the group as well, ``relaxed`` learns how far the
            group is kept, and ``relaxed-translation`` is ``conv`` with weights that may differ from place to place.
        group: ``C1`` for conv and relaxed-translation, else one of a plane.
        fields: regular fields in the trunk; its width in channels is fields times the group's order.
        blocks: residual blocks of two convolutions each.
        banks: of weights, in a relaxed layer.
        frames: in.
        viscous: whether the viscosity goes in too.
        cells: (y, x) of the domain that relaxed-translation is for; none for the others.
    """

    family: ForecastFamily
    group: str
    fields: int
    blocks: int = 3
    banks: int = 1
    frames: int = 10
    viscous: bool = False
    cells: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if (self.family in {"conv", "relaxed-translation"}) != (self.group == "C1"):
            message = f"group must be C1 for conv and relaxed-translation alone, not {self.group} for {self.family}"
            raise ValueError(message)
        if (self.family == "relaxed-translation") != bool(self.cells):
            message = f"cells must be given for relaxed-translation alone, not {self.cells} for {self.family}"
            raise ValueError(message)

    def to_dict(self) -> dict[str, object]:
        """As JSON can hold it."""
        return {**dataclasses.asdict(self), "cells": list(self.cells)}


class ForecastNetwork(nn.Module):
    """Frames to the next frame, in cells a frame."""

    def __init__(self, architecture: ForecastArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        over = group(architecture.group, 2)
        fields = architecture.fields
        banks, relaxed = architecture.banks, architecture.family == "relaxed"
        self.lift = _SeeingLift(over, architecture.frames, fields, banks=banks, relaxed=relaxed)
        self.viscosity = LiftScalar(over, 1, fields, banks=banks, relaxed=relaxed) if architecture.viscous else None
        self.trunk = nn.ModuleList()
        for _ in range(2 * architecture.blocks):
            self.trunk.append(Offset(over, fields))
            self.trunk.append(
                Placed(over, fields, architecture.banks, architecture.cells)
                if architecture.cells
                else Convolve(over, fields, fields, banks=banks, relaxed=relaxed)
            )
        self.last = Offset(over, fields)
        self.project = Project(over, fields, banks=banks, relaxed=relaxed)
        # Start near persistence.
        self.project.psi.data *= 0.1

    def forward(
        self,
        frames: Float[Tensor, "batch frame 2 y x"],
        circular: Axes,
        viscosity: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch 2 y x"]:
        """The next frame.

        Args:
            frames: velocity (u, v) in cells a frame.
            circular: whether the axes (y, x) wrap around.
            viscosity: ``nu dt / dx^2``, for networks that take it.
        """
        given = _outside(frames.flatten(1, 2).contiguous(memory_format=torch.channels_last), circular)
        x: Tensor = self.lift(given, circular)
        if self.viscosity is not None:
            if viscosity is None:
                message = "viscosity must be given to a network that takes it"
                raise ValueError(message)
            level = viscosity[:, None, None, None].expand(-1, 1, *frames.shape[-2:])
            x = x + self.viscosity(_outside(level.contiguous(), circular), circular)
        for first_offset, first, second_offset, second in zip(*(iter(self.trunk),) * 4, strict=True):
            y = first(_outside(first_offset(x), circular), circular)
            x = x + second(_outside(second_offset(y), circular), circular)
        change: Tensor = self.project(_outside(self.last(x), circular), circular)
        return frames[:, -1] + change.to(frames.dtype)


class _SeeingLift(Lift):
    """A lift that sees a constant velocity, which carries the flow along."""

    def banks(self) -> Tensor:
        """The free weights as they are."""
        return self.psi


class Offset(nn.Module):
    """silu(x + b), with b learned for each field.

    Args:
        over: the group.
        fields: regular fields of its input.
    """

    def __init__(self, over: Group, fields: int) -> None:
        super().__init__()
        self.order = over.order
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


def _outside(x: Tensor, circular: Axes) -> Tensor:
    """Add cells of zeros at both ends of the axes that do not wrap around."""
    y, x_axis = (0 if wraps else RADIUS for wraps in circular)
    return functional.pad(x, (x_axis, x_axis, y, y))
