"""``python -m training forecast-levels``: does a relaxed network break as much of a symmetry as its data do?

Trains a relaxed network for each level of the set ``levels``. At the first level, buoyancy is the same on all sides; at
the last one it differs threefold. Prints the equivariance errors of the data, and of the network on inflows that it has
not seen, and the rank correlation between them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from models.forecasting.network import ForecastArchitecture
from models.group import group, rotate_vector
from models.metrics.ranks import rank_correlation
from training.flows.plumes import SIDES, UNEVEN
from training.forecasting.training import AHEAD, Recipe, conditions, train
from training.forecasting.windows import Windows
from training.results import write_json

if TYPE_CHECKING:
    import argparse

    from torch import Tensor

    from models.forecasting.forecaster import Forecaster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, required=True, help="folder of the set levels, from `simulate`")
    parser.add_argument("--levels", type=int, nargs="+", default=range(len(UNEVEN)), help="which (default: all)")
    parser.add_argument("--fields", type=int, default=4, help="regular fields")
    parser.add_argument("--blocks", type=int, default=1, help="residual blocks")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/forecast"), help="folder for checkpoints and results")


def run(args: argparse.Namespace) -> int:
    """Train, compare, and write the results.

    Raises:
        ValueError: if there is a single level, which has no rank.
    """
    if len(set(args.levels)) < 2:  # noqa: PLR2004
        message = f"--levels: {args.levels}; expected several, to be ranked"
        raise ValueError(message)
    print(f"{'level':>5} {'data':>10} {'network':>10}")
    found = []
    for level in args.levels:
        data = Windows(args.data, level)
        architecture = ForecastArchitecture("relaxed", "C4", args.fields, args.blocks)
        # In float32, as rounding to bfloat16 would break the symmetry by itself.
        recipe = Recipe(args.steps, seed=args.seed)
        checkpoint = args.out / data.name / f"relaxed-{args.fields}-level{level}-seed{args.seed}.pt"
        model = train(architecture, recipe, data, checkpoint, lambda _: None)
        found.append((of_data(data), of_network(model, data)))
        print(f"{level:5} {found[-1][0]:10.2e} {found[-1][1]:10.2e}", flush=True)
    correlation = rank_correlation(*torch.tensor(found).unbind(dim=1))
    print(f"rank correlation {correlation:.3f}")
    result = {
        "data": args.data.name,
        "levels": list(args.levels),
        **conditions(architecture, recipe),
        "seed": args.seed,
        "errors": found,
        "rank correlation": correlation,
    }
    write_json(args.out / f"{args.data.name}-seed{args.seed}.json", result)
    return 0


def of_data(data: Windows) -> float:
    """Difference between runs of the other sides and turned runs of the first side, relative to their norm."""
    wanted = data.frames.unflatten(0, (SIDES, -1))
    pairs = zip(_turns(wanted[0]), wanted[1:], strict=True)
    return _mean([(moved - found).norm() / moved.norm() for moved, found in pairs])


@torch.inference_mode()
def of_network(model: Forecaster, data: Windows) -> float:
    """``||f(g u) - g f(u)|| / ||f(u)||`` for the changes f that a network forecasts, in the mean over turns g."""
    frames, scales = data.test("domain", model.frames + AHEAD)
    given = frames[:, : model.frames]

    def changes(frames: Tensor) -> Tensor:
        return model.roll_out(frames, AHEAD, data.circular, scales) - frames[:, -1:]

    answer = changes(given)
    pairs = zip(_turns(given), _turns(answer), strict=True)
    return _mean([(changes(moved) - wanted).norm() / wanted.norm() for moved, wanted in pairs])


def _turns(field: Tensor) -> list[Tensor]:
    """A field after one, two and three quarter turns, from x to y."""
    quarter = next(matrix for matrix in group("C4", 2).matrices if matrix[1, 0] == 1)
    turned = []
    for _ in range(SIDES - 1):
        field = rotate_vector(field, quarter)
        turned.append(field)
    return turned


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).mean())
