"""``python -m training seeds``: write the results of `forecast...` and `discover` to ``weights/SEEDS.md``.

The text is in ``training/experiments/seeds.template.md``, the results are files in ``training/experiments/results``.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.discovery.point_groups import symbol
from models.forecasting.network import FORECAST_FAMILIES
from models.group import group
from models.irreps import element_names
from models.replacing import replacing
from training.experiments.turbulence import expected
from training.forecasting.forecast import SPLITS, spell_over_seeds
from training.markdown import markdown
from training.results import add_result, added

if TYPE_CHECKING:
    import argparse

    from training.forecasting.forecast import Errors

EXPERIMENTS = Path(__file__).parent / "experiments"
Results = dict[str, dict[str, Any]]
"""Results by the name of their file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--add", type=Path, nargs="+", default=[], help="folders of new results, the --out of `forecast` and `discover`"
    )
    parser.add_argument("--results", type=Path, default=EXPERIMENTS / "results", help="folder that they are added to")
    parser.add_argument("--out", type=Path, default=Path("weights/SEEDS.md"), help="file to write")


def run(args: argparse.Namespace) -> int:
    """Add new results to those that are stored, and write the file.

    Raises:
        ValueError: if a folder has no results, or none that can be in the tables. Nothing is added then.
    """
    results = {path.stem: json.loads(path.read_text()) for path in args.results.glob("*.json")}
    new = {}
    for folder in args.add:
        found = sorted(folder.glob("*.json"))
        if not found:
            message = f"--add: {folder}; expected a folder with results, *.json"
            raise ValueError(message)
        for path in found:
            new[path.stem] = json.loads(path.read_text())
            results[path.stem] = added(results.get(path.stem, {}), new[path.stem])
    text = (EXPERIMENTS / "seeds.template.md").read_text()
    try:
        text = text.format(**tables(dict(sorted(results.items()))))
    except (KeyError, TypeError) as error:
        message = f"--add: {type(error).__name__} {error}; expected results as this version of eddylift writes them"
        raise ValueError(message) from error
    for name, result in new.items():
        add_result(args.results / f"{name}.json", result)
    with replacing(args.out) as path:
        path.write_text(text)
    print(args.out)
    return 0


def tables(results: Results) -> dict[str, str]:
    """All tables, by their places in the text."""

    def with_(key: str) -> Results:
        return {name: result for name, result in results.items() if key in result}

    return {
        "forecasts": forecast_table({name: result["rmse"] for name, result in with_("rmse").items()}),
        "symmetries": "\n\n".join(symmetry_table(result["symmetries"]) for result in with_("symmetries").values()),
        "levels": level_table(_alike(with_("rank correlation"), "errors", "rank correlation")),
        "penalties": penalty_table([result["penalties"] for result in _alike(with_("penalties"), "penalties")]),
        "places": "\n\n".join(place_table(result["places"], result["middle"]) for result in with_("places").values()),
        "discoveries": discovery_table([result["findings"] for result in with_("findings").values()]),
        "adaptations": adaptation_table(with_("adaptation")),
    }


def _alike(results: Results, *outcomes: str) -> list[dict[str, Any]]:
    """Results, which differ in seed and outcomes alone.

    Raises:
        ValueError: if one was obtained otherwise than the first.
    """
    ways = {
        name: {key: value for key, value in result.items() if key not in ("seed", *outcomes)}
        for name, result in results.items()
    }
    for name, way in ways.items():
        if way != (first := next(iter(ways.values()))):
            message = f"{name}: {way}; expected {first}, as in {next(iter(ways))}"
            raise ValueError(message)
    return list(results.values())


def forecast_table(sets: dict[str, Errors]) -> str:
    """Errors by set, split and family; the lowest mean in bold."""
    families = ["persistence", *(name for name in FORECAST_FAMILIES if any(name in each for each in sets.values()))]
    rows = []
    for name, found in sets.items():
        for split in SPLITS:
            means = {family: statistics.mean(errors[split].values()) for family, errors in found.items()}
            cells = {family: spell_over_seeds(errors[split].values()) for family, errors in found.items()}
            best = min(means, key=lambda family: means[family])
            cells[best] = f"**{cells[best]}**"
            rows.append([f"{name}, {split}", *(cells.get(family, "") for family in families)])
    return markdown(["set, split", *families], rows)


