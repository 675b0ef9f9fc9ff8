"""A block that is computed in slabs has the numbers of the block at once."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.blocks import PERIODIC, Block, Boundaries, Plan
from models.convolution import Frozen
from models.networks import Architecture, Network
from models.streaming import Stream
from models.superresolution import SuperResolution, upscale
from models.uncertainty import ErrorHead

CELLS = (17, 6, 7)


@pytest.mark.parametrize(
    ("architecture", "boundary"),
    [
        (Architecture("relaxed", "O", 1, 2), PERIODIC),
        (Architecture("conv", "C1", 3, 1, frames=3), ("wall", "periodic", "open")),
        (Architecture("equivariant", "O", 1, 1, head=(1,)), ("open", "open", "periodic")),
        (None, PERIODIC),
    ],
)
@pytest.mark.parametrize("thickness", [1, 5])
@torch.inference_mode()
def test_slabs_make_the_block(architecture: Architecture | None, boundary: Boundaries, thickness: int) -> None:
    torch.manual_seed(1)
    network = Network(architecture) if architecture else None
    head = ErrorHead(architecture, network.halo) if architecture and network else None
    model = SuperResolution(network, error_head=head).frozen()
    source = np.random.default_rng(0).standard_normal((model.frames, 3, *CELLS)).astype(np.float32)
    layout = Plan(CELLS, (thickness, *CELLS[1:]), model.halo, boundary)
    padded = layout.gather(source, Block((0, 0, 0), CELLS))
    stream = Stream(model, padded, error=head is not None)
    first = 2 * model.halo + 1
    cuts = [0, *range(first, padded.shape[2], thickness), padded.shape[2]]
    slabs = [torch.from_numpy(padded[None, :, :, a:b]) for a, b in pairwise(cuts)]
    found = torch.cat([stream(slab, layout.circular) for slab in slabs], dim=2)[0]
    expected = upscale(model, source, boundary, error=head is not None)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5 * float(expected[:3].std()))


@torch.no_grad()
def test_slabs_after_the_first_copy_nothing_from_the_cpu() -> None:
    """Such a copy waits until the device has done what came before."""
    model = SuperResolution(Network(Architecture("conv", "C1", 1, 1))).frozen().to("meta")
    stream = Stream(model, np.zeros((1, 3, 30, 4, 4), np.float32))
    copies = []

    class Listener(TorchDispatchMode):
        def __torch_dispatch__(self, call: Any, _: object, operands: Any = (), options: Any = None) -> Any:  # noqa: ANN401
            if call is torch.ops.aten._to_copy.default:
                copies.append(operands[0].device.type)
            return call(*operands, **(options or {}))

    first = 2 * model.halo + 1
    with Listener():  # type: ignore[no-untyped-call]
        for thickness, copied in ((first, ["cpu", "cpu"]), (3, []), (3, [])):
            copies.clear()
            answer = stream(torch.empty(1, 1, 3, thickness, 4, 4, device="meta"), (False, True, True))
            assert copies == copied
    assert answer.shape == (1, 3, 12, 16, 16)


@torch.inference_mode()
def test_nothing_is_computed_twice() -> None:
    model = SuperResolution(Network(Architecture("conv", "C1", 2, 2))).frozen()
    planes = Counter[Frozen]()

    def count(layer: Frozen, _: object, answer: torch.Tensor) -> None:
        planes[layer] += answer.shape[2] // layer.factor

    for layer in model.modules():
        if isinstance(layer, Frozen):
            layer.register_forward_hook(count)
    coarse = np.zeros((1, 3, 12 + 2 * model.halo, 4, 4), np.float32)
    stream, cut = Stream(model, coarse), 2 * model.halo + 1
    for slab in (coarse[None, :, :, :cut], coarse[None, :, :, cut:]):
        stream(torch.from_numpy(slab), (False, True, True))
    assert sorted(planes.values(), reverse=True) == [12 + 2 * left for left in range(model.halo - 1, -1, -1)]


@torch.inference_mode()
def test_a_slab_that_did_not_fit_can_be_given_again() -> None:
    torch.manual_seed(1)
    model = SuperResolution(Network(Architecture("conv", "C1", 2, 2))).frozen()
    coarse = np.random.default_rng(0).standard_normal((1, 3, 12 + 2 * model.halo, 4, 4)).astype(np.float32)
    cut, circular = 2 * model.halo + 1, (False, True, True)
    first, second = (torch.from_numpy(part) for part in (coarse[None, :, :, :cut], coarse[None, :, :, cut:]))
    stream, other = Stream(model, coarse), Stream(model, coarse)
    for each in (stream, other):
        each(first, circular)

    def fetch() -> None:
        stream(second, circular)
        raise MemoryError

    with pytest.raises(MemoryError), stream.undone_on_failure():
        fetch()
    assert torch.equal(stream(second, circular), other(second, circular))
