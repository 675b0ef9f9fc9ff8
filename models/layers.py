"""Group convolutions of planes and volumes, plain and relaxed, between fields and regular features, with upsampling.

Every layer makes a kernel from free weights by one gather, and applies it as an ordinary convolution in the dimensions
of its group. Features are ``(batch, field * order, *cells)``: one channel per field and group element, the
element running fastest. With ``W(g, h, d)`` the kernel from element h to element g at offset d,

    W[o, g, s, i, h, d] = sum_l w_l(h) psi_l[o, i, g^-1 s, g^-1 h, g^-1 d]

is equivariant if w is constant and relaxed if it is learned (Wang et al., arXiv 2310.02299, eq. 6). ``s`` numbers the
sub-voxels of an output cell; permuting it with the kernel is what keeps upsampling exact.

Fields are vectors or scalars: [`Lift`][models.layers.Lift] and [`LiftScalar`][models.layers.LiftScalar] make regular
features of them, [`Project`][models.layers.Project] and [`ProjectScalar`][models.layers.ProjectScalar] do the reverse.

No layer has a bias, so that layers commute with scaling, as the [`Activation`][models.activation.Activation] between
them does. The kernel of [`Lift`][models.layers.Lift] sums to zero, so that it ignores a constant velocity.

Convolutions are valid: they consume a halo of one cell. Axes named ``circular`` wrap around instead and keep their
length.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.convolution import NOWHERE, SIZE, Axes, Frozen, KernelLayer, Precision
from models.group import Group, pullback

if TYPE_CHECKING:
    from collections.abc import Sequence


class GroupLayer(KernelLayer):
    """What all group convolutions share: banks of free weights that a kernel is gathered from, relaxation, upsampling.

    Args:
        over: the group.
        free: shape of one bank of psi.
        index: where in a bank each entry of the kernel is, (..., cells) with an axis for all that channels stand for.
        element: the group element h whose relaxation weight w_l(h) an entry has; broadcasts with ``index``.
        signs: of the entries, for components of rotated vectors; broadcasts with ``index``. None if all are 1.
        outputs: output channels.
        banks: L, the number of banks.
        relaxed: learn w_l(h); else it is constant.
        factor: sub-voxels per edge of an output cell.
    """

    index: Tensor
    element: Tensor
    signs: Tensor

    def __init__(  # noqa: PLR0913 what a kernel is made of, and how
        self,
        over: Group,
        free: Sequence[int],
        index: Int[Tensor, "*channels cells"],
        element: Tensor,
        signs: Tensor | None = None,
        *,
        outputs: int,
        banks: int,
        relaxed: bool,
        factor: int = 1,
    ) -> None:
        super().__init__()
        self.over = over
        self.factor = factor
        self.outputs = outputs
        fan_in = index.numel() / outputs
        self.psi = nn.Parameter(torch.randn(banks, *free) * math.sqrt(2 / (fan_in * banks)))
        # Constant at the start, so that a relaxed network begins equivariant.
        self.relaxation = nn.Parameter(torch.ones(banks, over.order)) if relaxed else None
        self.register_buffer("index", index.int(), persistent=False)
        self.register_buffer("element", element, persistent=False)
        signs = torch.ones(1) if signs is None else signs.to(torch.get_default_dtype())
        self.register_buffer("signs", signs, persistent=False)

    def banks(self) -> Tensor:
        """The free weights that kernels are made of, (banks, ...)."""
        return self.psi

    def kernel(self) -> Float[Tensor, "out channels *k"]:
        """See the class."""
        index = self.index.flatten()
        # Bank by bank: the gradient of a selection from one axis alone is fast.
        entries = [bank.index_select(0, index).reshape(self.index.shape) for bank in self.banks().flatten(1)]
        if self.relaxation is not None:
            entries = [bank * weight[self.element] for bank, weight in zip(entries, self.relaxation, strict=True)]
        kernel: Tensor = functools.reduce(torch.add, entries) * self.signs
        return kernel.reshape(self.outputs, -1, *self.over.dimension * [SIZE])


class Lift(GroupLayer):
    """Vector fields to regular features: W[o, g, v, c, d] = sum_l w_l(g) sum_c' R_g[c, c'] psi_l[o, v, c', g^-1 d].

    The mean of psi over frames and offsets is subtracted, so that the kernel sums to zero: a constant velocity changes
    nothing. The convolution is always in float32 at least, because velocities differ little from cell to cell.

    Args:
        over: the group.
        vectors: vector fields in (frames).
        fields: regular fields out.
        banks: number of banks.
        relaxed: learn the relaxation weights.
    """

    def __init__(self, over: Group, vectors: int, fields: int, *, banks: int = 1, relaxed: bool = False) -> None:
        dimension, cells = over.dimension, SIZE**over.dimension
        o, g, v, c = _axes(fields, over.order, vectors, dimension)
        components, signs = over.components
        index = ((o * vectors + v) * dimension + components[g, c]) * cells + pullback(over, SIZE)[g[..., 0]]
        super().__init__(
            over,
            (fields, vectors, dimension, cells),
            index,
            g,
            signs[g, c],
            outputs=fields * over.order,
            banks=banks,
            relaxed=relaxed,
        )

    def banks(self) -> Tensor:
        """See the class."""
        return self.psi - self.psi.mean(dim=(2, 4), keepdim=True)

    def frozen(self, precision: Precision = "float32") -> Frozen:
        """See the class."""
        return Frozen(self.kernel(), self.factor, answer=torch.bfloat16 if precision == "bfloat16" else None)

    def forward(self, x: Tensor, circular: Axes = NOWHERE) -> Tensor:
        """See the class."""
        device = x.device.type
        with torch.autocast(device, enabled=False):
            features = super().forward(x, circular)
        return features.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else features


class SeeingLift(Lift):
    """The same without the subtraction: the kernel's sum is free, so that a constant vector counts."""

    def banks(self) -> Tensor:
        """The free weights as they are."""
        return self.psi


class LiftScalar(GroupLayer):
    """Scalar fields to regular features: W[o, g, i, d] = sum_l w_l(g) psi_l[o, i, g^-1 d].

    Args:
        over: the group.
        scalars: scalar fields in.
        fields: regular fields out.
        banks: number of banks.
        relaxed: learn the relaxation weights.
    """

    def __init__(self, over: Group, scalars: int, fields: int, *, banks: int = 1, relaxed: bool = False) -> None:
        cells = SIZE**over.dimension
        o, g, i = _axes(fields, over.order, scalars)
        super().__init__(
            over,
            (fields, scalars, cells),
            (o * scalars + i) * cells + pullback(over, SIZE)[g[..., 0]],
            g,
            outputs=fields * over.order,
            banks=banks,
            relaxed=relaxed,
        )


class Convolve(GroupLayer):
    """Regular features to regular features, optionally on a grid finer by ``factor``.

    W[o, g, s, i, h, d] = sum_l w_l(h) psi_l[o, i, g^-1 s, g^-1 h, g^-1 d].

    Relaxation weights depend on the input element h, as in the paper's formula; in its published code, they depend on
    the output element g. Either way, the layer commutes with exactly those k for which w(k h) = w(h) for all h.

    Args:
        over: the group.
        fields_in: regular fields in.
        fields: regular fields out.
        banks: number of banks.
        relaxed: learn the relaxation weights.
        factor: sub-voxels per edge of a cell.
    """

    def __init__(
        self,
        over: Group,
        fields_in: int,
        fields: int,
        *,
        banks: int = 1,
        relaxed: bool = False,
        factor: int = 1,
    ) -> None:
        order, voxels, cells = over.order, factor**over.dimension, SIZE**over.dimension
        o, g, s, i, h = _axes(fields, order, voxels, fields_in, order)
        moved = (pullback(over, factor)[g, s] * order + over.quotients[g, h]) * cells + pullback(over, SIZE)[g[..., 0]]
        super().__init__(
            over,
            (fields, fields_in, voxels * order * cells),
            (o * fields_in + i) * voxels * order * cells + moved,
            h,
            outputs=fields * order * voxels,
            banks=banks,
            relaxed=relaxed,
            factor=factor,
        )


class Project(GroupLayer):
    """Regular features to vector fields, optionally on a grid finer by ``factor``.

    W[v, c, s, i, h, d] = sum_l w_l(h) sum_c' R_h[c, c'] psi_l[v, i, c', h^-1 s, h^-1 d].

    Args:
        over: the group.
        fields_in: regular fields in.
        vectors: vector fields out.
        banks: number of banks.
        relaxed: learn the relaxation weights.
        factor: sub-voxels per edge of a cell.
    """

    def __init__(
        self,
        over: Group,
        fields_in: int,
        vectors: int = 1,
        *,
        banks: int = 1,
        relaxed: bool = False,
        factor: int = 1,
    ) -> None:
        dimension, voxels, cells = over.dimension, factor**over.dimension, SIZE**over.dimension
        v, c, s, i, h = _axes(vectors, dimension, voxels, fields_in, over.order)
        components, signs = over.components
        moved = pullback(over, factor)[h, s] * cells + pullback(over, SIZE)[h[..., 0]]
        super().__init__(
            over,
            (vectors * fields_in, dimension, voxels * cells),
            ((v * fields_in + i) * dimension + components[h, c]) * voxels * cells + moved,
            h,
            signs[h, c],
            outputs=vectors * dimension * voxels,
            banks=banks,
            relaxed=relaxed,
            factor=factor,
        )


class ProjectScalar(GroupLayer):
    """Regular features to scalar fields, which do not change under the group, optionally finer by ``factor``.

    W[o, s, i, h, d] = sum_l w_l(h) psi_l[o, i, h^-1 s, h^-1 d].

    Args:
        over: the group.
        fields_in: regular fields in.
        scalars: scalar fields out.
        banks: number of banks.
        relaxed: learn the relaxation weights.
        factor: sub-voxels per edge of a cell.
    """

    def __init__(
        self,
        over: Group,
        fields_in: int,
        scalars: int,
        *,
        factor: int,
        banks: int = 1,
        relaxed: bool = False,
    ) -> None:
        voxels, cells = factor**over.dimension, SIZE**over.dimension
        o, s, i, h = _axes(scalars, voxels, fields_in, over.order)
        moved = pullback(over, factor)[h, s] * cells + pullback(over, SIZE)[h[..., 0]]
        super().__init__(
            over,
            (scalars * fields_in, voxels * cells),
            (o * fields_in + i) * voxels * cells + moved,
            h,
            outputs=scalars * voxels,
            banks=banks,
            relaxed=relaxed,
            factor=factor,
        )


def _axes(*sizes: int) -> list[Tensor]:
    """Indices along each axis of a kernel, shaped to broadcast, with one more axis for the cells."""
    return [
        torch.arange(n).reshape([-1 if axis == own else 1 for axis in range(len(sizes) + 1)])
        for own, n in enumerate(sizes)
    ]
