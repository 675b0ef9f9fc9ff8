"""``python -m training forecast-penalties``: how far from its symmetry a penalty lets a steerable network learn.

A network for each penalty, on one level of the set ``levels``, whose buoyancy differs from side to side. Told are the
mean of delta^2, the network's equivariance error and the error of its roll-outs, both on inflows that it has not seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.forecasting.network import ForecastArchitecture
from models.forecasting.steerable import penalty
from training.flows.plumes import UNEVEN
from training.forecasting.levels import of_network
from training.forecasting.training import Recipe, conditions, rmse, train
from training.forecasting.windows import Windows
from training.results import write_json

if TYPE_CHECKING:
    import argparse

PENALTIES = (0.0, 1e2, 1e4, 1e6, 1e8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, required=True, help="folder of the set levels, from `simulate`")
    parser.add_argument("--level", type=int, default=len(UNEVEN) - 1, help="(default: the one that differs most)")
    parser.add_argument("--penalties", type=float, nargs="+", default=PENALTIES)
    parser.add_argument("--group", default="C4", help="of the network (default: C4)")
    parser.add_argument("--fields", type=int, default=4, help="fields in the trunk")
    parser.add_argument("--blocks", type=int, default=1, help="residual blocks")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/forecast"), help="folder for checkpoints and results")


def run(args: argparse.Namespace) -> int:
    """Train, compare, and write the results."""
    data = Windows(args.data, args.level)
    architecture = ForecastArchitecture("relaxed-steerable", args.group, args.fields, args.blocks)
    print(f"{'penalty':>8} {'delta^2':>10} {'error':>10} {'RMSE':>8}")
    found = []
    for strength in args.penalties:
        # In float32, as rounding to bfloat16 would break the symmetry by itself.
        recipe = Recipe(args.steps, seed=args.seed, penalty=strength)
        checkpoint = args.out / data.name / f"relaxed-steerable-{args.fields}-penalty{strength:g}-seed{args.seed}.pt"
        model = train(architecture, recipe, data, checkpoint, lambda _: None)
        found.append((strength, float(penalty(model).detach()), of_network(model, data), rmse(model, data, "domain")))
        print("{:8g} {:10.2e} {:10.2e} {:8.4f}".format(*found[-1]), flush=True)
    result = {
        "data": data.name,
        "level": args.level,
        **conditions(architecture, recipe),
        "seed": args.seed,
        "penalties": found,
    }
    write_json(args.out / f"{data.name}-penalties-seed{args.seed}.json", result)
    return 0
