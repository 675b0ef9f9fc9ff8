"""The solver against published statistics of turbulence, over a short run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training.flows.channel_simulation import ChannelSimulation
from training.flows.channel_statistics import compare
from training.runs import Recipe

# python -m training simulate --flow channel --n 64 --seed 5 --snapshots 12, its averages begun anew.
RESTART = Path(__file__).with_name("channel-64-seed5.npz")
LONG_ENOUGH = 2.0
"""In h/u_tau: for averages over planes and both halves to settle within the scatter of what is published."""


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
