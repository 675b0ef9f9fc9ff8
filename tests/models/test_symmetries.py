"""Symmetries that are known beforehand are the ones that are found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.group import group
from models.layers import GroupLayer
from models.networks import Architecture, Network
from models.superresolution import SuperResolution
from models.symmetries import equivariance_errors, relaxation


def network(family: str, over: str = "O") -> SuperResolution:
    torch.manual_seed(1)
    architecture = Architecture(family, over, 1 if over != "C1" else 8, 1)  # type: ignore[arg-type]
    return SuperResolution(Network(architecture))


def noise() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal((1, 3, 4, 6, 8)).astype(np.float32)


def test_an_equivariant_network_keeps_the_rotations() -> None:
    errors = equivariance_errors(network("equivariant").frozen(), noise())
    rotations, others = list(errors.values())[:24], list(errors.values())[24:]
    assert max(rotations) < 1e-5
    assert min(others) > 1e-3


def test_trilinear_interpolation_keeps_everything_and_a_convolution_nothing() -> None:
    assert max(equivariance_errors(SuperResolution().eval(), noise()).values()) < 1e-5
    errors = equivariance_errors(network("conv", "C1").frozen(), noise())
    assert errors.pop("x,y,z") == 0
    assert min(errors.values()) > 1e-3


def test_relaxation_breaks_what_its_weights_break() -> None:
    """Weights that tell apart where z goes keep just the rotations about it."""
    model = network("relaxed")
    weights = 1 + 0.5 * group("O").matrices[:, 2, 2].float()
    for layer in model.modules():
        if isinstance(layer, GroupLayer) and layer.relaxation is not None:
            layer.relaxation.data[:] = weights
    errors = equivariance_errors(model.frozen(), noise())
    kept = {name for name, error in list(errors.items())[:24] if error < 1e-5}
    assert kept == {"x,y,z", "-y,x,z", "-x,-y,z", "y,-x,z"}


def test_layers_begin_equivariant_and_others_have_no_relaxation() -> None:
    shares = relaxation(network("relaxed"))
    assert set(shares) == {"network.lift", "network.trunk.0.first", "network.trunk.0.second", "network.project"}
    assert all(each["A1"] == pytest.approx(1) for each in shares.values())
    assert relaxation(network("equivariant")) == {}
    assert relaxation(SuperResolution()) == {}
