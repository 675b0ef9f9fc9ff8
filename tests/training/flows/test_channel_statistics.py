"""Statistics of known fields, and those of a short run against published ones of turbulence."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.flows.channels import box, laminar, reflect_y
from training.flows.channel import BULK, NU, Flow
from training.flows.channel_simulation import ChannelSimulation
from training.flows.channel_statistics import Statistics, compare
from training.runs import Recipe

# python -m training simulate --flow channel --n 64 --seed 5 --snapshots 12, its averages begun anew.
RESTART = Path(__file__).with_name("channel-64-seed5.npz")
LONG_ENOUGH = 2.0
"""In h/u_tau: for averages over planes and both halves to settle within the scatter of what is published."""


def test_statistics_of_a_known_field() -> None:
    """Means, rms and stresses of a field made of one wave, folded with the right signs."""
    grid = box(8, 32, 8)
    modes = laminar(grid, 2.0)
    mean = modes[0, :, 0, 0].real.numpy().copy()
    # u' = 0.3 y cos x and w' = 0.2 cos z at the centres, v' = -0.4 (1 - y^2) cos x on the faces.
    modes[0, :, 0, 1] = 0.15 * torch.from_numpy(grid.centres)
    modes[1, 1:, 0, 1] = -0.2 * torch.from_numpy(1 - grid.faces[1:-1] ** 2)
    modes[2, :, 1, 0] = modes[2, :, -1, 0] = 0.1
    averages = Statistics(grid, nu=0.01)
    with pytest.raises(ValueError, match="no moment"):
        averages.profile()
    averages.add(Flow(grid, modes, nu=0.01, bulk=2.0))
    averages.add(Flow(grid, reflect_y(modes), nu=0.01, bulk=2.0))
    found = averages.profile()
    speed = math.sqrt(0.01 * mean[0] / (grid.centres[0] + 1))
    assert found.samples == 2
    assert found.re_tau == pytest.approx(speed / 0.01)
    half, faces = grid.centres[:16], grid.faces[1:17]
    np.testing.assert_allclose(found.y_plus, (half + 1) * speed / 0.01)
    np.testing.assert_allclose(found.face_y_plus, (faces + 1) * speed / 0.01)
    np.testing.assert_allclose(found.mean, mean[:16] / speed)
    np.testing.assert_allclose(found.u_rms, 0.3 * np.abs(half) / math.sqrt(2) / speed, rtol=1e-9)
    np.testing.assert_allclose(found.w_rms, 0.2 / math.sqrt(2) / speed)
    profile = 1 - faces**2
    np.testing.assert_allclose(found.v_rms, 0.4 * profile / math.sqrt(2) / speed, atol=1e-15)
    at_faces = (grid.centres[:16] + grid.centres[1:17]) / 2
    np.testing.assert_allclose(found.shear, 0.06 * at_faces * profile / speed**2, atol=1e-15)
    assert found.deviation == pytest.approx(np.abs(found.shear).max(), rel=1e-9)


def test_comparison_names_what_is_off() -> None:
    """Poiseuille flow has its total stress on the line and nothing else where turbulence has it."""
    grid = box(4, 96, 4)
    averages = Statistics(grid)
    averages.add(Flow(grid, laminar(grid, BULK)))
    rows = {row.name: row for row in compare(averages.profile())}
    assert rows["total stress off linear"].agrees
    assert rows["total stress off linear"].found < 1e-12
    assert rows["Re_tau"].found == pytest.approx(math.sqrt(3 * BULK / NU), rel=1e-3)
    assert [name for name, row in rows.items() if row.agrees] == [
        "U+ at y+ 5",
        "total stress off linear",
    ]


@pytest.mark.slow
def test_a_short_run_has_the_statistics_of_the_literature() -> None:
    with np.load(RESTART, allow_pickle=False) as stored:
        state = dict(stored)
    simulation = ChannelSimulation(Recipe(**json.loads(str(state["recipe"]))), "cpu", state)
    until = simulation.time + LONG_ENOUGH
    while simulation.time < until:
        simulation.advance(until)
    assert simulation.averages.samples > 40
    found = compare(simulation.averages.profile())
    assert len(found) == 11
    assert not [each for each in found if not each.agrees]
