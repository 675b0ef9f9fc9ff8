"""What relaxed steerable networks are made of, without the bases."""

from __future__ import annotations

import math

import pytest
import torch

from models.forecasting.steerable import FREQUENCY, CircleOffset, SteerableConvolution, field_size, penalty


def test_sizes_of_hidden_fields() -> None:
    assert [field_size(name) for name in ("C2", "C4", "C12", "D4", "SO2", "O")] == [2, 4, 12, 8, 5, 24]
    for name in ("C1", "E4", "C", "SO3", "D4x"):
        with pytest.raises(ValueError, match=f"group: '{name}'"):
            field_size(name)


def test_an_offset_commutes_with_turns_of_the_circle() -> None:
    torch.manual_seed(0)
    offset = CircleOffset(2).double()
    torch.nn.init.normal_(offset.offset)
    x = torch.randn(1, 10, 3, 3, dtype=torch.float64)
    for angle, error in ((math.pi / 2, 1e-12), (math.pi / 4, 1e-12), (0.3, 0.1)):
        gap = turned(offset(x), angle) - offset(turned(x, angle))
        assert gap.abs().max() < error * offset(x).abs().max()
    assert (offset(x) - x).abs().max() > 0.1


def turned(x: torch.Tensor, angle: float) -> torch.Tensor:
    """Coefficients of functions f on the circle after f(theta) -> f(theta - angle)."""
    fields = x.unflatten(1, (-1, 2 * FREQUENCY + 1)).clone()
    for k in range(1, FREQUENCY + 1):
        a, b = fields[:, :, 2 * k - 1].clone(), fields[:, :, 2 * k].clone()
        cosine, sine = math.cos(k * angle), math.sin(k * angle)
        fields[:, :, 2 * k - 1], fields[:, :, 2 * k] = a * cosine - b * sine, a * sine + b * cosine
    moved: torch.Tensor = fields.flatten(1, 2)
    return moved


def test_a_kernel_is_the_sum_over_the_basis_with_the_weights_of_each_cell() -> None:
    basis = torch.randn(4, 2, 3, 3, 3, dtype=torch.float64)
    layer = SteerableConvolution(basis, 2, 5).double()
    torch.nn.init.normal_(layer.delta)
    kernel = layer.kernel().unflatten(1, (2, 3)).unflatten(0, (5, 2))
    weights = layer.weights[3, 1, :, None, None] + layer.delta[3, 1]
    expected = sum(weights[i] * basis[i, 1, 2] for i in range(4))
    torch.testing.assert_close(kernel[3, 1, 1, 2], expected)


def test_the_penalty_is_the_mean_square_over_all_layers() -> None:
    first, second = (SteerableConvolution(torch.ones(n, 1, 1, 3, 3), 1, 1) for n in (1, 3))
    layers = torch.nn.Sequential(first, second)
    assert penalty(layers) == 0
    first.delta.data += 2
    assert penalty(layers).item() == pytest.approx(1)
    assert penalty(torch.nn.Identity()) == 0
