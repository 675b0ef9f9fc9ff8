"""The network that all learned families share: a residual trunk at the coarse grid and a sub-voxel head.

A family is a choice of group and relaxation: ``conv`` is the trivial group, ``equivariant`` and ``relaxed`` the
octahedral one. At equal width (fields times elements) the three cost the same, since each is a Conv3d once frozen.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.group import GroupName, group
from models.layers import NOWHERE, RADIUS, Axes, Convolve, GroupLayer, Lift, Project, crop

Family = Literal["trilinear", "conv", "equivariant", "relaxed"]
FAMILIES: tuple[Family, ...] = get_args(Family)


@dataclass(frozen=True)
class Architecture:
    """What a network is made of, as stored in its card.

    Attributes:
        family: ``conv``, ``equivariant`` or ``relaxed``.
        group: ``C1`` for conv, ``O`` or ``Oh`` otherwise.
        fields: regular fields in the trunk; its width in channels is fields times the group's order.
        blocks: residual blocks of two convolutions each.
        banks: L, the weight banks of a relaxed layer.
        head: fields after each upsampling by two but the last. Empty: one head upsamples by four at once.
        frames: time levels in, 1 or 3; the answer is the middle one.
    """

    family: Family
    group: GroupName
    fields: int
    blocks: int = 4
    banks: int = 1
    head: tuple[int, ...] = ()
    frames: int = 1

    def __post_init__(self) -> None:
        if self.family not in FAMILIES or self.family == "trilinear":
            message = f"family must be conv, equivariant or relaxed, not {self.family!r}"
            raise ValueError(message)
        if (self.family == "conv") != (self.group == "C1"):
            message = f"group must be C1 for conv and only for conv, not {self.group!r} for {self.family}"
            raise ValueError(message)
        if self.frames not in (1, 3):
            message = f"frames must be 1 or 3, not {self.frames}"
            raise ValueError(message)
        if len(self.head) > 1:
            message = f"head must have at most one entry (x2 + x2), not {self.head}"
            raise ValueError(message)

    def to_dict(self) -> dict[str, object]:
        """As JSON can hold it."""
        return {**dataclasses.asdict(self), "head": list(self.head)}


class Residual(nn.Module):
    """x + conv(act(conv(act(x)))): pointwise activations commute with permuting the group channels."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: Tensor, circular: Axes = NOWHERE) -> Tensor:
        """Apply the block; axes that are not circular lose two cells at both ends."""
        y: Tensor = self.second(functional.gelu(self.first(functional.gelu(x), circular)), circular)
        return crop(x, 2 * RADIUS, circular) + y


class Network(nn.Module):
    """Coarse vector fields to a fine one, at ``factor`` times the resolution.

    Attributes:
        factor: fine cells per coarse cell along an axis.
        halo: coarse cells consumed at both ends of an axis, summed from the layers' radii at their grids' spacing.
    """

    factor = 4

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        over = group(architecture.group)
        relaxed = architecture.family == "relaxed"
        fields, banks = architecture.fields, architecture.banks
        self.lift = Lift(over, architecture.frames, fields, banks=banks, relaxed=relaxed)
        self.trunk = nn.ModuleList()
        for _ in range(architecture.blocks):
            first = Convolve(over, fields, fields, banks=banks, relaxed=relaxed)
            second = Convolve(over, fields, fields, banks=banks, relaxed=relaxed)
            second.psi.data *= 1 / math.sqrt(2 * architecture.blocks)
            self.trunk.append(Residual(first, second))
        self.upsampling = nn.ModuleList()
        for wider in architecture.head:
            self.upsampling.append(Convolve(over, fields, wider, banks=banks, relaxed=relaxed, factor=2))
            fields = wider
        last = self.factor // 2 ** len(architecture.head)
        self.project = Project(over, fields, banks=banks, relaxed=relaxed, factor=last)
        # Start near the interpolation that the residual is added to.
        self.project.psi.data *= 0.1
        self.halo = math.ceil(self._reach())

    def _reach(self) -> Fraction:
        """Coarse cells that an answer depends on beyond its own, before rounding up to whole ones."""
        at_coarse = 1 + 2 * len(self.trunk) + 1
        finer = sum((Fraction(1, 2**level) for level in range(1, len(self.upsampling) + 1)), Fraction())
        return RADIUS * (at_coarse + finer)

    @property
    def multiplications(self) -> float:
        """How many a fine cell takes, all three components of it, once the kernels are built."""
        total, finer = 0.0, 1
        for layer in self.modules():
            if isinstance(layer, GroupLayer):
                total += layer.kernel().numel() * finer**3
                finer *= layer.factor
        return total / self.factor**3

    def forward(
        self, coarse: Float[Tensor, "batch vectors z y x"], circular: Axes = NOWHERE
    ) -> Float[Tensor, "batch 3 fine_z fine_y fine_x"]:
        """Apply the network.

        Args:
            coarse: vector fields with their components adjacent, and ``halo`` more cells at both ends of every axis
                that is not circular.
            circular: axes (z, y, x) to wrap around.
        """
        x = self.lift(coarse, circular)
        for block in self.trunk:
            x = block(x, circular)
        for layer in self.upsampling:
            x = layer(functional.gelu(x), circular)
        x = self.project(functional.gelu(x), circular)
        # Layers on finer grids consume parts of a coarse cell; keep whole ones.
        spare = self.factor * (self.halo - self._reach())
        return crop(x, int(spare), circular)
