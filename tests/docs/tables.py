"""``python -m tests.docs.tables`` writes the tables anew that the documentation takes from the code and the cards."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eddylift import METRICS
from models.catalogue import DEFAULT, GENERAL, Card, Catalogue
from models.operators import FACTOR
from service.settings import CHECKOUT, Settings
from training.markdown import mean_and_std, spell_resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic.fields import FieldInfo

README: Final = CHECKOUT / "README.md"
DOCS: Final = CHECKOUT / "docs"
CATALOGUE: Final = Catalogue(CHECKOUT / "weights")
WIDE: Final = "equivariant-general-wide-x4"
ERROR: Final = "mae_over_trilinear"
FLOWS: Final = {
    "isotropic": "isotropic",
    "inertial": "isotropic, inertial range up to the cutoff",
    "channel": "channel",
    "couette": "plane Couette",
    "decaying": "decaying",
    "sheared": "sheared",
    "rotating": "rotating",
    "stratified": "stratified",
    "kolmogorov": "Kolmogorov",
    "taylor-green": "Taylor-Green",
}
CALIBRATION: Final = {
    "expected / found": "error_predicted_over_found",
    "50 %": "error_coverage_50",
    "90 %": "error_coverage_90",
    "rank correlation": "error_rank_correlation",
}


def settings() -> str:
    """Variable, default and meaning of every setting."""
    prefix = Settings.model_config["env_prefix"]
    rows = [
        (f"`{prefix}{name.upper()}`", _default(field), str(field.description))
        for name, field in Settings.model_fields.items()
    ]
    return _table(("variable", "default", "meaning"), rows)


def metrics() -> str:
    """Every metric of a report."""
    rows = [(f"`{name}`", each.unit, each.better or "-", each.meaning) for name, each in METRICS.items()]
    return _table(("metric", "unit", "better", "meaning"), rows)


def errors() -> str:
    """Errors of the general models and of the linear estimator, relative to trilinear interpolation."""
    linear = _linear()
    cards = [card for card in _trained() if card.flow == GENERAL]
    rows = [("parameters", "", linear["isotropic"][1], *(f"{card.parameters:,}" for card in cards))]
    for flow, title in FLOWS.items():
        run = next(each for each in cards[0].measured if each["flow"] == flow)
        errors = (mean_and_std(_measured(card)[flow], ".3f") for card in cards)
        rows.append((title, spell_resolution(run), linear[flow][6], *errors))
    names = (f"`{card.name.removesuffix('-x4')}`" for card in cards)
    return _table(("flow", "coarse cells", "best linear estimator", *names), rows)


def calibration() -> str:
    """How well the errors that the general equivariant models expect agree with those found."""
    cards = [CATALOGUE.card(name) for name in (DEFAULT, WIDE)]
    rows = []
    for flow, title in FLOWS.items():
        found = (_measured(card, key)[flow]["mean"] for card in cards for key in CALIBRATION.values())
        rows.append((title, *(f"{mean:.2f}" for mean in found)))
    first, *others = CALIBRATION
    titles = (title for model in ("default", "wide") for title in (f"{model}: {first}", *others))
    return _table(("flow", *titles), rows)


TABLES: Final[list[tuple[Path, Callable[[], str]]]] = [
    (README, errors),
    (DOCS / "models.md", errors),
    (DOCS / "models.md", calibration),
    (DOCS / "operating.md", settings),
    (DOCS / "api.md", metrics),
]
"""Pages, each with what makes the table there that has these titles."""


def claims() -> list[tuple[Path, str]]:
    """Pages, each with a sentence there that compares models."""
    models = DOCS / "models.md"
    cards = {card.name: card for card in _trained()}
    default, wide = cards[DEFAULT], cards[WIDE]
    isotropic, channel = cards["equivariant-isotropic-x4"], cards["relaxed-channel-x4"]
    found = {flow: round(100 * value["mean"]) for flow, value in _measured(default).items()}
    gains = [_percent_below(wide, default, flow) for flow in FLOWS]
    walls = _percent_below(default, channel, "channel", f"near_wall_{ERROR}")
    wider = f"errors lower by {min(gains)} to {max(gains)} %"
    fine = {flow: f"{_measured(default)[flow]['mean']:.3f}" for flow in ("isotropic", "channel")}
    fewest = f"0.230 instead of {fine['isotropic']} (isotropic) and 0.375 instead of {fine['channel']} (channel)"
    theirs = _by_others(default)
    count = {11: "eleven"}.get(len(theirs), str(len(theirs)))
    filtered = [error for name, error in theirs.items() if "_hit" in name]
    spans = [(min(errors), max(errors)) for errors in (theirs.values(), filtered)]
    (all_sets, three) = (f"{100 * low:.0f} to {100 * high:.0f} %" for low, high in spans)
    return [
        (README, fewest),
        (models, fewest),
        (README, f"On {count} sets that others simulated, the default has {all_sets} of the error"),
        (README, f"{three} in the three of isotropic turbulence"),
        (models, f"expect {_measured(default)['inertial']['mean']:.2f} to {max(filtered):.2f}"),
        (models, f"{count} sets it was {min(theirs.values()):.2f} to {max(theirs.values()):.2f}"),
        (
            README,
            f"{found['isotropic']} % of the mean absolute error of trilinear interpolation in well-resolved isotropic",
        ),
        (README, f"{found['channel']} % in a channel at Re_tau 180"),
        (README, f"{found['inertial']} % where an inertial range reaches the cutoff of the fine grid"),
        (README, f"`{wide.name}` has {wider}"),
        (models, f"`{wide.name}`: {wider}"),
        (models, f"{_percent_below(default, isotropic, 'isotropic')} % below that of `{isotropic.name}`"),
        (models, f"{_percent_below(default, channel, 'channel')} % below that of `{channel.name}`"),
        (models, f"and {walls} % below it at the walls"),
    ]


def _trained() -> list[Card]:
    """The cards of the trained models, general ones first."""
    cards = [card for card in map(CATALOGUE.card, CATALOGUE.names()) if card.flow and card.factor == FACTOR]
    return sorted(cards, key=lambda card: card.flow != GENERAL)


def _linear() -> dict[str, list[str]]:
    """The row of the linear estimator in TABLE.md by flow: cards do not have its deviations."""
    found = {}
    for chapter in (CATALOGUE.folder / "TABLE.md").read_text().split("\n## "):
        for line in chapter.splitlines():
            if line.startswith("| best linear estimator |"):
                found[chapter.partition(" flow")[0].lower()] = line.split(" | ")
    return found


def _by_others(card: Card) -> dict[str, float]:
    """Errors on the files that others simulated, from TABLE.md: cards do not have them."""
    chapter = (CATALOGUE.folder / "TABLE.md").read_text().partition("\n## Turbulence that others simulated")[2]
    table = chapter[chapter.index("| file |") :].partition("\n\n")[0]
    titles, _, *rows = (line.split(" | ") for line in table.splitlines())
    column = titles.index(card.name.removesuffix("-x4"))
    return {row[0].removeprefix("| "): float(row[column]) for row in rows}


def _measured(card: Card, key: str = ERROR) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of a metric by flow."""
    return {each["flow"]: each[key] for each in card.measured if key in each}


def _percent_below(card: Card, other: Card, flow: str, key: str = ERROR) -> int:
    """By how many per cent of the error of another model that of a model is lower."""
    mine, theirs = (_measured(each, key)[flow]["mean"] for each in (card, other))
    return round(100 - 100 * mine / theirs)


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [titles, ("---",) * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _default(field: FieldInfo) -> str:
    """A default as it would be set."""
    match field.default:
        case None:
            return "unset"
        case Path() as path:
            return f"`{path.relative_to(CHECKOUT)}`"
        case str() as text:
            return f"`{text}`"
        case other:
            return f"`{json.dumps(other)}`"


def like(table: str) -> re.Pattern[str]:
    """Finds the tables with the same titles."""
    return re.compile(re.escape(table.partition("\n")[0]) + r"\n(?:\|.*\n)*")


def main() -> None:
    """Write each in the place of the table with the same titles."""
    for page, make in TABLES:
        table = make()
        page.write_text(like(table).sub(lambda _, table=table: table, page.read_text()))  # type: ignore[misc]


if __name__ == "__main__":
    main()
