"""Valid convolutions of planes and volumes that wrap around along periodic axes, and layers with a kernel built once.

Fields are ``(batch, channels, y, x)`` or ``(batch, channels, z, y, x)``: two or three axes of cells.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

Module = TypeVar("Module", bound=nn.Module)
Axes = tuple[bool, ...]
# If planes (..., z, y, x) are a slab of a block, puts the last planes of the slab before in front of them, as many as
# the next layer consumes at both ends. Called with the place in the network, the planes, and the number for one end.
Join = Callable[[Hashable, Tensor, int], Tensor]
# Of frozen convolutions: float32, float32 multiplied in TensorFloat-32 on a GPU, or bfloat16.
Precision = Literal["float32", "tf32", "bfloat16"]
NOWHERE: Axes = (False, False, False)
EVERYWHERE: Axes = (True, True, True)
SIZE = 3
RADIUS = SIZE // 2
ONEDNN = torch.backends.mkldnn.is_available()
ONEDNN_DTYPES = (torch.float32, torch.bfloat16)


def convolve(
    x: Float[Tensor, "batch channels *cells"], kernel: Float[Tensor, "out channels *k"], circular: Axes
) -> Float[Tensor, "batch out *cells2"]:
    """Valid cross-correlation, wrapped around along the circular axes."""
    convolution = functional.conv2d if kernel.ndim == 4 else functional.conv3d  # noqa: PLR2004 (out, in, y, x)
    return convolution(wrap(x, circular), kernel)


def wrap(x: Float[Tensor, ...], circular: Axes) -> Float[Tensor, ...]:
    """Add a halo of one cell along the circular axes, from their other ends; the last axes are those of cells."""
    wrapped: Tensor = _Wrap.apply(x, circular) if any(circular) else x  # type: ignore[no-untyped-call]
    return wrapped


def _numbered(circular: Axes) -> Iterator[tuple[int, bool]]:
    """Negative indices of the axes of cells, and whether each is circular."""
    return zip(range(-len(circular), 0), circular, strict=True)


class _Wrap(torch.autograd.Function):
    """As ``functional.pad`` with ``mode="circular"``; its gradient takes a quarter of the time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, circular: Axes) -> Tensor:  # noqa: ANN401 torch's context
        ctx.circular = circular
        for axis, wraps in _numbered(circular):
            if wraps:
                x = torch.cat([x.narrow(axis, x.shape[axis] - RADIUS, RADIUS), x, x.narrow(axis, 0, RADIUS)], axis)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        gradient = gradient.clone()
        for axis, wraps in _numbered(ctx.circular):
            if wraps:
                cells = gradient.shape[axis] - 2 * RADIUS
                first, last = gradient.narrow(axis, RADIUS, RADIUS), gradient.narrow(axis, cells, RADIUS)
                first += gradient.narrow(axis, RADIUS + cells, RADIUS)
                last += gradient.narrow(axis, 0, RADIUS)
                gradient = gradient.narrow(axis, RADIUS, cells)
        return gradient, None


def crop(x: Float[Tensor, ...], cells: int, circular: Axes = NOWHERE) -> Float[Tensor, ...]:
    """Drop cells at both ends of the axes that are not circular; the last axes are those of cells."""
    for axis, wraps in _numbered(circular):
        if not wraps:
            x = x.narrow(axis, cells, x.shape[axis] - 2 * cells)
    return x


def whole(place: Hashable, x: Tensor, radius: int) -> Tensor:  # noqa: ARG001 see Join
    """Join nothing to a block that is computed at once: there are no planes before it."""
    return x


def spread(x: Shaped[Tensor, "batch channels *cells"], factor: int) -> Shaped[Tensor, "batch out *finer"]:
    """Pixel shuffle: lay out channels, numbered (channel, sub-voxel) with x fastest, in space."""
    if factor == 1:
        return x
    batch, channels, *cells = x.shape
    dimension = len(cells)
    x = x.reshape(batch, channels // factor**dimension, *dimension * [factor], *cells)
    each = [place for axis in range(dimension) for place in (2 + dimension + axis, 2 + axis)]
    return x.permute(0, 1, *each).reshape(batch, channels // factor**dimension, *(factor * n for n in cells))


class Frozen(nn.Module):
    """A layer whose kernel has been built once: costs exactly a Conv2d or Conv3d.

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
        """Apply the layer. On a CPU, the bits of a block's answer do not depend on the others in its batch."""
        x = wrap(x.to(self.kernel.dtype), circular)
        dimension = self.kernel.ndim - 2
        still, every = dimension * [0], dimension * [1]
        if ONEDNN and x.device.type == "cpu" and x.dtype in ONEDNN_DTYPES:
            # conv3d computes one small block by another method than two, with other bits and often more slowly.
            answer = torch.mkldnn_convolution(x, self.kernel, None, still, every, every, 1)
        else:
            # What conv3d calls, with all the switches in torch.backends: those are of the process, and another thread
            # could turn the one for TensorFloat-32 meanwhile.
            answer = torch._convolution(  # noqa: SLF001
                x,
                self.kernel,
                None,
                stride=every,
                padding=still,
                dilation=every,
                transposed=False,
                output_padding=still,
                groups=1,
                benchmark=False,
                deterministic=False,
                cudnn_enabled=True,
                allow_tf32=self.tf32,
            )
        return spread(answer if self.answer is None else answer.to(self.answer), self.factor)


class KernelLayer(nn.Module):
    """A convolution with a kernel that is made from free weights each time, and so is never stale."""

    factor = 1

    def kernel(self) -> Float[Tensor, "out channels *k"]:
        """The kernel of the convolution that this layer is."""
        raise NotImplementedError

    def frozen(self, precision: Precision = "float32") -> Frozen:
        """This layer as it is now, with its kernel built."""
        return Frozen(self.kernel(), self.factor, precision)

    def forward(self, x: Tensor, circular: Axes = NOWHERE) -> Tensor:
        """Apply the layer, building its kernel from the weights as they are."""
        kernel = self.kernel()
        if x.dtype == torch.float64:  # as frozen layers do; autocast converts all others itself
            x = x.to(kernel.dtype)
        return spread(convolve(x, kernel, circular), self.factor)


def freeze(module: Module, precision: Precision = "float32") -> Module:
    """A copy of the module for inference, with every kernel built once from the weights as they are now.

    The copy is a snapshot: nothing is cached in the original, so training it further leaves no stale kernel behind.

    Args:
        module: contains layers whose kernels are made from free weights.
        precision: of their convolutions.
    """

    def replace(inside: nn.Module) -> None:
        for name, child in inside.named_children():
            if isinstance(child, KernelLayer):
                setattr(inside, name, child.frozen(precision))
            else:
                replace(child)

    frozen = copy.deepcopy(module)
    replace(frozen)
    return frozen.eval().requires_grad_(requires_grad=False)


def count_parameters(module: nn.Module) -> int:
    """Free weights of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
