"""A wider or deeper network that computes the same function, so that training can go on with more weights."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from models.activation import Activation
from models.layers import Convolve, GroupLayer, Lift
from models.networks import Network

if TYPE_CHECKING:
    from torch import Tensor

SPREAD = 0.5
"""Standard deviation of the shares by which the copies of a field count, around their mean."""


def widen(network: Network, times: int) -> Network:
    """Copy every field of a network, and share out its outgoing weights between the copies.

    The shares are random, so that the copies learn different things, and add up to one. The rms over channels, by which
    activations divide, does not change. This is Net2Wider (Chen, Goodfellow & Shlens, arXiv 1511.05641) for regular
    fields.

    Args:
        network: of any family.
        times: copies of each field.
    """
    old = network.architecture
    wider = Network(
        dataclasses.replace(old, fields=times * old.fields, head=tuple(times * fields for fields in old.head))
    )
    for layer, copy in zip(network.modules(), wider.modules(), strict=True):
        if isinstance(layer, Activation) and isinstance(copy, Activation):
            copy.offset.data = _copied(layer.offset.data, 0, times)
        if isinstance(layer, GroupLayer) and isinstance(copy, GroupLayer):
            copy.psi.data = _widened(layer, times)
            if layer.relaxation is not None:
                copy.relaxation = nn.Parameter(layer.relaxation.detach().clone())
    return wider


def deepen(network: Network, blocks: int) -> Network:
    """Add residual blocks at the end of the trunk. They add nothing at first, as their last convolutions are zero.

    This is the network morphism of Chen, Goodfellow & Shlens (arXiv 1511.05641) for residual blocks.

    Args:
        network: of any family.
        blocks: to add. Each makes the halo two coarse cells wider.
    """
    old = network.architecture
    deeper = Network(dataclasses.replace(old, blocks=old.blocks + blocks)).to(network.lift.psi)
    deeper.load_state_dict({**deeper.state_dict(), **network.state_dict()})
    for block in list(deeper.trunk)[old.blocks :]:
        cast("GroupLayer", block.second).psi.data.zero_()
    return deeper


def _widened(layer: GroupLayer, times: int) -> Tensor:
    """The free weights of a layer of the wider network."""
    psi = layer.psi.data
    if isinstance(layer, Lift):
        return _copied(psi, 1, times)
    if isinstance(layer, Convolve):
        return _shared(_copied(psi, 1, times), 2, times)
    return _shared(psi, 1, times)


def _copied(weights: Tensor, axis: int, times: int) -> Tensor:
    """Weights of fields that go out, one block of copies after the other."""
    return torch.cat(times * [weights], dim=axis)


def _shared(weights: Tensor, axis: int, times: int) -> Tensor:
    """Weights of fields that come in, in the same order, shared between the copies."""
    shape = [times, *weights.shape[: axis + 1], *(weights.ndim - axis - 1) * [1]]
    shares = (SPREAD * torch.randn(shape)).to(weights)
    shares += 1 / times - shares.mean(dim=0)
    return torch.cat([weights * share for share in shares], dim=axis)
