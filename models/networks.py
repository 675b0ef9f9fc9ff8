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

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.activation import Activation
from models.convolution import NOWHERE, RADIUS, Axes, Join, crop, whole
from models.group import MIRROR, GroupName, group, rotate_vector
from models.layers import Convolve, GroupLayer, Lift, Project
from models.operators import FACTOR

Family = Literal["trilinear", "conv", "equivariant", "relaxed"]
FAMILIES: tuple[Family, ...] = get_args(Family)
FACTORS = (2, 4)


@dataclass(frozen=True)
class Architecture:
    """What a network is made of, as stored in its card.

    Attributes:
        family: ``conv``, ``equivariant`` or ``relaxed``.
        group: ``C1`` for conv, ``O`` or ``Oh`` otherwise.
        fields: regular fields in the trunk; its width in channels is fields times the group's order.
        blocks: residual blocks of two convolutions each.
        banks: L, the weight banks of a relaxed layer.
        head: fields after each upsampling by two but the last. Empty: one head upsamples by the factor at once.
        frames: number of time levels in the input, 1 or 3; the answer is at the middle one.
        factor: fine cells per coarse cell along an axis, 2 or 4.
        mirrored: the answer is the mean of the answer to the field and, mirrored back, of that to the mirrored field.
            Then an equivariant network of the group ``O`` also keeps reflections, at twice the cost.
    """

    family: Family
    group: GroupName
    fields: int
    blocks: int = 4
    banks: int = 1
    head: tuple[int, ...] = ()
    frames: int = 1
    factor: int = FACTOR
    mirrored: bool = False

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
        if self.factor not in FACTORS:
            message = f"factor must be 2 or 4, not {self.factor}"
            raise ValueError(message)
        if self.mirrored and self.group != "O":
            message = f"mirrored is for the group O, not {self.group}"
            raise ValueError(message)
        if 2 ** len(self.head) >= self.factor:
            message = f"head must have one entry at most (x2 + x2), and none for factor 2, not {self.head}"
            raise ValueError(message)

    @property
    def kept_group(self) -> GroupName:
        """The group of rotations and reflections that the answers of an equivariant network follow."""
        return "Oh" if self.mirrored else self.group

    def to_dict(self) -> dict[str, object]:
        """The architecture as JSON data."""
        return {**dataclasses.asdict(self), "head": list(self.head)}


class Residual(nn.Module):
    """x + second(act(first(act(x)))).

    Args:
        first, second: convolutions of regular features.
        before, between: the activation before each of them.
    """

    def __init__(self, before: Activation, first: nn.Module, between: Activation, second: nn.Module) -> None:
        super().__init__()
        self.before = before
        self.first = first
        self.between = between
        self.second = second

    def forward(self, x: Tensor, circular: Axes = NOWHERE, join: Join = whole) -> Tensor:
        """Apply the block; axes that are not circular lose two cells at both ends."""
        y: Tensor = self.first(join((self, "first"), self.before(x), RADIUS), circular)
        y = self.second(join((self, "second"), self.between(y), RADIUS), circular)
        return crop(join(self, x, 2 * RADIUS), 2 * RADIUS, circular) + y


class Network(nn.Module):
    """Coarse vector fields to a fine one, at ``factor`` times the resolution.

    Its answer depends only on differences between cells, and scales with them.

    Attributes:
        factor: fine cells per coarse cell along an axis.
        halo: coarse cells consumed at both ends of an axis, summed from the layers' radii at their grids' spacing.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.factor = architecture.factor
        over = group(architecture.group)
        relaxed = architecture.family == "relaxed"
        fields, banks = architecture.fields, architecture.banks
        self.lift = Lift(over, architecture.frames, fields, banks=banks, relaxed=relaxed)
        self.trunk = nn.ModuleList()
        for _ in range(architecture.blocks):
            first = Convolve(over, fields, fields, banks=banks, relaxed=relaxed)
            second = Convolve(over, fields, fields, banks=banks, relaxed=relaxed)
            second.psi.data *= 1 / math.sqrt(2 * architecture.blocks)
            self.trunk.append(Residual(Activation(over, fields), first, Activation(over, fields), second))
        self.upsampling = nn.ModuleList()
        self.activations = nn.ModuleList()
        for wider in architecture.head:
            self.activations.append(Activation(over, fields))
            self.upsampling.append(Convolve(over, fields, wider, banks=banks, relaxed=relaxed, factor=2))
            fields = wider
        self.activations.append(Activation(over, fields))
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
        """Multiplications for a fine cell, all three components together, once the kernels are built."""
        total, finer = 0.0, 1
        for layer in self.modules():
            if isinstance(layer, GroupLayer):
                total += layer.kernel().numel() * finer**3
                finer *= layer.factor
        return total / self.factor**3 * (2 if self.architecture.mirrored else 1)

    def forward(
        self, coarse: Float[Tensor, "batch vectors z y x"], circular: Axes = NOWHERE
    ) -> Float[Tensor, "batch 3 fine_z fine_y fine_x"]:
        """Apply the network.

        Args:
            coarse: vector fields with their components adjacent, and ``halo`` more cells at both ends of every axis
                that is not circular.
            circular: axes (z, y, x) to wrap around.
        """
        return self.refined(self.features(coarse, circular), circular)

    def features(
        self, coarse: Float[Tensor, "batch vectors z y x"], circular: Axes, join: Join = whole
    ) -> Float[Tensor, "fields channels z2 y2 x2"]:
        """The regular features of the trunk, at the coarse grid, with the halo for what follows; see ``forward``.

        If the network is mirrored, those of the mirrored fields come after those of the batch.
        """
        if self.architecture.mirrored:
            mirrored = rotate_vector(coarse.unflatten(1, (-1, 3)), MIRROR).flatten(1, 2)
            coarse = torch.cat([coarse, mirrored])
        # Channels last is twice as fast on a CPU in bfloat16; all layers keep the format of the input.
        x = join(self.lift, coarse.contiguous(memory_format=torch.channels_last_3d), RADIUS)
        x = self.lift(x, circular)
        for block in self.trunk:
            x = block(x, circular, join)
        return join(self.project, x, self.halo - RADIUS * (1 + 2 * len(self.trunk)))

    def refined(
        self, features: Float[Tensor, "fields channels z y x"], circular: Axes
    ) -> Float[Tensor, "batch 3 fine_z fine_y fine_x"]:
        """The fine vector field, from the features of the trunk; see ``forward``."""
        x = features
        for activate, layer in zip(self.activations, (*self.upsampling, self.project), strict=True):
            x = layer(activate(x), circular)
        # Layers on finer grids consume parts of a coarse cell; keep whole ones.
        spare = self.factor * (self.halo - self._reach())
        x = crop(x, int(spare), circular)
        if not self.architecture.mirrored:
            return x
        given, mirrored = x.chunk(2)
        return (given + rotate_vector(mirrored, MIRROR)) / 2
