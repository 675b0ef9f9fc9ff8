"""Fluctuations are what a flow has besides its mean flow, which is a profile where there is one."""

from __future__ import annotations

import math

import pytest
import torch

from models.blocks import PERIODIC, Boundaries
from models.metrics.fluctuations import mae_over_rms
from models.metrics.report import report
from models.operators import coarsen

RELATIVE = ("mae_over_rms", "relative_l2", "kinetic_energy_ratio")
BETWEEN: list[tuple[Boundaries, int]] = [
    (("periodic", "wall", "periodic"), -2),
    (("periodic", "wall:u=-1..1", "periodic"), -2),
    (("periodic", "open", "periodic"), -2),
    (("wall", "periodic", "periodic"), -3),
    (("periodic", "periodic", "open"), -1),
]


def profile(axis: int) -> torch.Tensor:
    """A mean flow of all components that varies along an axis, (3, 12, 16, 20) broadcast."""
    cells = [1, 1, 1]
    cells[axis] = (12, 16, 20)[axis]
    place = torch.linspace(-1, 1, cells[axis], dtype=torch.float64).reshape(cells)
    return torch.stack([3 + 8 * place, 2 - place**2, 5 * place**3]).expand(3, 12, 16, 20)


def turbulence(axis: int) -> torch.Tensor:
    """Random, without a mean over any plane across the axis; stronger in some planes."""
    noise = torch.randn(3, 12, 16, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noise *= 1 + profile(axis)[:1].abs()
    planes = [each for each in (-3, -2, -1) if each != axis]
    return noise - noise.mean(dim=planes, keepdim=True)


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
@pytest.mark.parametrize("size", [1.0, 1e-8, 1e8])
@pytest.mark.parametrize(("boundary", "axis"), BETWEEN)
def test_a_mean_profile_is_no_fluctuation(boundary: Boundaries, axis: int, size: float, precision: torch.dtype) -> None:
    """With half of each fluctuation, and the mean flow of the truth but for some speed."""
    still = turbulence(axis)
    fine, answer = (size * (profile(axis) + part) for part in (still, 0.5 * still + 0.1))
    fine, answer = fine.to(precision), answer.to(precision)
    found = report(answer, fine, coarsen(fine), boundary=boundary)
    scale, error = float(still.square().mean().sqrt()), -0.5 * still + 0.1
    assert found["kinetic_energy_ratio"] == pytest.approx(0.25, rel=1e-5)
    assert found["mae_over_rms"] == pytest.approx(float(error.abs().mean()) / scale, rel=1e-5)
    assert found["relative_l2"] == pytest.approx(float(error.square().mean().sqrt()) / scale, rel=1e-5)
    assert mae_over_rms(answer, fine, boundary) == pytest.approx(found["mae_over_rms"], rel=1e-9)


@pytest.mark.parametrize("boundary", [PERIODIC, ("open", "open", "open"), ("periodic", "wall", "open")])
def test_without_a_profile_the_mean_is_that_of_the_volume(boundary: Boundaries) -> None:
    fine = profile(-2) + turbulence(-2)
    centred = fine - fine.mean(dim=(1, 2, 3), keepdim=True)
    answer = fine + 0.5 * centred
    found = report(answer, fine, coarsen(fine), boundary=boundary)
    assert found["kinetic_energy_ratio"] == pytest.approx(2.25)
    assert found["relative_l2"] == pytest.approx(0.5)
    assert found["mae_over_rms"] == pytest.approx(float(0.5 * centred.abs().mean() / centred.square().mean().sqrt()))
    assert mae_over_rms(answer, fine, boundary) == pytest.approx(found["mae_over_rms"])


@pytest.mark.parametrize("rounding", [0, 6e-8])
@pytest.mark.parametrize("size", [1.0, 1e-8, 1e8])
def test_laminar_flow_has_no_fluctuations(size: float, rounding: float) -> None:
    """But rounding, to which nothing is relative; its consistency is relative to the mean flow."""
    boundary: Boundaries = ("periodic", "wall", "periodic")
    fine = (size * profile(-2) * (1 + rounding * turbulence(-2).sign())).float()
    answer = fine + 0.1 * size * turbulence(-2).float()
    found = report(answer, fine, coarsen(fine), boundary=boundary)
    for name in (*RELATIVE, "stress_profile_error"):
        value = found[name]
        assert isinstance(value, float)
        assert math.isnan(value), name
    assert math.isnan(mae_over_rms(answer, fine, boundary))
    assert isinstance(found["consistency"], float)
    assert 0.001 < found["consistency"] < 0.1


def test_a_laminar_answer_has_no_energy() -> None:
    mean = profile(-2)
    fine = mean + turbulence(-2)
    found = report(mean, fine, coarsen(fine), boundary=("periodic", "wall", "periodic"))
    assert found["kinetic_energy_ratio"] == pytest.approx(0, abs=1e-12)
    assert found["relative_l2"] == pytest.approx(1)


def test_a_single_coarse_cell_across_the_planes() -> None:
    """A volume of one coarse cell has a profile, too."""
    fine = (profile(-2) + turbulence(-2))[:, :4, :4, :4]
    found = report(fine, fine, coarsen(fine), boundary=("periodic", "wall", "periodic"))
    assert found["kinetic_energy_ratio"] == pytest.approx(1)


def test_consistency_is_relative_to_the_coarse_volume() -> None:
    fine = profile(-2) + turbulence(-2)
    coarse = coarsen(fine)
    found = report(fine + 0.2, fine, coarse, boundary=("periodic", "wall", "periodic"))
    spread = math.sqrt(float(coarse.flatten(1).var(dim=1, correction=0).mean()))
    assert found["consistency"] == pytest.approx(0.2 / spread)
