"""What the figures show, apart from how they look."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from training.figures import Bar, _draw_entrants, _draw_shares, short


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("equivariant-general-x4", "equivariant, general"),
        ("conv-taylor-green-x4-3frames", "conv, taylor-green, 3 frames"),
        ("relaxed-channel-x4, 2 banks", "relaxed, channel, 2 banks"),
        ("trilinear + consistency", "trilinear + consistency"),
    ],
)
def test_short_names(name: str, wanted: str) -> None:
    assert short(name) == wanted


def test_seeds_are_in_the_row_of_their_model_and_variants_below() -> None:
    axes = Figure().subplots()
    names = ["trilinear-x4", "conv-general-x4", "conv-general-x4, 2 blocks", "conv-general-x4, seed 1", "tricubic"]
    _draw_entrants(axes, [Bar(name, 0.1 * place, 0.01) for place, name in enumerate(names, start=1)])
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "conv, general",
        "tricubic",
        "conv, general, 2 blocks",
    ]
    (seed,) = [line for line in axes.lines if line.get_marker() == "|"]
    assert np.array(seed.get_xydata()).tolist() == [[pytest.approx(0.4), 0.0]]


@pytest.mark.parametrize(("share", "says"), [(0.0, True), (0.1, False)])
def test_a_panel_without_bars_says_why(share: float, *, says: bool) -> None:
    axes = Figure().subplots()
    card: Any = SimpleNamespace(symmetry={"relaxation": {"network.lift": {"A1": 1 - share, "E": share}}})
    _draw_shares(axes, card)
    assert bool(axes.texts) is says
