"""Group convolutions, plain and relaxed, between vector fields and regular features, with sub-voxel upsampling.

Every layer is a kernel made from free weights by one gather, then an ordinary 3D convolution. Features are
``(batch, field * order, z, y, x)``: one channel per field and group element, the element running fastest. With
``W(g, h, d)`` the kernel from element h to element g at offset d,

    W[o, g, s, i, h, d] = sum_l w_l(h) psi_l[o, i, g^-1 s, g^-1 h, g^-1 d]

is equivariant if w is constant and relaxed if it is learned (Wang et al., arXiv 2310.02299, eq. 6). ``s`` numbers the
sub-voxels of an output cell; permuting it with the kernel is what keeps upsampling exact.

Nothing has a bias, and a lift's kernel sums to zero, so that layers are blind to a constant velocity and commute with
scaling; see [`Activation`][models.layers.Activation] for what is between them.

Convolutions are valid: they consume a halo of one cell. Axes named ``circular`` wrap around instead and keep their
length.
"""

from __future__ import annotations

import copy
import functools
import math
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional

from models.group import Group, pullback

if TYPE_CHECKING:
    from collections.abc import Sequence

Module = TypeVar("Module", bound=nn.Module)
Axes = tuple[bool, bool, bool]
# Of frozen convolutions: as they are; as they are, but multiplied in TensorFloat-32 on a GPU; or rounded to bfloat16.
Precision = Literal["float32", "tf32", "bfloat16"]
NOWHERE: Axes = (False, False, False)
EVERYWHERE: Axes = (True, True, True)
SIZE = 3
RADIUS = SIZE // 2
ONEDNN = torch.backends.mkldnn.is_available()
ONEDNN_DTYPES = (torch.float32, torch.bfloat16)


def convolve(
    x: Float[Tensor, "batch channels z y x"], kernel: Float[Tensor, "out channels k k k"], circular: Axes
) -> Float[Tensor, "batch out z2 y2 x2"]:
    """Valid 3D cross-correlation, wrapped around along the circular axes."""
    return functional.conv3d(wrap(x, circular), kernel)


def wrap(x: Float[Tensor, "*lead z y x"], circular: Axes) -> Float[Tensor, "*lead z2 y2 x2"]:
    """Add a halo of one cell from the other end of the axes that are circular."""
    wrapped: Tensor = _Wrap.apply(x, circular) if any(circular) else x  # type: ignore[no-untyped-call]
    return wrapped


class _Wrap(torch.autograd.Function):
    """As ``functional.pad`` with ``mode="circular"``; its gradient takes a quarter of the time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, circular: Axes) -> Tensor:  # noqa: ANN401 torch's context
        ctx.circular = circular
        for axis, wraps in zip((-3, -2, -1), circular, strict=True):
            if wraps:
                x = torch.cat([x.narrow(axis, x.shape[axis] - RADIUS, RADIUS), x, x.narrow(axis, 0, RADIUS)], axis)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        gradient = gradient.clone()
        for axis, wraps in zip((-3, -2, -1), ctx.circular, strict=True):
            if wraps:
                cells = gradient.shape[axis] - 2 * RADIUS
                first, last = gradient.narrow(axis, RADIUS, RADIUS), gradient.narrow(axis, cells, RADIUS)
                first += gradient.narrow(axis, RADIUS + cells, RADIUS)
                last += gradient.narrow(axis, 0, RADIUS)
                gradient = gradient.narrow(axis, RADIUS, cells)
        return gradient, None


def crop(x: Float[Tensor, "*lead z y x"], cells: int, circular: Axes = NOWHERE) -> Float[Tensor, "*lead z2 y2 x2"]:
    """Drop cells at both ends of the axes that are not circular."""
    for axis, wrap in zip((-3, -2, -1), circular, strict=True):
        if not wrap:
            x = x.narrow(axis, cells, x.shape[axis] - 2 * cells)
    return x


def spread(x: Shaped[Tensor, "batch channels z y x"], factor: int) -> Shaped[Tensor, "batch out z2 y2 x2"]:
    """Lay channels numbered (channel, z, y, x of the sub-voxel) out in space: pixel shuffle in three dimensions."""
    if factor == 1:
        return x
    batch, channels, *cells = x.shape
    x = x.reshape(batch, channels // factor**3, factor, factor, factor, *cells)
    x = x.permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(batch, channels // factor**3, *(factor * n for n in cells))


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

    def forward(self, x: Float[Tensor, "batch channels z y x"]) -> Float[Tensor, "batch channels z y x"]:
        """Apply it; where all channels are zero, so is the answer."""
        offset = self.offset.to(x.dtype).repeat_interleave(self.order)[:, None, None, None]
        scale = torch.linalg.vector_norm(x, dim=1, keepdim=True) / math.sqrt(x.shape[1])
        unit = scale.clamp_min(torch.finfo(x.dtype).tiny)
        answer: Tensor = scale * _silu(torch.addcdiv(offset, x, unit))
        return answer


def _silu(x: Tensor) -> Tensor:
    """SiLU, in place where no gradient is wanted, with the same bits for a block whichever are in the batch with it."""
    if x.requires_grad or x.device.type != "cpu":
        return functional.silu(x)
    # A vectorised loop does its last few values another way, so each block gets a loop of its own.
    for block in x:
        functional.silu(block, inplace=True)
    return x


class Frozen(nn.Module):
    """A layer whose kernel has been built once: costs exactly a Conv3d.

    Args:
        kernel: of the convolution.
        factor: sub-voxels per edge of an output cell.
        precision: of the convolution.
        answer: type of the answer; None for that of the convolution.
    """

    kernel: Tensor

    def __init__(
        self, kernel: Tensor, factor: int, precision: Precision = "float32", answer: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.factor = factor
        self.tf32 = precision == "tf32"
        self.answer = answer
        dtype = torch.bfloat16 if precision == "bfloat16" else kernel.dtype
        self.register_buffer("kernel", kernel.detach().clone().to(dtype))

    def forward(self, x: Tensor, circular: Axes = NOWHERE) -> Tensor:
        """Apply the layer. On a CPU a block's answer has the same bits whichever blocks are in the batch with it."""
        x = x.to(self.kernel.dtype)
        if ONEDNN and x.device.type == "cpu" and x.dtype in ONEDNN_DTYPES:
            # conv3d takes another way for one small block than for two: other bits, and often slower.
            still, every = (0, 0, 0), (1, 1, 1)
            answer = torch.mkldnn_convolution(wrap(x, circular), self.kernel, None, still, every, every, 1)
        elif x.device.type == "cuda":
            # cuDNN multiplies in TensorFloat-32 unless it is told not to.
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=self.tf32):
                answer = convolve(x, self.kernel, circular)
        else:
            answer = convolve(x, self.kernel, circular)
        return spread(answer if self.answer is None else answer.to(self.answer), self.factor)


