"""A model computes on the device of its input: on a GPU, it would fail with an operand that stayed on the CPU.

The device ``meta`` stands for a GPU.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.group import group, rotate_vector
from models.networks import Architecture, Network
from models.superresolution import SuperResolution
from models.uncertainty import ErrorHead

ARCHITECTURES = {
    "conv": Architecture("conv", "C1", 2, 1),
    "equivariant": Architecture("equivariant", "O", 1, 1, frames=3),
    "relaxed": Architecture("relaxed", "O", 1, 1, factor=2),
    "mirrored": Architecture("equivariant", "O", 1, 1, mirrored=True),
}


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, as a GPU does and ``meta`` does not always."""

    def __torch_dispatch__(self, call: Any, _: object, operands: Any = (), options: Any = None) -> Any:  # noqa: ANN401
        tensors = [each for each in tree_leaves((operands, options)) if isinstance(each, torch.Tensor)]
        # A single number may be on the CPU, and a copy is from one device to another.
        if call is not torch.ops.aten.copy_.default:
            assert len({each.device for each in tensors if each.dim() or each.is_meta}) < 2, call
        return call(*operands, **(options or {}))


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_a_model_with_its_error(name: str) -> None:
    network = Network(ARCHITECTURES[name])
    model = SuperResolution(network, error_head=ErrorHead(network.architecture, network.halo)).frozen().to("meta")
    coarse = torch.empty(1, model.frames, 3, 2 * model.halo + 2, 4, 4, device="meta")
    with OneDevice():  # type: ignore[no-untyped-call]
        answer = model.with_error(coarse, (False, True, True))
    assert answer.device.type == "meta"
    assert answer.shape == (1, 4, 2 * model.factor, 4 * model.factor, 4 * model.factor)


@pytest.mark.parametrize("dimension", [2, 3])
def test_vectors_are_turned_where_they_are_and_exactly(dimension: int) -> None:
    """Autocast rounds what it finds in matrix products."""
    field = torch.randn(2, dimension, *[4] * dimension)
    for matrix in group("Oh" if dimension == 3 else "D4", dimension).matrices:
        with OneDevice():  # type: ignore[no-untyped-call]
            rotate_vector(field.to("meta"), matrix)
        turned = rotate_vector(field, matrix)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(rotate_vector(field, matrix), turned)
        assert torch.equal(rotate_vector(turned, matrix.T), field)