def symmetry_table(errors: Errors) -> str:
    """Errors by network and set of runs, to four digits, and how far apart seeds are."""
    sets = next(iter(errors.values()))
    rows = [[moved, *(spell_over_seeds(found[moved].values(), ".4f") for found in errors.values())] for moved in sets]
    return markdown(["runs", *errors], rows)


def level_table(seeds: list[dict[str, Any]]) -> str:
    """Errors of data and networks by level, and the rank correlation between them for each seed."""
    rows = [
        [str(levels[0]), f"{errors[0][0]:.3f}", spell_over_seeds([error for _, error in errors], ".2g")]
        for levels, errors in (
            zip(*each, strict=True)
            for each in zip(*(zip(seed["levels"], seed["errors"], strict=True) for seed in seeds), strict=True)
        )
    ]
    correlations = ", ".join(f"{seed['rank correlation']:.3f}" for seed in seeds)
    return f"{markdown(['level', 'data', 'network'], rows)}\n\nRank correlation of the two, by seed: {correlations}."


def penalty_table(seeds: list[list[tuple[float, ...]]]) -> str:
    """Equivariance errors and errors of roll-outs by penalty.

    Raises:
        ValueError: if seeds have other penalties than the first.
    """
    if len(lists := {tuple(strength for strength, *_ in found) for found in seeds}) > 1:
        message = f"penalties: {sorted(lists)}; expected the same of all seeds"
        raise ValueError(message)
    rows = []
    for found in zip(*seeds, strict=True):
        strength, squares, errors, rmse = zip(*found, strict=True)
        cells = [
            spell_over_seeds([x**0.5 for x in squares], ".2g"),
            spell_over_seeds(errors, ".2g"),
            spell_over_seeds(rmse),
        ]
        rows.append([f"{strength[0]:g}", *cells])
    return markdown(["penalty", "rms of delta", "equivariance error", "RMSE"], rows)


def place_table(cells: dict[str, list[int]], middle: float) -> str:
    """Where w(x) changes most, by seed."""
    rows = [
        [f"{n}", f"{inside}", f"{anywhere}", f"{middle:g}"] for n, (inside, anywhere) in enumerate(cells.values(), 1)
    ]
    return markdown(["network", "where smoke comes in", "anywhere", "middle"], rows)


def discovery_table(experiments: list[dict[str, Any]]) -> str:
    """What pairs keep, and how well they were fitted."""
    rows = []
    for name, found in ((name, each[name]) for each in experiments for name in each):
        numbers = [found[key] for key in ("error_inside", "error_outside", "mse", "mse_copy")]
        cells = ["" if number is None else f"{number:.1e}" for number in numbers]
        rows.append([name, str(len(found["kept"])), found["symbol"], " ".join(found["moved"]), *cells])
    return markdown(["to", "kept", "group kept", "irreps", "error inside", "outside", "MSE", "of copying"], rows)


def adaptation_table(runs: Results) -> str:
    """Common shares of the elements that the equations of each run's flow keep, where known, and of the others."""
    over, rows = group("Oh"), []
    names = element_names(over)
    for name, each in runs.items():
        elements = expected(each["flow"])
        if elements is None:
            continue
        shares = {names.index(element): share for element, share in each["adaptation"].items()}
        known = [element for element in elements if element in shares]
        kept = max(shares[element] for element in known[1:])  # without the identity
        broken = min((share for element, share in shares.items() if element not in known), default=None)
        cells = ["", ""] if broken is None else [f"{broken:.3f}", "yes" if kept < broken else "no"]
        subgroup = f"{symbol(over.matrices[known])}, {len(known)}"
        rows.append([name.removesuffix("-adaptation"), subgroup, f"{kept:.3f}", *cells])
    return markdown(["run", "kept by the equations", "kept: at most", "broken: at least", "apart"], rows)
