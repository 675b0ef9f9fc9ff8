"""The figures of ``weights/``: errors relative to trilinear interpolation, and the symmetries that models keep."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from models.catalogue import GENERAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from models.catalogue import Card, Catalogue

COLOURS = {"trilinear": "#7f7f7f", "conv": "#E69F00", "equivariant": "#0072B2", "relaxed": "#D55E00"}
"""Colours of the families in all figures: grey, and the colour-blind-safe ones of Okabe & Ito."""
BASELINE = COLOURS["trilinear"]
IRREPS = ("#56B4E9", "#009E73", "#F0E442", "#CC79A7")
"""Other colours of Okabe & Ito, for irreps."""
MARKS = {"conv": "s", "equivariant": "o", "relaxed": "x"}
ROUND_OFF = 1e-8
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Bar(NamedTuple):
    """Error of one model or baseline on one run."""

    name: str
    mean: float
    std: float


def draw_errors(path: Path, runs: Mapping[str, Sequence[Bar]]) -> None:
    """MAE over trilinear interpolation's, a dashed line, on one scale; one panel a run, in full rows of three at most.

    Further training seeds are ticks in the row of their model. Other variants stand below, as hollow marks.

    Args:
        path: PNG to write.
        runs: entrants by the title of their panel.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 training runs on hosts without it

    columns = next(number for number in (3, 2, 1) if len(runs) % number == 0)
    rows = len(runs) // columns
    longest = max(map(len, runs.values()))
    figure = Figure(figsize=(5.4 * columns, rows * (1.2 + 0.3 * longest)))
    figure.set_layout_engine("constrained", w_pad=0.12)
    # One scale, so that flows can be compared.
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).flat
    for axes, (title, bars) in zip(panels, runs.items(), strict=True):
        _draw_entrants(axes, bars)
        axes.tick_params(labelbottom=True)
        axes.set(title=title, xlabel="MAE over that of trilinear interpolation")
    _set_scale(axes, [bar for bars in runs.values() for bar in bars])
    figure.supxlabel("held-out snapshots: mean, and standard deviation as a bar", fontsize=10)
    figure.savefig(path, dpi=110)


