"""``python -m training forecast-symmetries``: forecasts of planar turbulence that is turned, boosted and scaled.

The runs that networks of ``training forecast`` have not seen are simulated again: turned by a quarter, with a mean
velocity, in other units (``u -> a u(a x, a^2 t)``), and all three at once. Printed is the error of each network on each
of these sets.
"""

from __future__ import annotations

import copy
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from models.forecasting.network import FORECAST_FAMILIES, ForecastArchitecture
from models.group import group
from training.flows import planes
from training.forecasting.training import TESTED, load
from training.forecasting.windows import Windows, read_set
from training.results import add_result

if TYPE_CHECKING:
    import argparse

    from torch import Tensor

    from models.forecasting.forecaster import Forecaster, Units

QUARTER: Final = next(matrix for matrix in group("C4", 2).matrices if matrix[1, 0] == 1)
MEAN, SCALE = (2.0, -2.0), 2.0
"""Boost of one cell per frame along each axis (networks commute with shifts by whole cells), and change of units."""
SETS: Final[dict[str, dict[str, Any]]] = {
    "as simulated": {},
    "turned": {"turn": QUARTER},
    "boosted": {"mean": MEAN},
    "scaled": {"scale": SCALE},
    "all three": {"turn": QUARTER, "mean": MEAN, "scale": SCALE},
}
GIVEN: Final = ForecastArchitecture.frames


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, required=True, help="folder of planar turbulence, from `simulate`")
    parser.add_argument("--families", nargs="+", choices=FORECAST_FAMILIES, default=["plain", "conv", "equivariant"])
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="seeds of the networks that `forecast` trained"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/forecast"), help="the --out of `forecast`")


def run(args: argparse.Namespace) -> int:
    """Measure, and write the results."""
    about, data = read_set(args.data, "decaying"), Windows(args.data)
    sets = {name: planes.decaying(about["n"], about["seed"], **moved) for name, moved in SETS.items()}
    found: dict[str, dict[str, dict[str, float]]] = {name: {moved: {} for moved in SETS} for name in args.families}
    networks = list(product(args.seeds, args.families))
    models, how = load([args.out / data.name / f"{name}-seed{seed}.pt" for seed, name in networks])
    for (seed, name), model in zip(networks, models, strict=True):
        for moved, (frames, units) in sets.items():
            found[name][moved][str(seed)] = error(model.frozen(), frames, units, data)
            print(f"{name}, seed {seed}, {moved}: {found[name][moved][str(seed)]:.6f}", flush=True)
    add_result(args.out / f"{data.name}-symmetries.json", {**how, "symmetries": found})
    return 0


@torch.inference_mode()
def error(model: Forecaster, frames: Tensor, units: Units, data: Windows) -> float:
    """Root mean square error of a forecast, relative to the rms of the true fluctuations about the mean velocity.

    Args:
        model: whose forecast it is.
        frames: velocity of all runs, (run, frame, 2, y, x).
        units: of the frames.
        data: that networks learned from, which says what they have not seen.
    """
    moved = copy.copy(data)
    moved.frames = frames.float()
    windows = moved.test("domain", GIVEN + TESTED).frames
    wanted = windows[:, GIVEN:]
    spread = wanted - wanted.mean(dim=(-2, -1), keepdim=True)
    answer = model(windows[:, :GIVEN], TESTED, data.circular, units)
    return float(((answer - wanted).square().mean() / spread.square().mean()).sqrt())
