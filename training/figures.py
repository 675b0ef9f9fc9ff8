"""The figures of ``weights/``: errors relative to trilinear interpolation, and the symmetries that models keep."""

from __future__ import annotations

import re
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
TICKS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)


class Bar(NamedTuple):
    """Error of one model or baseline on one run."""

    name: str
    mean: float
    std: float


def draw_errors(path: Path, runs: Mapping[str, Sequence[Bar]]) -> None:
    """MAE over trilinear interpolation's, which is a dashed line; one panel a run, in full rows of three at most.

    Further training seeds are ticks in the row of their model. Other variants stand below, as hollow marks.

    Args:
        path: PNG to write.
        runs: entrants by the title of their panel.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 training runs on hosts without it

    columns = next(number for number in (3, 2, 1) if len(runs) % number == 0)
    rows = len(runs) // columns
    longest = max(map(len, runs.values()))
    figure = Figure(figsize=(5.4 * columns, rows * (1.2 + 0.3 * longest)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (title, bars) in zip(panels, runs.items(), strict=True):
        _draw_entrants(axes, bars)
        axes.set(title=title, xlabel="MAE over that of trilinear interpolation, held-out")
    figure.savefig(path, dpi=110)


def _draw_entrants(axes: Axes, bars: Sequence[Bar]) -> None:
    from matplotlib.ticker import NullLocator  # noqa: PLC0415

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
    lowest = min((max(bar.mean - bar.std, bar.mean / 2) for bar in bars), default=0.5)
    axes.set(xscale="log", xlim=(0.9 * lowest, 1.08))
    axes.set_xticks([tick for tick in TICKS if tick >= lowest], minor=False)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.axvline(1, color=BASELINE, lw=1, ls="--")
    axes.set_yticks(list(places.values()), [short(name) for name in places], fontsize=8)
    axes.set_ylim(max(places.values(), default=0) + 0.6, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def short(name: str) -> str:
    """Name of an entrant in a figure: ``equivariant, general`` for ``equivariant-general-x4``."""
    name, _, variant = name.partition(", ")
    found = re.fullmatch(r"([a-z]+)-(.+)-x4(?:-(\d)frames)?", name)
    if found is None:
        return name
    family, flow, frames = found.groups()
    return ", ".join([family, flow, *([f"{frames} frames"] if frames else []), *([variant] if variant else [])])


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
        # One of each family, as a wide model keeps the same symmetry.
        mine = list({card.family: card for card in cards if card.flow == flow}.values())
        errors.set_title(f"trained on {flow} flows" if flow == GENERAL else f"trained on {flow} flow")
        _draw_elements(errors, mine)
        _draw_shares(shares, next(card for card in mine if card.family == "relaxed"))
    panels[0, 0].set_ylabel("equivariance error of the element")
    panels[1, 0].set_ylabel("share of the relaxation weights\nthat breaks symmetry")
    figure.savefig(path, dpi=110)


def _draw_elements(axes: Axes, cards: Sequence[Card]) -> None:
    for card in cards:
        _, *values = (max(error, ROUND_OFF) for error in card.symmetry["equivariance_error"].values())
        axes.semilogy(range(1, 48), values, MARKS[card.family], ms=4, color=COLOURS[card.family], label=card.family)
        if card.family == "relaxed":
            _name_kept(axes, card.symmetry["equivariance_error"])
    axes.axvline(23.5, color="#bbbbbb", lw=1)
    axes.set(xticks=[12, 35.5], xticklabels=["23 rotations", "24 with reflection"], ylim=(ROUND_OFF, 2))
    axes.tick_params(axis="x", length=0)
    axes.legend(fontsize=8, frameon=False, loc="upper right", bbox_to_anchor=(1, 0.55))


def _name_kept(axes: Axes, errors: Mapping[str, float]) -> None:
    """Name rotations that are kept far better than the others."""
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
    names = [
        name.removeprefix("network.").replace("trunk.", "block ").replace("error_head", "error") for name in layers
    ]
    for irrep, colour in zip(irreps, cycle(IRREPS), strict=False):
        values = [max(shares[irrep], ROUND_OFF) for shares in layers.values()]
        axes.semilogy(names, values, "o", ms=5, label=irrep, color=colour)
    axes.tick_params(axis="x", rotation=60, labelsize=8)
    axes.set_ylim(ROUND_OFF / 2, 1)
    axes.legend(fontsize=8, frameon=False, title="irrep (the rest is A1)", title_fontsize=8, ncols=4, loc="upper left")
