"""The figures of ``weights/``: errors beside trilinear interpolation, and the symmetries that each flow keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from models.catalogue import Card, Catalogue

BASELINE = "#8a8f98"
COLOURS = {"trilinear": BASELINE, "conv": "#c8553d", "equivariant": "#2e5e8c", "relaxed": "#3f8f5b"}
"""Of the families, in every figure of the project."""
ROUND_OFF = 1e-8


class Bar(NamedTuple):
    """Error of one entrant on one run."""

    name: str
    mean: float
    std: float


def draw_errors(path: Path, runs: Mapping[str, Sequence[Bar]]) -> None:
    """MAE over trilinear interpolation's, one panel a run, three in a row, the bars as in the table.

    Args:
        path: PNG to write.
        runs: bars by the title of their panel.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 training runs on hosts without it

    columns = min(3, len(runs))
    rows = -(-len(runs) // columns)
    longest = max(map(len, runs.values()))
    figure = Figure(figsize=(5.4 * columns, rows * (1.2 + 0.3 * longest)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels[len(runs) :]:
        axes.remove()
    for axes, (title, bars) in zip(panels, runs.items(), strict=False):
        names = [bar.name for bar in bars]
        colours = [COLOURS.get(name.split("-")[0], BASELINE) for name in names]
        means = [bar.mean for bar in bars]
        drawn = axes.barh(names, means, xerr=[bar.std for bar in bars], color=colours, error_kw={"lw": 1})
        axes.bar_label(drawn, [f" {mean:.3f}" for mean in means], fontsize=8)
        axes.invert_yaxis()
        axes.set(title=title, xlabel="MAE over trilinear's, held-out", xlim=(0, 1.15))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0, labelsize=8)
    figure.savefig(path, dpi=110)


def draw_symmetry(path: Path, catalogue: Catalogue) -> None:
    """Two panels a flow: errors of each group element, and what share of the relaxation weights breaks symmetry.

    Args:
        path: PNG to write; nothing is written while no relaxed model has been measured.
        catalogue: whose cards to read.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415

    cards = [card for card in map(catalogue.card, catalogue.names()) if card.symmetry and card.frames == 1]
    flows = [card.flow for card in cards if card.family == "relaxed"]
    if not flows:
        return
    figure = Figure(figsize=(6.4 * len(flows), 6.6), layout="constrained")
    panels = figure.subplots(2, len(flows), squeeze=False, sharey="row")
    for (errors, shares), flow in zip(panels.T, flows, strict=True):
        mine = [card for card in cards if card.flow == flow]
        errors.set_title(f"{flow} flow")
        _draw_elements(errors, mine)
        _draw_shares(shares, next(card for card in mine if card.family == "relaxed"))
    panels[0, 0].set_ylabel("equivariance error of the element")
    panels[1, 0].set_ylabel("share in the relaxation weights")
    figure.savefig(path, dpi=110)


def _draw_elements(axes: Axes, cards: Sequence[Card]) -> None:
    for card in cards:
        values = [max(error, ROUND_OFF) for error in card.symmetry["equivariance_error"].values()]
        axes.semilogy(values, "o", ms=3.5, color=COLOURS[card.family], label=card.family)
        if card.family == "relaxed":
            _name_kept(axes, card.symmetry["equivariance_error"])
    axes.axvline(23.5, color="#bbbbbb", lw=1)
    axes.set(xticks=[11.5, 35.5], xticklabels=["24 rotations", "24 with reflection"], ylim=(ROUND_OFF / 2, 2))
    axes.tick_params(axis="x", length=0)
    axes.legend(fontsize=8, frameon=False, loc="center right")


def _name_kept(axes: Axes, errors: Mapping[str, float]) -> None:
    """Name rotations that are kept far better than the others are."""
    rotations = list(errors.items())[1:24]
    worst = max(error for _, error in rotations)
    for place, (name, error) in enumerate(rotations, start=1):
        if error < worst / 10:
            axes.annotate(
                name,
                (place, error),
                (0, -5),
                textcoords="offset points",
                ha="center",
                va="top",
                rotation=90,
                fontsize=7,
            )


def _draw_shares(axes: Axes, card: Card) -> None:
    layers = card.symmetry["relaxation"]
    irreps = [irrep for irrep in next(iter(layers.values())) if irrep not in {"A1", "A1g"}]
    bottom = [0.0] * len(layers)
    names = [name.removeprefix("network.").replace("trunk.", "block ") for name in layers]
    for irrep in irreps:
        heights = [shares[irrep] for shares in layers.values()]
        axes.bar(names, heights, bottom=bottom, label=irrep)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.tick_params(axis="x", rotation=60, labelsize=8)
    axes.legend(fontsize=8, frameon=False, title="irrep (the rest is A1)", title_fontsize=8, ncols=2)
