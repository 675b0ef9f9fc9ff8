"""That a short run is right throughout; how fast it was is for the page to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.benchmarks.endurance import Load, endure, same
from tests.benchmarks.endurance_page import slope
from tests.benchmarks.scale import QUICK

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.long
def test_many_clients_a_hostile_one_and_a_job(tmp_path: Path) -> None:
    torch.manual_seed(0)
    page = tmp_path / "ENDURANCE.md"
    tally = endure(Load(scale=QUICK, seconds=12, clients=8, places=5, blocks=2), page)
    assert not +tally.wrong
    assert tally.right
    assert tally.refused
    assert tally.jobs
    assert tally.hostile.total()
    assert "| wrong | 0  |" in page.read_text()


def test_same_is_every_bit() -> None:
    values = np.array([0.0, 1.0], np.float32)
    assert same(values, values.copy())
    assert not same(values, np.array([-0.0, 1.0], np.float32))
    assert not same(values, values.astype(np.float64))
    assert not same(values, values[:1])


def test_slope_of_a_line_with_noise() -> None:
    times = np.arange(600.0)
    rise, error = slope(list(times), list(3 * times / 60 + np.random.default_rng(0).normal(size=600)))
    assert abs(rise - 3) < 4 * error
    assert 0 < error < 0.1