class GroupLayer(nn.Module):
    """What all group convolutions share: banks of free weights that a kernel is gathered from, relaxation, upsampling.

    Args:
        over: the group.
        free: shape of one bank of psi.
        index: where in a bank each entry of the kernel is, (..., cells) with an axis for all that channels stand for.
        element: the group element h whose relaxation weight w_l(h) an entry has; broadcasts with ``index``.
        signs: of the entries, that a rotated vector's components have; broadcasts with ``index``.
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
        signs: Tensor,
        *,
        outputs: int,
        banks: int,
        relaxed: bool,
        factor: int,
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
        self.register_buffer("signs", signs.to(torch.get_default_dtype()), persistent=False)

    def banks(self) -> Tensor:
        """The free weights as kernels are made of them, (banks, ...)."""
        return self.psi

    def kernel(self) -> Float[Tensor, "out channels k k k"]:
        """The kernel of the convolution that this layer is."""
        index = self.index.flatten()
        # Bank by bank: the gradient of a selection from one axis alone is fast.
        entries = [bank.index_select(0, index).reshape(self.index.shape) for bank in self.banks().flatten(1)]
        if self.relaxation is not None:
            entries = [bank * weight[self.element] for bank, weight in zip(entries, self.relaxation, strict=True)]
        kernel: Tensor = functools.reduce(torch.add, entries) * self.signs
        return kernel.reshape(self.outputs, -1, SIZE, SIZE, SIZE)

    def frozen(self, precision: Precision = "float32") -> Frozen:
        """This layer as it is now, with its kernel built."""
        return Frozen(self.kernel(), self.factor, precision)

    def forward(self, x: Tensor, circular: Axes = NOWHERE) -> Tensor:
        """Apply the layer, building its kernel from the weights as they are."""
        return spread(convolve(x, self.kernel(), circular), self.factor)


class Lift(GroupLayer):
    """Vector fields to regular features: W[o, g, c, d] = sum_l w_l(g) sum_c' R_g[c, c'] psi_l[o, c', g^-1 d].

    The mean of psi over frames and offsets is taken out, so that the kernel sums to zero: what is added to all
    velocities around a cell changes nothing there. The convolution is never rounded to less than float32, as velocities
    differ by little from cell to cell.

    Args:
        over: the group.
        vectors: vector fields in (frames).
        fields: regular fields out.
        banks: number of banks.
        relaxed: learn the relaxation weights.
    """

    def __init__(self, over: Group, vectors: int, fields: int, *, banks: int = 1, relaxed: bool = False) -> None:
        o, g, f, c = _axes(fields, over.order, vectors, 3)
        components, signs = over.components
        index = ((o * vectors + f) * 3 + components[g, c]) * SIZE**3 + pullback(over, SIZE)[g[..., 0]]
        super().__init__(
            over,
            (fields, vectors, 3, SIZE**3),
            index,
            g,
            signs[g, c],
            outputs=fields * over.order,
            banks=banks,
            relaxed=relaxed,
            factor=1,
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


class Convolve(GroupLayer):
    """Regular features to regular features, optionally on a grid finer by ``factor``.

    W[o, g, s, i, h, d] = sum_l w_l(h) psi_l[o, i, g^-1 s, g^-1 h, g^-1 d].

    Args:
        over: the group.
        fields_in: regular fields in.
        fields: regular fields out.
        banks: number of banks.
        relaxed: learn the relaxation weights.
        factor: sub-voxels per edge of a cell.
    """

    def __init__(
        self, over: Group, fields_in: int, fields: int, *, banks: int = 1, relaxed: bool = False, factor: int = 1
    ) -> None:
        order, voxels = over.order, factor**3
        o, g, s, i, h = _axes(fields, order, voxels, fields_in, order)
        moved = (pullback(over, factor)[g, s] * order + over.quotients[g, h]) * SIZE**3 + pullback(over, SIZE)[
            g[..., 0]
        ]
        super().__init__(
            over,
            (fields, fields_in, voxels * order * SIZE**3),
            (o * fields_in + i) * voxels * order * SIZE**3 + moved,
            h,
            torch.ones(1),
            outputs=fields * order * voxels,
            banks=banks,
            relaxed=relaxed,
            factor=factor,
        )


class Project(GroupLayer):
    """Regular features to one vector field, optionally on a grid finer by ``factor``.

    W[c, s, i, h, d] = sum_l w_l(h) sum_c' R_h[c, c'] psi_l[i, c', h^-1 s, h^-1 d].

    Args:
        over: the group.
        fields_in: regular fields in.
        banks: number of banks.
        relaxed: learn the relaxation weights.
        factor: sub-voxels per edge of a cell.
    """

    def __init__(self, over: Group, fields_in: int, *, banks: int = 1, relaxed: bool = False, factor: int = 1) -> None:
        voxels = factor**3
        c, s, i, h = _axes(3, voxels, fields_in, over.order)
        components, signs = over.components
        moved = pullback(over, factor)[h, s] * SIZE**3 + pullback(over, SIZE)[h[..., 0]]
        super().__init__(
            over,
            (fields_in, 3, voxels * SIZE**3),
            (i * 3 + components[h, c]) * voxels * SIZE**3 + moved,
            h,
            signs[h, c],
            outputs=3 * voxels,
            banks=banks,
            relaxed=relaxed,
            factor=factor,
        )


class Invariant(GroupLayer):
    """Regular features to one scalar field that does not change under the group, optionally finer by ``factor``.

    W[s, i, h, d] = sum_l w_l(h) psi_l[i, h^-1 s, h^-1 d].

    Args:
        over: the group.
        fields_in: regular fields in.
        banks: number of banks.
        relaxed: learn the relaxation weights.
        factor: sub-voxels per edge of a cell.
    """

    def __init__(self, over: Group, fields_in: int, *, banks: int = 1, relaxed: bool = False, factor: int = 1) -> None:
        voxels = factor**3
        s, i, h = _axes(voxels, fields_in, over.order)
        moved = pullback(over, factor)[h, s] * SIZE**3 + pullback(over, SIZE)[h[..., 0]]
        super().__init__(
            over,
            (fields_in, voxels * SIZE**3),
            i * voxels * SIZE**3 + moved,
            h,
            torch.ones(1),
            outputs=voxels,
            banks=banks,
            relaxed=relaxed,
            factor=factor,
        )


def _axes(*sizes: int) -> list[Tensor]:
    """A number for each place along each axis of a kernel, which broadcast, with one more axis for its cells."""
    return [
        torch.arange(n).reshape([-1 if axis == own else 1 for axis in range(len(sizes) + 1)])
        for own, n in enumerate(sizes)
    ]


def freeze(module: Module, precision: Precision = "float32") -> Module:
    """A copy of the module for inference, with every kernel built once from the weights as they are now.

    The copy is a snapshot: nothing is cached in the original, so training it further leaves no stale kernel behind.

    Args:
        module: with group layers in it.
        precision: of their convolutions.
    """

    def replace(inside: nn.Module) -> None:
        for name, child in inside.named_children():
            if isinstance(child, GroupLayer):
                setattr(inside, name, child.frozen(precision))
            else:
                replace(child)

    frozen = copy.deepcopy(module)
    replace(frozen)
    return frozen.eval().requires_grad_(requires_grad=False)


def count_parameters(module: nn.Module) -> int:
    """Free weights of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
