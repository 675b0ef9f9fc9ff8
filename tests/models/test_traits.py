"""Traits tell fields that a model has learned from and others apart, whatever their units and their mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.group import group, rotate_vector
from models.held_out import HELD_OUT
from models.metrics.traits import ranges, traits, unlike

SAMPLES = Path(__file__).parents[2] / "weights" / HELD_OUT
LEARNED = {"roughness": [0.77, 1.38], "skewness": [-0.44, -0.12], "divergence": [0.04, 0.23]}


def coarse(flow: str) -> np.ndarray[Any, Any]:
    return np.asarray(np.load(SAMPLES / f"{flow}-x4" / "coarse.npy"))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def differing(field: np.ndarray[Any, Any]) -> dict[str, str]:
    return unlike(traits(field), LEARNED, field[0].size)


def test_units_boosts_and_rotations_change_nothing() -> None:
    import torch  # noqa: PLC0415

    field = coarse("isotropic").astype(np.float64)
    expected = traits(field)
    boost = np.array([3.0, -2.0, 50.0])[:, None, None, None]
    assert traits(7 * field + boost) == pytest.approx(expected, rel=1e-6)
    for matrix in group("O").matrices[::5]:
        assert traits(rotate_vector(torch.from_numpy(field), matrix).numpy()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("flow", ["isotropic", "channel"])
def test_held_out_turbulence_is_like_what_was_learned(flow: str) -> None:
    assert differing(coarse(flow)) == {}
    assert differing(coarse(flow)[:, :6, :6, :6]) == {}


def test_white_noise(random: np.random.Generator) -> None:
    found = traits(random.standard_normal((3, 24, 24, 24)))
    assert found["roughness"] == pytest.approx(3**0.5, rel=0.02)
    assert found["divergence"] == pytest.approx(3**-0.5, rel=0.05)
    for edge in (4, 8, 24):
        assert differing(random.standard_normal((3, edge, edge, edge)))["roughness"] == "high"


def test_fine_fields_and_random_phases(random: np.random.Generator) -> None:
    assert differing(np.load(SAMPLES / "isotropic-x4" / "fine.npy"))["roughness"] == "low"
    field = coarse("isotropic")
    waves, others = (np.fft.rfftn(each, axes=(-3, -2, -1)) for each in (field, random.standard_normal(field.shape[1:])))
    shuffled = np.fft.irfftn(waves * others / np.abs(others), field.shape[1:], (-3, -2, -1))
    assert differing(shuffled) == {"skewness": "high"}


def test_mixed_up_components() -> None:
    u, v, w = coarse("isotropic")
    assert differing(np.stack([w, u, v]))["divergence"] == "high"


def test_uniform_fields_are_like_any() -> None:
    assert all(np.isnan(value) for value in traits(np.ones((3, 4, 4, 4))).values())
    assert differing(np.ones((3, 4, 4, 4))) == {}


def test_a_component_that_does_not_vary_leaves_the_skewness_of_the_others(random: np.random.Generator) -> None:
    field = random.standard_normal((3, 8, 8, 8))
    means = [
        traits(np.stack([each if kept else 0 * each for each, kept in zip(field, row, strict=True)]))
        for row in ((1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]
    whole, *parts = (each["skewness"] for each in means)
    assert whole == pytest.approx(np.mean(parts))


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_ranges_leave_out_what_has_no_traits(random: np.random.Generator) -> None:
    field, rest = random.standard_normal((3, 8, 8, 8)), np.zeros((3, 8, 8, 8))
    assert ranges([rest, field]) == ranges([field, rest]) == ranges([field])
    assert ranges([rest]) == {}
    assert list(ranges([field[:, :2]])) == ["skewness"]  # a thin volume, without second differences


def test_ranges_hold_every_field(random: np.random.Generator) -> None:
    fields = [coarse("isotropic"), coarse("channel"), random.standard_normal((3, 8, 8, 8))]
    learned = ranges(fields)
    assert all(unlike(traits(each), learned, each[0].size) == {} for each in fields)
    assert learned["roughness"][0] < 1.2 < learned["roughness"][1]
