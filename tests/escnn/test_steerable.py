"""Relaxed steerable convolutions: escnn's at the start, then as far from it as data ask and a penalty lets them."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest
import torch
from escnn import nn

from models.convolution import freeze
from models.forecasting.catalogue import ForecastCard, ForecastCatalogue
from models.forecasting.forecaster import Forecaster
from models.forecasting.network import ForecastArchitecture, ForecastNetwork, Scales
from models.forecasting.steerable import SteerableConvolution, penalty
from models.group import group, rotate_vector
from training.forecasting.steerable_bases import representation, space_of, steerable_basis

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from models.forecasting.steerable import Kind

# escnn leaves /dev/null open when it silences a solver.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

WALLS = (False, False)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def network(name: str) -> ForecastNetwork:
    """With offsets as training might leave them."""
    architecture = ForecastArchitecture("relaxed-steerable", name, 2, 1, frames=3, viscous=True)
    made = ForecastNetwork(architecture, partial(steerable_basis, name))
    for parameter_name, parameter in made.named_parameters():
        if parameter_name.endswith("offset"):
            torch.nn.init.normal_(parameter)
    return made


def relax(module: torch.nn.Module, by: float) -> None:
    for layer in module.modules():
        if isinstance(layer, SteerableConvolution):
            torch.nn.init.normal_(layer.delta, std=by * float(layer.weights.detach().std()))


def departure(model: Callable[[Tensor], Tensor], x: Tensor, matrices: Tensor) -> float:
    """The largest ``|f(g u) - g f(u)|`` over the largest ``|f(u)|``."""
    answer = model(x)
    gaps = [(model(rotate_vector(x, matrix)) - rotate_vector(answer, matrix)).abs().max() for matrix in matrices]
    return float((torch.stack(gaps).max() / answer.abs().max()).detach())


@pytest.mark.parametrize(("name", "exact"), [("C4", "C4"), ("C8", "C4"), ("D4", "D4"), ("SO2", "C4")])
def test_a_network_commutes_with_the_group_until_it_is_relaxed(name: str, exact: str) -> None:
    made = network(name).double()
    frames, scales = torch.randn(2, 3, 2, 7, 6).double(), Scales(torch.rand(2).double(), torch.ones(2).double())

    def change(frames: Tensor) -> Tensor:
        answer: Tensor = made(frames, WALLS, scales) - frames[:, -1]
        return answer

    matrices = group(exact, 2).matrices
    assert departure(change, frames, matrices) < 1e-12
    relax(made, 0.1)
    assert departure(change, frames, matrices) > 1e-3


def test_layers_of_space_commute_with_the_rotations_of_a_cube() -> None:
    layers = torch.nn.Sequential(
        SteerableConvolution(steerable_basis("O", "vector", "hidden"), 1, 2),
        torch.nn.SiLU(),
        SteerableConvolution(steerable_basis("O", "hidden", "vector"), 2, 1),
    ).double()
    x, matrices = torch.randn(1, 3, 7, 8, 9).double(), group("O").matrices
    assert departure(layers, x, matrices) < 1e-12
    relax(layers, 0.1)
    assert departure(layers, x, matrices) > 1e-3


@pytest.mark.parametrize("name", ["C4", "C8", "D4", "SO2", "O"])
@pytest.mark.parametrize(("source", "target"), [("scalar", "hidden"), ("vector", "hidden"), ("hidden", "vector")])
def test_unrelaxed_it_is_the_layer_of_escnn(name: str, source: Kind, target: Kind) -> None:
    space = space_of(name)
    fields = [nn.FieldType(space, [representation(space, kind)]) for kind in (source, target)]
    convolution = nn.R3Conv if name == "O" else nn.R2Conv
    theirs = convolution(*fields, kernel_size=3, bias=False)
    ours = SteerableConvolution(steerable_basis(name, source, target), 1, 1)
    ours.weights.data = theirs.weights.detach()[None, None]
    expected = theirs.expand_parameters()[0].detach()
    # Their vectors are along (x, -y) or (x, -y, -z).
    if source == "vector":
        expected[:, 1:] *= -1
    if target == "vector":
        expected[1:] *= -1
    assert expected.std() > 0.01
    torch.testing.assert_close(ours.kernel(), expected, rtol=0, atol=2e-6 * float(expected.abs().max()))


def test_a_frozen_kernel_is_that_of_the_weights_as_they_are() -> None:
    layer = SteerableConvolution(steerable_basis("C4", "hidden", "hidden"), 2, 3)
    x = torch.randn(1, 8, 5, 5)
    for parameter in (layer.weights, layer.delta):
        before = freeze(torch.nn.Sequential(layer))(x)
        torch.nn.init.normal_(parameter)
        after = freeze(torch.nn.Sequential(layer).eval())(x)
        assert (after - before).abs().max() > 0.1
        torch.testing.assert_close(after, layer(x).detach())


def test_a_stored_network_is_served_without_escnn(tmp_path: Path) -> None:
    made = network("SO2")
    relax(made, 0.1)
    model = Forecaster(made)
    about = made.architecture.to_dict()
    card = ForecastCard("relaxed-steerable-smoke", "relaxed-steerable", "smoke", 3, ("wall", "wall"), about, 1, {}, {})
    frames = torch.randn(1, 3, 2, 6, 5)
    ForecastCatalogue(tmp_path).save(model, card, np.zeros((4, 2, 6, 5), np.float32))
    with patch.dict(sys.modules, {"escnn": None, "escnn.nn": None, "training.forecasting.steerable_bases": None}):
        loaded = ForecastCatalogue(tmp_path).load(card.name)
        answer = loaded(frames, 2, WALLS)
    assert torch.equal(answer, model.frozen()(frames, 2, WALLS))
    assert (answer - frames[:, -1:]).abs().max() > 0.01


def test_the_larger_the_penalty_the_smaller_the_error_that_is_learned() -> None:
    """A layer fits a convolution that keeps no symmetry, exactly, under penalties over six decades."""
    basis = steerable_basis("C4", "vector", "vector")
    x, broken = torch.randn(8, 2, 9, 9).double(), torch.randn(2, 2, 3, 3).double()
    wanted = torch.nn.functional.conv2d(x, broken)
    errors = []
    for strength in (1e-1, 1e1, 1e3, 1e5):
        layer = SteerableConvolution(basis, 1, 1).double()
        optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def loss(layer: SteerableConvolution = layer, strength: float = strength) -> Tensor:
            error: Tensor = (layer(x) - wanted).square().mean()
            return error + strength * penalty(layer)

        def closure(optimizer: torch.optim.Optimizer = optimizer, loss: Callable[[], Tensor] = loss) -> Tensor:
            optimizer.zero_grad()
            value = loss()
            value.backward()
            return value

        optimizer.step(closure)
        errors.append(departure(layer, x, group("C4", 2).matrices))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 100 * errors[-1] > 0
