"""What the figures show, apart from how they look."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from training.figures import Bar, _draw_entrants, _draw_shares, draw_errors, short

if TYPE_CHECKING:
    from pathlib import Path


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


def test_small_shares_of_relaxation_are_seen() -> None:
    axes = Figure().subplots()
    relaxation = {"network.lift": {"A1": 1.0, "E": 1e-6}, "error_head.project": {"A1": 0.9, "E": 0.1}}
    card: Any = SimpleNamespace(symmetry={"relaxation": relaxation})
    _draw_shares(axes, card)
    (line,) = axes.lines
    assert np.asarray(line.get_ydata()).tolist() == [1e-6, 0.1]
    assert axes.get_ylim()[0] < 1e-6


def test_runs_fill_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[Figure]()
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    draw_errors(tmp_path / "errors.png", {f"run {n}": [Bar("conv-general-x4", 0.2, 0.01)] for n in range(4)})
    places = [spec.get_geometry()[:2] for axes in drawn[0].axes if (spec := axes.get_subplotspec())]
    assert places == [(2, 2)] * 4