def _draw_entrants(axes: Axes, bars: Sequence[Bar]) -> None:
    bars = [bar for bar in bars if bar.name != "trilinear-x4"]
    seeds = [bar for bar in bars if ", seed " in bar.name]
    variants = [bar for bar in bars if ", " in bar.name and bar not in seeds]
    rows = [bar for bar in bars if ", " not in bar.name]
    places = {bar.name: float(place) for place, bar in enumerate(rows)}
    places |= {bar.name: len(rows) + 0.5 + place for place, bar in enumerate(variants)}
    for bar in (*rows, *variants):
        colour = COLOURS.get(bar.name.split("-")[0], BASELINE)
        fill = "white" if bar in variants else colour
        axes.errorbar(bar.mean, places[bar.name], xerr=bar.std, fmt="o", ms=6, color=colour, mfc=fill, elinewidth=1.5)
        axes.text(1.01, places[bar.name], f"{bar.mean:.3f}", transform=axes.get_yaxis_transform(), va="center", size=8)
    for bar in seeds:
        model = bar.name.partition(", ")[0]
        axes.plot(bar.mean, places[model], "|", ms=12, mew=1.5, color=COLOURS[model.split("-")[0]])
    axes.axvline(1, color=BASELINE, lw=1, ls="--")
    axes.set_yticks(list(places.values()), list(places), fontsize=8)
    axes.set_ylim(max(places.values(), default=0) + 0.6, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _set_scale(axes: Axes, bars: Sequence[Bar]) -> None:
    """Make the axis of errors logarithmic, and so long that no bar is cut off."""
    from matplotlib.ticker import NullLocator  # noqa: PLC0415

    # A deviation that is as large as its mean has no lower end on a logarithmic axis; it meets the edge of the panel.
    lowest = min((bar.mean - bar.std if bar.std < bar.mean else bar.mean / 10 for bar in bars), default=0.5)
    highest = max((bar.mean + bar.std for bar in bars), default=1.0)
    left, right = 0.9 * lowest, 1.08 * max(highest, 1)
    axes.set(xscale="log", xlim=(left, right))
    axes.set_xticks([tick for tick in TICKS if left < tick < right], minor=False)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def draw_symmetry(path: Path, catalogue: Catalogue) -> None:
    """A row for each flow: errors of each group element, and what share of the relaxation weights breaks symmetry.

    Args:
        path: PNG to write; nothing is written while no relaxed model has been measured.
        catalogue: whose cards to read.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415

    cards = [
        card
        for card in map(catalogue.card, catalogue.names())
        if card.symmetry and card.frames == 1 and card.family in MARKS
    ]
    if not any(card.family == "relaxed" for card in cards):
        return
    flows = list(dict.fromkeys(card.flow for card in cards))
    figure = Figure(figsize=(13.4, 3.9 * len(flows)), layout="constrained")
    panels = figure.subplots(len(flows), 2, squeeze=False, width_ratios=[1.8, 1])
    for (errors, shares), flow in zip(panels, flows, strict=True):
        mine = [card for card in cards if card.flow == flow]
        errors.set_title(f"trained on {flow} flows" if flow == GENERAL else f"trained on {flow} flow")
        draw_elements(errors, mine)
        relaxed = [card for card in mine if card.family == "relaxed"]
        for card in relaxed:
            _draw_shares(shares, card)
        if not relaxed:
            shares.set_axis_off()
            shares.text(0.5, 0.5, "no relaxed model", ha="center", transform=shares.transAxes, size=9)
    figure.savefig(path, dpi=110)


def draw_elements(axes: Axes, cards: Sequence[Card]) -> None:
    """The equivariance error of each element but the identity, by name; in bold, those that a relaxed model keeps.

    Args:
        axes: to draw on.
        cards: of models over the same 48 elements; a second one of a family has hollow marks around those of the first.
    """
    seen = set[str]()
    # In this order one model's marks leave those of another to be seen: a narrow one last, and crosses on top.
    for card in sorted(cards, key=lambda card: (card.family, len(card.name))):
        elements = dict([*card.symmetry["equivariance_error"].items()][1:])
        values = [max(error, ROUND_OFF) for error in elements.values()]
        style = {"mfc": "none", "ms": 9} if card.family in seen else {"ms": 6 if card.family == "relaxed" else 4.5}
        places = range(len(values))
        label = f"{card.name} (not mirrored)" if card.group == "O" else card.name
        axes.semilogy(places, values, MARKS[card.family], color=COLOURS[card.family], label=label, **style)
        seen.add(card.family)
    axes.set_xticks(places, list(elements), rotation=90, fontsize=7, family="monospace")
    axes.set_xlabel("element, named by the image of x,y,z")
    for card in (card for card in cards if card.family == "relaxed"):
        axes.set_xlabel(f"element (bold: {card.name} has less than a tenth of its largest error)")
        for tick, name in zip(axes.get_xticklabels(), elements, strict=True):
            if name in kept(card.symmetry["equivariance_error"]):
                tick.set(color=COLOURS["relaxed"], fontweight="bold")
    axes.axvline(22.5, color="#bbbbbb", lw=1)
    for place, what in ((11, "23 rotations"), (34.5, "24 with reflection")):
        axes.text(place, 0.97, what, ha="center", va="top", size=8, transform=axes.get_xaxis_transform())
    axes.set(xlim=(-1, len(values)), ylim=(ROUND_OFF, 10), ylabel="equivariance error of the element")
    axes.legend(fontsize=8, frameon=False, ncols=2, loc="center right", bbox_to_anchor=(1, 0.36))


def kept(errors: Mapping[str, float]) -> set[str]:
    """Elements that are kept far better than others: with less than a tenth of the largest error."""
    worst = max(errors.values())
    return {name for name, error in errors.items() if error < worst / 10}


def _draw_shares(axes: Axes, card: Card) -> None:
    layers = card.symmetry["relaxation"]
    irreps = [irrep for irrep in next(iter(layers.values())) if irrep not in {"A1", "A1g"}]
    names = [
        name.removeprefix("network.").replace("trunk.", "block ").replace("error_head", "error") for name in layers
    ]
    for column, (irrep, colour) in enumerate(zip(irreps, cycle(IRREPS), strict=False)):
        values = [max(shares[irrep], ROUND_OFF) for shares in layers.values()]
        # Beside each other, as a share may be that of another irrep.
        places = [place + 0.16 * (column - (len(irreps) - 1) / 2) for place in range(len(values))]
        axes.semilogy(places, values, "o", ms=4.5, label=irrep, color=colour)
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", rotation=90, labelsize=8)
    axes.set(ylim=(ROUND_OFF / 2, 10), title=card.name, ylabel="share of the relaxation weights\nthat breaks symmetry")
    axes.legend(fontsize=8, frameon=False, title="irrep (the rest is A1)", title_fontsize=8, ncols=4, loc="upper left")
