"""``python -m training seeds``: write the results of `forecast...` and `discover` to ``weights/SEEDS.md``.

The text is in ``training/experiments/seeds.template.md``, the results are files in ``training/experiments/results``.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.forecast_network import FORECAST_FAMILIES
from models.group import group
from models.irreps import element_names
from models.point_groups import symbol
from training.experiments.turbulence import expected
from training.forecast import SPLITS, spread
from training.markdown import markdown
from training.results import add_result

if TYPE_CHECKING:
    import argparse

    from training.forecast import Errors

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
        ValueError: if a folder has no results.
    """
    for folder in args.add:
        found = sorted(folder.glob("*.json"))
        if not found:
            message = f"--add: {folder}; expected a folder with results, *.json"
            raise ValueError(message)
        for path in found:
            add_result(args.results / path.name, json.loads(path.read_text()))
    results = {path.stem: json.loads(path.read_text()) for path in sorted(args.results.glob("*.json"))}
    text = (EXPERIMENTS / "seeds.template.md").read_text()
    args.out.write_text(text.format(**tables(results)))
    print(args.out)
    return 0


def tables(results: Results) -> dict[str, str]:
    """All tables, by their places in the text."""

    def with_(key: str) -> Results:
        return {name: result for name, result in results.items() if key in result}

    return {
        "forecasts": forecast_table({name: result["rmse"] for name, result in with_("rmse").items()}),
        "symmetries": "\n\n".join(symmetry_table(result["symmetries"]) for result in with_("symmetries").values()),
        "levels": level_table([*with_("rank correlation").values()]),
        "penalties": penalty_table([result["penalties"] for result in with_("penalties").values()]),
        "places": "\n\n".join(place_table(result["places"], result["middle"]) for result in with_("places").values()),
        "discoveries": discovery_table([result["findings"] for result in with_("findings").values()]),
        "adaptations": adaptation_table(with_("adaptation")),
    }


def forecast_table(sets: dict[str, Errors]) -> str:
    """Errors by set, split and family; the lowest mean in bold."""
    families = ["persistence", *(name for name in FORECAST_FAMILIES if any(name in each for each in sets.values()))]
    rows = []
    for name, found in sets.items():
        for split in SPLITS:
            means = {family: statistics.mean(errors[split].values()) for family, errors in found.items()}
            cells = {family: spread(errors[split].values()) for family, errors in found.items()}
            best = min(means, key=lambda family: means[family])
            cells[best] = f"**{cells[best]}**"
            rows.append([f"{name}, {split}", *(cells.get(family, "") for family in families)])
    return markdown(["set, split", *families], rows)


def symmetry_table(errors: Errors) -> str:
    """Errors by network and set of runs, to four digits, and how far apart seeds are."""
    sets = next(iter(errors.values()))
    rows = [[moved, *(spread(found[moved].values(), ".4f") for found in errors.values())] for moved in sets]
    return markdown(["runs", *errors], rows)


def level_table(seeds: list[dict[str, Any]]) -> str:
    """Errors of data and networks by level, and the rank correlation between them for each seed."""
    rows = [
        [str(level), f"{errors[0][0]:.3f}", spread([error for _, error in errors], ".2g")]
        for level, errors in enumerate(zip(*(seed["errors"] for seed in seeds), strict=True))
    ]
    correlations = ", ".join(f"{seed['rank correlation']:.3f}" for seed in seeds)
    return f"{markdown(['level', 'data', 'network'], rows)}\n\nRank correlation of the two, by seed: {correlations}."


def penalty_table(seeds: list[list[tuple[float, ...]]]) -> str:
    """Equivariance errors and errors of roll-outs by penalty."""
    rows = []
    for found in zip(*seeds, strict=True):
        strength, squares, errors, rmse = zip(*found, strict=True)
        cells = [spread([x**0.5 for x in squares], ".2g"), spread(errors, ".2g"), spread(rmse)]
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
    """Common shares of the elements that the equations of each run's flow keep, and of the others."""
    over, rows = group("Oh"), []
    names = element_names(over)
    for name, each in runs.items():
        shares = {names.index(element): share for element, share in each["adaptation"].items()}
        known = [element for element in expected(each["flow"]) or [] if element in shares]
        kept = max(shares[element] for element in known[1:])  # without the identity
        broken = min((share for element, share in shares.items() if element not in known), default=None)
        cells = ["", ""] if broken is None else [f"{broken:.3f}", "yes" if kept < broken else "no"]
        subgroup = f"{symbol(over.matrices[known])}, {len(known)}"
        rows.append([name.removesuffix("-adaptation"), subgroup, f"{kept:.3f}", *cells])
    return markdown(["run", "kept by the equations", "kept: at most", "broken: at least", "apart"], rows)
