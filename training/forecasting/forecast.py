"""``python -m training forecast``: train forecasting networks on a set of runs in a plane, and compare their roll-outs.

Families and seeds in turn, each with a checkpoint that the same command goes on from; then the errors on both splits
beside persistence, which are added to ``<set>.json`` under ``--out``. ``--weights`` stores networks for the service.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from models.convolution import count_parameters
from models.forecasting.catalogue import ForecastCard, ForecastCatalogue
from models.forecasting.network import FORECAST_FAMILIES, TURNING, ForecastArchitecture
from models.forecasting.steerable import field_size
from training.forecasting.training import TESTED, Recipe, conditions, rmse, train
from training.forecasting.windows import Windows
from training.precision import add_precision, chosen_precision
from training.results import add_result
from training.train import require_new

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from models.forecasting.forecaster import Forecaster
    from models.forecasting.network import ForecastFamily

SPLITS = ("future", "domain")
Errors = dict[str, dict[str, dict[str, float]]]
"""Forecast errors by family, split and seed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, required=True, help="folder of a set of runs, from `simulate`")
    parser.add_argument("--families", nargs="+", choices=FORECAST_FAMILIES, default=["conv", "equivariant", "relaxed"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="each trains a network of each family")
    parser.add_argument("--group", choices=["C4", "D4"], default="C4")
    parser.add_argument("--fields", type=int, default=8, help="regular fields; conv gets as many channels")
    parser.add_argument("--blocks", type=int, default=3, help="residual blocks")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="highest learning rate")
    add_precision(parser)
    parser.add_argument("--out", type=Path, default=Path("runs/forecast"), help="folder for checkpoints and results")
    parser.add_argument("--weights", type=Path, help="folder in which to store the network of the first seed")
    parser.add_argument("--overwrite", action="store_true", help="replace stored networks of the same family and flow")


def architecture_of(args: argparse.Namespace, family: ForecastFamily, data: Windows) -> ForecastArchitecture:
    """The network of a family. All have equally many channels, so they cost the same."""
    over, size = (args.group, 1) if family in TURNING else ("C1", field_size(args.group))
    return ForecastArchitecture(
        family,
        over,
        args.fields * size,
        args.blocks,
        banks=2 if family == "relaxed-translation" else 1,
        viscous=data.nu > 0,
        cells=data.cells if family == "relaxed-translation" else (),
        unit=float(data.scales.velocity.log().mean().exp()),
    )


def run(args: argparse.Namespace) -> int:
    """Train, compare, and write the results."""
    precision = chosen_precision(args.precision, "cpu")
    data = Windows(args.data)
    if args.weights:
        for family in args.families:
            require_new(ForecastCatalogue(args.weights), stored_name(family, data), overwrite=args.overwrite)
    found: Errors = {"persistence": {split: {"0": rmse(None, data, split)} for split in SPLITS}}
    for seed in args.seeds:
        for family in args.families:
            recipe = Recipe(args.steps, args.rate, seed=seed, precision=precision)
            checkpoint = args.out / data.name / f"{family}-seed{seed}.pt"
            architecture = architecture_of(args, family, data)
            model = train(architecture, recipe, data, checkpoint, _say)
            errors = found.setdefault(family, {split: {} for split in SPLITS})
            for split in SPLITS:
                errors[split][str(seed)] = rmse(model, data, split)
            if args.weights and seed == args.seeds[0]:
                store(model, data, recipe, found, args.weights)
            _say(f"{family}, seed {seed}: " + ", ".join(f"{split} {errors[split][str(seed)]:.4f}" for split in SPLITS))
    how = {**conditions(architecture, recipe), "group": args.group}
    add_result(args.out / f"{data.name}.json", {**how, "rmse": found})
    print(table(found))
    return 0


def store(model: Forecaster, data: Windows, recipe: Recipe, found: Errors, weights: Path) -> None:
    """Store a network for the service, with its card, and the first window of the split *domain* as its sample.

    Raises:
        ValueError: if an error of its forecasts is not finite.
    """
    architecture = model.network.architecture
    measured = {
        split: {name: next(iter(found[name][split].values())) for name in (architecture.family, "persistence")}
        for split in SPLITS
    }
    if not all(math.isfinite(error) for errors in measured.values() for error in errors.values()):
        message = f"{stored_name(architecture.family, data)}: errors {measured}; expected finite ones; it is not stored"
        raise ValueError(message)
    y, x = ("periodic" if wraps else "wall" for wraps in data.circular)
    card = ForecastCard(
        name=stored_name(architecture.family, data),
        family=architecture.family,
        flow=data.flow,
        frames=model.frames,
        boundary=(y, x),
        architecture=architecture.to_dict(),
        parameters=count_parameters(model),
        trained={"data": data.name, **asdict(recipe)},
        measured=measured,
        units=asdict(data.units[int(data.kept.nonzero()[0])]),
    )
    sample = data.test("domain", model.frames + TESTED).frames[0]
    ForecastCatalogue(weights).save(model, card, sample.numpy())


def stored_name(family: str, data: Windows) -> str:
    """Name of a network in ``weights/forecast``."""
    return f"{family}-{data.flow}"


def table(found: Errors) -> str:
    """Mean and standard deviation over seeds, by family and split."""
    lines = [f"{'':20} {'future':>16} {'domain':>16}"]
    lines += [
        f"{family:20} " + " ".join(f"{spell_over_seeds(errors[split].values()):>16}" for split in SPLITS)
        for family, errors in found.items()
    ]
    return "\n".join(lines)


def spell_over_seeds(values: Iterable[float], spelled: str = ".3f") -> str:
    """Mean over training seeds and, of several, standard deviation."""
    numbers = list(values)
    deviation = f" ± {statistics.stdev(numbers):{spelled}}" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):{spelled}}{deviation}"


def _say(line: str) -> None:
    print(line, flush=True)
