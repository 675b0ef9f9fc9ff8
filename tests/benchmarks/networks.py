"""What our network costs beside a plain one of the same width, and beside the published layout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.convolution import EVERYWHERE, Frozen, freeze, spread
from models.group import group
from models.layers import Convolve, Lift, Project
from models.networks import Network
from tests.benchmarks.timing import Row, alternate, by_voxels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.layers import GroupLayer
    from tests.benchmarks.scale import Scale

SECTION = "Networks"


class Plain(nn.Module):
    """The same network of ``nn.Conv3d`` and SiLU alone, with the kernels that a network of ours has now."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.lift = _conv3d(network.lift)
        self.trunk = nn.ModuleList(_conv3d(layer) for layer in network.trunk.modules() if isinstance(layer, Convolve))
        self.project = _conv3d(network.project)
        self.factor: int = network.factor

    def forward(self, coarse: Tensor) -> Tensor:
        """From (batch, 3, z, y, x) to ``factor`` times the resolution, all axes periodic."""
        x = self.lift(coarse)
        for first, second in zip(self.trunk[::2], self.trunk[1::2], strict=True):
            x = x + second(functional.silu(first(functional.silu(x))))
        return spread(self.project(functional.silu(x)), self.factor)


def _conv3d(layer: GroupLayer) -> nn.Conv3d:
    kernel = layer.kernel()
    convolution = nn.Conv3d(kernel.shape[1], kernel.shape[0], 3, padding=1, padding_mode="circular", bias=False)
    convolution.weight.data.copy_(kernel)
    return convolution.requires_grad_(requires_grad=False)


class Published(nn.Module):
    """The layout of Wang et al. (arXiv 2310.02299), of our layers: upsampled by two, refined, and once more.

    Features have the 48 elements of O_h, and most layers work at the finest grid. Their upsampling blocks begin with a
    transposed convolution of 8 weights per fine cell and pair of channels; here features are interpolated there, so
    that a fine cell takes about a tenth fewer multiplications than in the original.

    Args:
        fields: hidden width; 16 in the paper.
    """

    def __init__(self, fields: int) -> None:
        super().__init__()
        over = group("Oh")
        self.lift = Lift(over, 1, fields, relaxed=True)
        self.sharpen = nn.ModuleList(Convolve(over, fields, fields, relaxed=True) for _ in range(2))
        self.first = nn.ModuleList(Convolve(over, fields, fields, relaxed=True) for _ in range(2))
        self.second = nn.ModuleList(Convolve(over, fields, fields, relaxed=True) for _ in range(2))
        self.project = Project(over, fields, relaxed=True)

    def forward(self, coarse: Tensor) -> Tensor:
        """From (batch, 3, z, y, x) to four times the resolution, all axes periodic."""
        x = functional.leaky_relu(self.lift(coarse, EVERYWHERE))
        for sharpen, first, second in zip(self.sharpen, self.first, self.second, strict=True):
            x = functional.interpolate(x, scale_factor=2, mode="trilinear")
            x = functional.leaky_relu(x + sharpen(x, EVERYWHERE))
            x = functional.leaky_relu(x + second(functional.leaky_relu(first(x, EVERYWHERE)), EVERYWHERE))
        answer: Tensor = self.project(x, EVERYWHERE)
        return answer


def difference(ours: Tensor, other: Tensor) -> float:
    """Rms of the difference over the rms of ours."""
    return float((ours - other).square().mean().sqrt() / ours.square().mean().sqrt())


@torch.no_grad()
def measure(scale: Scale) -> Sequence[Row]:
    """Rows of the section."""
    device = scale.device
    network = Network(scale.network).to(device)
    frozen, plain = freeze(network), Plain(network).to(device)
    x = torch.randn(1, 3, *(3 * [scale.cells]), device=device)
    ours = "relaxed, frozen"
    seconds = alternate(
        {
            ours: lambda: frozen(x, EVERYWHERE),
            "plain": lambda: plain(x),
            "live": lambda: network(x, EVERYWHERE),
        },
        scale.rounds,
    )
    answer = frozen(x, EVERYWHERE)
    width = network.lift.kernel().shape[0]
    of, voxels = f"{scale.cells}^3 to {4 * scale.cells}^3", (4.0 * scale.cells) ** 3
    rows = [
        by_voxels(
            SECTION,
            (ours, seconds[ours]),
            (f"plain Conv3d network, {width} channels", seconds["plain"]),
            voxels,
            note=f"{of}; kernels of the same shapes",
        ),
        by_voxels(
            SECTION,
            (ours, seconds[ours]),
            ("the same, kernels built at every call", seconds["live"]),
            voxels,
            difference=difference(answer, network(x, EVERYWHERE)),
            note=of,
        ),
    ]
    return [*rows, *_published(scale, frozen)]


def _published(scale: Scale, frozen: Network) -> Sequence[Row]:
    published = Published(scale.published_fields).to(scale.device)
    built = freeze(published)
    cells, fields = scale.published_cells, scale.published_fields
    x = torch.randn(1, 3, *(3 * [cells]), device=scale.device)
    ours = "relaxed, frozen"
    seconds = alternate(
        {ours: lambda: frozen(x, EVERYWHERE), "live": lambda: published(x), "built": lambda: built(x)},
        scale.slow_rounds,
    )
    name, of = f"published layout, hidden {fields} x 48", f"{cells}^3 to {4 * cells}^3"
    more = multiplications(built, cells) / multiplications(frozen, cells)
    voxels = (4.0 * cells) ** 3
    note = f"{of}; {more:,.0f} times the multiplications"
    return [
        by_voxels(SECTION, (ours, seconds[ours]), (name, seconds["live"]), voxels, note=note),
        by_voxels(SECTION, (ours, seconds[ours]), (f"{name}, frozen", seconds["built"]), voxels, note=note),
    ]


def multiplications(network: nn.Module, cells: int) -> float:
    """Multiplications of all convolutions of a frozen network on a periodic box, in all."""
    counted = 0.0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        nonlocal counted
        assert isinstance(layer, Frozen)
        counted += layer.kernel.numel() * math.prod(inputs[0].shape[2:])

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, Frozen)]
    x = torch.randn(1, 3, cells, cells, cells, device=next(network.buffers()).device)
    network(x, EVERYWHERE) if isinstance(network, Network) else network(x)
    for hook in hooks:
        hook.remove()
    return counted
