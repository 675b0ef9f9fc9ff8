"""What each family computes and moves, and how near that comes to what the machine can do.

Counted from the operations that a forward pass runs, not from formulas. Floating point operations: two for each
multiplication of a convolution, 16 for a value interpolated trilinearly, one for each value of any other operation.
Bytes: every operation reads its arguments and writes its results once, weights among them, as if no cache kept
anything in between. That is the traffic of these operations one after another; caches make it less.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models.convolution import EVERYWHERE, freeze
from models.networks import Architecture, Network
from models.superresolution import SuperResolution
from tests.benchmarks.networks import Published
from tests.benchmarks.timing import alternate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.benchmarks.scale import Scale

CONVOLUTIONS = ("aten::convolution", "aten::mkldnn_convolution", "aten::cudnn_convolution")
INTERPOLATION = "aten::upsample_trilinear3d"
CORNERS = 8
# Names of operations that make room and move nothing.
ROOM = ("aten::empty", "aten::new_empty")


@dataclass(frozen=True)
class Work:
    """What one family does for a fine voxel.

    Attributes:
        name: of the family.
        operations: floating point operations.
        moved: bytes.
        rate: operations per second that it came to.
        roof: the most that the machine allows: its matrix-product rate, or its memory rate times operations per byte.
    """

    name: str
    operations: float
    moved: float
    rate: float
    roof: float

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.operations / self.moved


@dataclass(frozen=True)
class Roofline:
    """A machine and what was seen on it.

    Attributes:
        device: "cpu" or "cuda".
        product: floating point operations per second of a large matrix product.
        memory: bytes per second read and written by a large copy.
        work: each family.
    """

    device: str
    product: float
    memory: float
    work: Sequence[Work]


class Count(TorchDispatchMode):
    """Counts what is computed and moved while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0
        self.moved = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:  # noqa: ANN401 torch's
        """Run an operation and count it."""
        answer = func(*args, **(kwargs or {}))
        name = func._schema.name
        read, written = list(tensors(args)), list(tensors(answer))
        # A view shares its storage with what it was made of.
        places = {each.untyped_storage().data_ptr() for each in read}
        view = any(each.untyped_storage().data_ptr() in places for each in written) and not func._schema.is_mutable
        if view or name in ROOM:
            return answer
        self.moved += sum(each.numel() * each.element_size() for each in (*read, *written))
        each_value = 2 * read[1][0].numel() if name in CONVOLUTIONS else 2 * CORNERS if name == INTERPOLATION else 1
        self.operations += each_value * sum(each.numel() for each in written)
        return answer


def tensors(values: object) -> Iterator[Tensor]:
    """All tensors in nested lists and tuples."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors(value)


def models(scale: Scale) -> dict[str, tuple[Callable[[], object], int]]:
    """What to run for each family, and how many fine voxels it makes of a periodic box."""
    relaxed = scale.network
    width, blocks = 24 * relaxed.fields, relaxed.blocks
    networks = {
        "trilinear": None,
        "conv": Network(Architecture("conv", "C1", width, blocks)),
        "equivariant": Network(Architecture("equivariant", "O", relaxed.fields, blocks)),
        "relaxed": Network(relaxed),
    }
    runs: dict[str, tuple[Callable[[], object], int]] = {}
    for name, network in networks.items():
        model = SuperResolution(network).frozen().to(scale.device)
        runs[name] = _on_box(model, scale)
    published = Published(scale.published_fields).to(scale.device)
    x = torch.randn(1, 3, *(3 * [scale.published_cells]), device=scale.device)
    voxels = (4 * scale.published_cells) ** 3
    built = freeze(published)
    runs["published, frozen"] = (lambda: built(x)), voxels
    runs["published"] = (lambda: published(x)), voxels
    return runs


def _on_box(model: SuperResolution, scale: Scale) -> tuple[Callable[[], object], int]:
    x = torch.randn(1, 1, 3, *(3 * [scale.cells]), device=scale.device)
    return (lambda: model(x, EVERYWHERE)), (4 * scale.cells) ** 3


@torch.no_grad()
def measure(scale: Scale) -> Roofline:
    """Count, time and compare."""
    runs = models(scale)
    a = torch.randn(scale.matrix, scale.matrix, device=scale.device)
    source = torch.zeros(scale.copied // 4, device=scale.device)
    target = torch.zeros_like(source)
    quick = {name: run for name, (run, _) in runs.items() if not name.startswith("published")}
    seconds = alternate({**quick, "product": lambda: a @ a, "copy": lambda: target.copy_(source)}, scale.rounds)
    slow = {name: run for name, (run, _) in runs.items() if name.startswith("published")}
    seconds |= alternate(slow, 1)
    product = 2 * scale.matrix**3 / statistics.median(seconds["product"])
    memory = 2 * scale.copied / statistics.median(seconds["copy"])
    work = []
    for name, (run, voxels) in runs.items():
        with Count() as counted:
            run()
        operations, moved = counted.operations, counted.moved
        roof = min(product, memory * operations / moved)
        rate = operations / statistics.median(seconds[name])
        work.append(Work(name, operations / voxels, moved / voxels, rate, roof))
    return Roofline(scale.device.type, product, memory, work)
