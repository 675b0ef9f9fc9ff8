"""The network that forecasts a velocity field in a plane: the frames so far in, the next one out.

All families share a lift, a residual trunk and a projection whose answer is added to the last frame; see
[`ForecastArchitecture`][models.forecasting.network.ForecastArchitecture] for how they differ. Velocities are in cells a
frame, so that a network knows how far a frame carries, and all that it needs to know of the fluid is its viscosity,
``nu dt / dx^2``. Both are the same in other units, ``u -> a u(a x, a^2 t)``; the families ``plain`` and
``relaxed-scale`` see in which units the frames are. Along axes that do not wrap around, all is zero outside.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.convolution import RADIUS, Axes
from models.forecasting.layers import GroupLayers, SteerableLayers
from models.group import group

if TYPE_CHECKING:
    from models.forecasting.steerable import Basis

ForecastFamily = Literal[
    "plain", "conv", "equivariant", "relaxed", "relaxed-steerable", "relaxed-translation", "relaxed-scale"
]
FORECAST_FAMILIES: tuple[ForecastFamily, ...] = get_args(ForecastFamily)
TURNING: frozenset[ForecastFamily] = frozenset({"equivariant", "relaxed", "relaxed-steerable"})
"""Families with a group of a plane."""


class Scales(NamedTuple):
    """Viscosity and units of each sample.

    Attributes:
        viscosity: ``nu dt / dx^2``, the same in all units.
        velocity: ``dx / dt``, the velocity of one cell per frame.
    """

    viscosity: Float[Tensor, " batch"]
    velocity: Float[Tensor, " batch"]


@dataclass(frozen=True)
class ForecastArchitecture:
    """What a forecasting network is made of, as stored in its card.

    Attributes:
        family: ``conv`` keeps translations and changes of units, ``equivariant`` the group as well, ``relaxed`` learns
            how far the group is kept, and ``relaxed-steerable`` does so by steerable kernels. Three are ``conv`` but
            for a symmetry: ``plain`` sees velocities in the units that they come in, the weights of
            ``relaxed-translation`` may differ from place to place, and the first offset of ``relaxed-scale`` may
            depend on the units, as ``b + c log2(dx / dt / unit)`` with c = 0 at the start.
        group: one of a plane for the families of [`TURNING`][models.forecasting.network.TURNING], else ``C1``;
            relaxed-steerable takes ``SO2``, too, and others of [`field_size`][models.forecasting.steerable.field_size].
        fields: fields in the trunk; its width in channels is fields times the group's order, or 5 for ``SO2``.
        blocks: residual blocks of two convolutions each.
        banks: of weights, in a relaxed layer.
        frames: in.
        viscous: whether the viscosity goes in too.
        cells: (y, x) of the domain that relaxed-translation is for; none for the others.
        unit: the usual ``dx / dt`` of its training runs.
    """

    family: ForecastFamily
    group: str
    fields: int
    blocks: int = 3
    banks: int = 1
    frames: int = 10
    viscous: bool = False
    cells: tuple[int, ...] = ()
    unit: float = 1.0

    def __post_init__(self) -> None:
        if (self.family in TURNING) == (self.group == "C1"):
            expected = "one of a plane" if self.family in TURNING else "C1"
            message = f"group: {self.group}; expected {expected} for {self.family}"
            raise ValueError(message)
        if (self.family == "relaxed-translation") != bool(self.cells):
            message = f"cells must be given for relaxed-translation alone, not {self.cells} for {self.family}"
            raise ValueError(message)

    def to_dict(self) -> dict[str, object]:
        """As JSON can hold it."""
        return {**dataclasses.asdict(self), "cells": list(self.cells)}


class ForecastNetwork(nn.Module):
    """Frames to the next frame, in cells a frame.

    Args:
        architecture: what it is made of.
        basis: of steerable kernels; without it a relaxed-steerable network has plain convolutions, for frozen weights.
    """

    def __init__(self, architecture: ForecastArchitecture, basis: Basis | None = None) -> None:
        super().__init__()
        self.architecture = architecture
        fields, banks = architecture.fields, architecture.banks
        layers = (
            SteerableLayers(architecture.group, fields, basis)
            if architecture.family == "relaxed-steerable"
            else GroupLayers(
                group(architecture.group, 2),
                fields,
                banks,
                architecture.cells,
                relaxed=architecture.family == "relaxed",
            )
        )
        self.lift = layers.lift(architecture.frames)
        self.viscosity = layers.lift_scalar() if architecture.viscous else None
        self.trunk = nn.ModuleList()
        for _ in range(2 * architecture.blocks):
            self.trunk.append(layers.offset())
            self.trunk.append(layers.convolve())
        self.last = layers.offset()
        self.project = layers.project()
        self.units: nn.Module | None = None
        if architecture.family == "relaxed-scale":
            self.units = layers.lift_scalar()
            for weights in self.units.parameters():
                nn.init.zeros_(weights)

    def forward(
        self,
        frames: Float[Tensor, "batch frame 2 y x"],
        circular: Axes,
        scales: Scales,
    ) -> Float[Tensor, "batch 2 y x"]:
        """The next frame.

        Args:
            frames: velocity (u, v) in cells a frame.
            circular: whether the axes (y, x) wrap around.
            scales: of the samples.
        """
        velocity = scales.velocity / self.architecture.unit
        unit = velocity[:, None, None, None] if self.architecture.family == "plain" else 1
        given = (frames.flatten(1, 2) * unit).contiguous(memory_format=torch.channels_last)
        x: Tensor = self.lift(_outside(given, circular), circular)
        for layer, value in ((self.viscosity, scales.viscosity), (self.units, velocity.log2())):
            if layer is not None:
                level = value[:, None, None, None].expand(-1, 1, *frames.shape[-2:])
                x = x + layer(_outside(level.contiguous(), circular), circular)
        for first_offset, first, second_offset, second in zip(*(iter(self.trunk),) * 4, strict=True):
            y = first(_outside(first_offset(x), circular), circular)
            x = x + second(_outside(second_offset(y), circular), circular)
        change: Tensor = self.project(_outside(self.last(x), circular), circular)
        return frames[:, -1] + change.to(frames.dtype) / unit


def _outside(x: Tensor, circular: Axes) -> Tensor:
    """Add cells of zeros at both ends of the axes that do not wrap around."""
    y, x_axis = (0 if wraps else RADIUS for wraps in circular)
    return functional.pad(x, (x_axis, x_axis, y, y))
