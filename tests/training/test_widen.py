"""A wider or deeper network begins as the same function, and copies of fields learn different things."""

from __future__ import annotations

import pytest
import torch

from models.networks import Architecture, Network
from training.widen import deepen, widen

ARCHITECTURES = [
    Architecture("conv", "C1", 6, 2, frames=3),
    Architecture("equivariant", "O", 1, 2),
    Architecture("relaxed", "O", 2, 1, banks=2, head=(1,)),
    Architecture("equivariant", "Oh", 1, 1, factor=2),
]


def trained(architecture: Architecture) -> Network:
    """A network none of whose weights is as at the start."""
    network = Network(architecture).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network


@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_wider_network_computes_the_same(architecture: Architecture, times: int) -> None:
    torch.manual_seed(0)
    network = trained(architecture)
    wider = widen(network, times)
    assert wider.architecture.fields == times * architecture.fields
    coarse = torch.randn(1, 3 * architecture.frames, *3 * [2 * network.halo + 2], dtype=torch.float64)
    torch.testing.assert_close(wider(coarse), network(coarse), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_deeper_network_computes_the_same_and_learns(architecture: Architecture) -> None:
    torch.manual_seed(0)
    network = trained(architecture)
    deeper = deepen(network, 2)
    assert deeper.architecture.blocks == architecture.blocks + 2
    coarse = torch.randn(1, 3 * architecture.frames, *3 * [2 * deeper.halo + 2], dtype=torch.float64)
    answer, inner = deeper(coarse), slice(deeper.halo - network.halo, network.halo - deeper.halo)
    torch.testing.assert_close(answer, network(coarse[..., inner, inner, inner]), rtol=1e-9, atol=1e-9)
    answer.square().mean().backward()
    for block in list(deeper.trunk)[architecture.blocks :]:
        gradient = block.get_parameter("second.psi").grad
        assert gradient is not None
        assert gradient.norm() > 0


def test_copies_learn_different_things() -> None:
    torch.manual_seed(0)
    wider = widen(trained(Architecture("equivariant", "O", 1, 1)), 2)
    coarse = torch.randn(1, 3, *3 * [2 * wider.halo + 2], dtype=torch.float64)
    wider(coarse).square().mean().backward()
    assert wider.lift.psi.grad is not None
    first, second = wider.lift.psi.grad.chunk(2, dim=1)
    assert (first - second).norm() > 0.1 * first.norm()
