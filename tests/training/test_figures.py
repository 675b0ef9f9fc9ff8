"""What the figures show, apart from how they look."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from models.group import group
from models.irreps import element_names
from training.figures import Bar, _draw_entrants, _draw_shares, _set_scale, draw_elements, draw_errors

if TYPE_CHECKING:
    from pathlib import Path


IDENTITY, *ELEMENTS = element_names(group("Oh"))


def card(name: str, **errors: float) -> Any:  # noqa: ANN401 in place of a Card
    """A model that breaks all elements but those with other errors."""
    found = {IDENTITY: 0.0, **dict.fromkeys(ELEMENTS, 0.1), **errors}
    group = "O" if name.endswith("-isotropic-x4") else "Oh"
    return SimpleNamespace(
        name=name, family=name.partition("-")[0], group=group, symmetry={"equivariance_error": found}
    )


def test_elements_have_names_and_those_that_are_kept_are_seen() -> None:
    axes = Figure().subplots()
    draw_elements(axes, [card("relaxed-general-x4", **{"-x,y,z": 1e-7, "x,y,-z": 0.09}), card("conv-general-x4")])
    ticks = axes.get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ELEMENTS
    assert [tick.get_text() for tick in ticks if tick.get_fontweight() == "bold"] == ["-x,y,z"]
    assert axes.get_xlabel() == "element (bold: relaxed-general-x4 has less than a tenth of its largest error)"
    legend = axes.get_legend()
    assert legend is not None
    assert {text.get_text() for text in legend.get_texts()} == {"relaxed-general-x4", "conv-general-x4"}


def test_a_model_that_keeps_rotations_alone_says_so() -> None:
    axes = Figure().subplots()
    draw_elements(axes, [card("equivariant-isotropic-x4"), card("equivariant-general-x4")])
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "equivariant-general-x4",
        "equivariant-isotropic-x4 (not mirrored)",
    ]
    assert axes.get_xlabel().startswith("element")


def test_models_of_one_family_and_one_error_are_both_seen() -> None:
    axes = Figure().subplots()
    names = ["equivariant-general-wide-x4", "equivariant-general-x4"]
    draw_elements(axes, list(map(card, names)))
    drawn = {str(line.get_label()): line for line in axes.lines if line.get_marker() == "o"}
    wide, narrow = (drawn[name] for name in names)
    assert wide.get_markerfacecolor() == "none"
    assert wide.get_markersize() > narrow.get_markersize()


@pytest.mark.parametrize("bar", [Bar("conv-general-x4", 0.059, 0.041), Bar("conv-channel-x4", 1.1, 0.3)])
def test_no_bar_of_an_error_is_cut_off(bar: Bar) -> None:
    axes = Figure().subplots()
    _set_scale(axes, [Bar("tricubic", 0.6, 0.1), bar])
    left, right = axes.get_xlim()
    assert left < bar.mean - bar.std
    assert bar.mean + bar.std < right


def test_seeds_are_in_the_row_of_their_model_and_variants_below() -> None:
    axes = Figure().subplots()
    names = ["trilinear-x4", "conv-general-x4", "conv-general-x4, 2 blocks", "conv-general-x4, seed 1", "tricubic"]
    _draw_entrants(axes, [Bar(name, 0.1 * place, 0.01) for place, name in enumerate(names, start=1)])
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "conv-general-x4",
        "tricubic",
        "conv-general-x4, 2 blocks",
    ]
    (seed,) = [line for line in axes.lines if line.get_marker() == "|"]
    assert np.array(seed.get_xydata()).tolist() == [[pytest.approx(0.4), 0.0]]


def test_small_shares_of_relaxation_are_seen() -> None:
    axes = Figure().subplots()
    relaxation = {"network.lift": {"A1": 1.0, "E": 1e-6}, "error_head.project": {"A1": 0.9, "E": 0.1}}
    relaxed: Any = SimpleNamespace(name="relaxed-general-x4", symmetry={"relaxation": relaxation})
    _draw_shares(axes, relaxed)
    (line,) = axes.lines
    assert np.asarray(line.get_ydata()).tolist() == [1e-6, 0.1]
    assert axes.get_ylim()[0] < 1e-6


def test_runs_fill_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[Figure]()
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    draw_errors(tmp_path / "errors.png", {f"run {n}": [Bar("conv-general-x4", 0.2, 0.01)] for n in range(4)})
    places = [spec.get_geometry()[:2] for axes in drawn[0].axes if (spec := axes.get_subplotspec())]
    assert places == [(2, 2)] * 4


def test_runs_have_one_scale_with_several_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a scale of its own, a run of large errors alone had one number on its axis."""
    drawn = list[Figure]()
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    runs = {"fine": [Bar("conv-general-x4", 0.04, 0.01)], "coarse": [Bar("conv-general-x4", 0.7, 0.01)]}
    draw_errors(tmp_path / "errors.png", runs)
    fine, coarse = drawn[0].axes
    assert fine.get_xlim() == coarse.get_xlim()
    for axes in (fine, coarse):
        axes.figure.canvas.draw()
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0.05", "0.1", "0.2", "0.5", "1"]
