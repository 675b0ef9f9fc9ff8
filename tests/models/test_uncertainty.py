"""The predicted error keeps the symmetries of the answer, agrees between blocks, and is learned as an expectation."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003

import numpy as np
import pytest
import torch
from torch import Tensor

from models.blocks import PERIODIC
from models.catalogue import Catalogue, describe
from models.convolution import EVERYWHERE, NOWHERE
from models.group import group, rotate_scalar, rotate_vector
from models.metrics.ranks import rank_correlation
from models.networks import Architecture, Network
from models.superresolution import SuperResolution, upscale
from models.uncertainty import ErrorHead, calibration, error_quantiles, laplace_loss, lengths_of

ARCHITECTURES = [
    Architecture("equivariant", "O", 2, 1),
    Architecture("equivariant", "Oh", 1, 1, head=(1,)),
    Architecture("relaxed", "O", 2, 1, factor=2),
]


def predicting(architecture: Architecture, dtype: torch.dtype = torch.float64) -> SuperResolution:
    torch.manual_seed(0)
    network = Network(architecture)
    model = SuperResolution(network, error_head=ErrorHead(architecture, network.halo))
    return model.to(dtype).eval().requires_grad_(requires_grad=False)


@pytest.fixture
def coarse() -> Tensor:
    return torch.randn(1, 1, 3, 8, 9, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_error_turns_scales_and_sees_no_boost(architecture: Architecture, coarse: Tensor) -> None:
    model = predicting(architecture)
    error = model.with_error(coarse, EVERYWHERE)[:, 3]
    assert error.std() > 0.01 * error.mean() > 0
    boost = torch.tensor([3.0, -7.0, 100.0], dtype=coarse.dtype)[:, None, None, None]
    assert torch.allclose(model.with_error(2.5 * coarse + boost, EVERYWHERE)[:, 3], 2.5 * error, rtol=1e-11)
    for matrix in group(architecture.group).matrices[::5]:
        turned = model.with_error(rotate_vector(coarse, matrix), EVERYWHERE)[:, 3]
        assert torch.allclose(turned, rotate_scalar(error, matrix), rtol=1e-11)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_asking_for_the_error_changes_no_answer(architecture: Architecture, coarse: Tensor) -> None:
    model = predicting(architecture)
    assert torch.equal(model.with_error(coarse, EVERYWHERE)[:, :3], model(coarse, EVERYWHERE))


def test_the_error_of_a_field_in_double_precision(coarse: Tensor) -> None:
    """By a model in single precision, as stored ones are."""
    model = predicting(ARCHITECTURES[0], torch.float32).frozen()
    double, single = (
        upscale(model, coarse[0, 0].to(kind).numpy(), PERIODIC, error=True) for kind in (torch.float64, torch.float32)
    )
    assert double.dtype == np.float64
    np.testing.assert_allclose(double, single, atol=1e-5)


def test_blocks_predict_the_error_of_the_whole() -> None:
    model = predicting(ARCHITECTURES[0], torch.float32).frozen()
    source = np.random.default_rng(2).standard_normal((3, 7, 8, 9)).astype(np.float32)
    whole, tiled = (upscale(model, source, ("wall", "periodic", "open"), block=n, error=True) for n in (16, 3))
    assert whole.shape == (4, 28, 32, 36)
    np.testing.assert_allclose(tiled, whole, atol=1e-5 * whole.std())


def test_a_constant_field_has_no_error() -> None:
    constant = torch.full((1, 1, 3, 4, 4, 4), 7.0, dtype=torch.float64)
    answer = predicting(ARCHITECTURES[0]).with_error(constant, EVERYWHERE)
    assert torch.equal(answer[:, 3], torch.zeros_like(answer[:, 3]))


def test_a_model_without_a_head_says_so() -> None:
    with pytest.raises(ValueError, match="trilinear model does not predict its error"):
        SuperResolution().with_error(torch.zeros(1, 1, 3, 3, 3, 3), EVERYWHERE)


def test_lengths_of_a_wave() -> None:
    """Averages over a wide neighbourhood differ less from cell to cell; a halo gives what wrapping around gives."""
    n, k, halo = 12, 2 * np.pi / 6, 8
    wave = torch.zeros(1, 3, n, n, n, dtype=torch.float64)
    wave[:, 1] = (k * torch.arange(n, dtype=torch.float64)).sin()
    lengths = lengths_of(wave, halo, EVERYWHERE)[0]
    second, fourth, *wide = lengths
    assert torch.allclose(fourth, (2 - 2 * np.cos(k)) * second)
    assert second.square().mean() == pytest.approx((2 - 2 * np.cos(k)) ** 2 / 2)
    for length, power in zip(wide, (1, 2, 4), strict=True):
        assert torch.allclose(length, torch.full_like(length, (2 - 2 * np.cos(k)) ** (power / 2) / 2**0.5), rtol=0.1)
    around = np.pad(wave.numpy(), ((0, 0), (0, 0), *3 * ((halo, halo),)), mode="wrap")
    assert torch.allclose(lengths_of(torch.from_numpy(around), halo, NOWHERE)[0], lengths)


def test_a_stored_model_keeps_its_head(tmp_path: Path, coarse: Tensor) -> None:
    model = predicting(ARCHITECTURES[0], torch.float32)
    catalogue = Catalogue(tmp_path)
    card = catalogue.save(model, describe(model, flow="isotropic"))
    again = catalogue.load(card.name)
    single = coarse.float()
    assert torch.equal(again.with_error(single, EVERYWHERE), model.frozen().with_error(single, EVERYWHERE))


def test_the_best_prediction_is_the_expected_error() -> None:
    errors = torch.distributions.HalfNormal(2.0).sample((1, 1, 40, 40, 40))
    weight = torch.ones_like(errors)
    weight[..., :20] = 0
    expected = errors[..., 20:].mean().expand_as(errors)
    around = [laplace_loss(factor * expected, errors, weight) for factor in (0.9, 1.0, 1.1)]
    assert around[1] < min(around[0], around[2])


def test_a_fluid_at_rest_has_no_part_in_what_is_learned() -> None:
    predicted = torch.tensor([1.0, 1e-20, 0.0]).reshape(1, 1, 1, 1, 3).requires_grad_()
    errors = torch.tensor([1.0, 1e-7, 1e-7]).reshape(1, 1, 1, 1, 3)
    laplace_loss(predicted, errors, torch.ones_like(errors)).backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert not predicted.grad[..., 1:].any()


def test_calibration_of_a_perfect_prediction() -> None:
    generator = torch.Generator().manual_seed(3)
    predicted = torch.rand(50, 50, 50, generator=generator) + 0.1
    found = predicted * torch.empty(50, 50, 50).exponential_(generator=generator)
    quantiles = error_quantiles(predicted, found)
    assert quantiles["0.5"] == pytest.approx(np.log(2), rel=0.02)
    assert quantiles["0.9"] == pytest.approx(np.log(10), rel=0.02)
    told = calibration(predicted, found, quantiles)
    assert told["error_predicted_over_found"] == pytest.approx(1, rel=0.02)
    assert told["error_coverage_50"] == pytest.approx(0.5, abs=0.01)
    assert told["error_coverage_90"] == pytest.approx(0.9, abs=0.01)
    assert 0.2 < told["error_rank_correlation"] < 0.6
    assert calibration(predicted, predicted, quantiles)["error_rank_correlation"] == pytest.approx(1)
    for cells in ((predicted, 0 * found), (0 * predicted, found)):  # in uniform flow; rounding may be found there
        assert np.isnan([*calibration(*cells, quantiles).values()]).all()


def test_cells_at_rest_have_no_part_in_coverage() -> None:
    predicted = torch.rand(20, 20, 20, generator=torch.Generator().manual_seed(4)) + 0.1
    found = predicted * torch.linspace(0, 1, 20)
    half = torch.cat([torch.zeros_like(predicted), predicted]), torch.cat([torch.zeros_like(found), found])
    quantiles = error_quantiles(predicted, found)
    assert error_quantiles(*half) == pytest.approx(quantiles)
    whole, part = calibration(*half, quantiles), calibration(predicted, found, quantiles)
    for name in ("error_coverage_50", "error_coverage_90"):
        assert whole[name] == part[name], name


@pytest.mark.parametrize("cells", [(128, 64, 64), (64, 96, 128), (63, 65, 67)])
def test_a_calibration_sees_cells_all_over_the_coarse_cells(cells: tuple[int, int, int]) -> None:
    """In which errors differ, here along x: every fourth cell of a row is at the same edge of its coarse cell."""
    predicted = torch.rand(cells, generator=torch.Generator().manual_seed(5)) + 0.1
    found = predicted * (1 + torch.arange(cells[2]) % 4)
    assert error_quantiles(predicted, found)["0.9"] == pytest.approx(4)
    told = calibration(predicted, found, {})["error_rank_correlation"]
    assert told == pytest.approx(rank_correlation(predicted.flatten(), found.flatten()), abs=0.01)
