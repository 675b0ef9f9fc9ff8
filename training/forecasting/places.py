"""``python -m training forecast-places``: do the weights w(x) of a relaxed network tell where a flow changes?

On the set *translation*, whose buoyancy is twice as strong right of the middle as left of it. The weights are those of
the networks relaxed-translation that ``training forecast`` has trained on it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from models.forecasting.layers import Placed
from training.figures import COLOURS
from training.flows.plumes import EDGE, MIDDLE
from training.forecasting.training import load
from training.forecasting.windows import read_set
from training.results import add_result

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

    from models.forecasting.forecaster import Forecaster

REACH = 3
"""Cells on each side of a change that are compared, as many as a kernel has."""
WIDE = 3
"""Panels in a row of the figure."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of the set translation, as `simulate` leaves it"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="those that `forecast` has trained")
    parser.add_argument("--out", type=Path, default=Path("runs/forecast"), help="the --out of `forecast`")
    parser.add_argument("--figure", type=Path, default=Path("weights/FORECAST-places.png"), help="file to draw")


def run(args: argparse.Namespace) -> int:
    """Read, draw and write down."""
    about = read_set(args.data, "translation")
    inflows = [plume["along"] * about["n"] / EDGE for plume in about["runs"]]
    inside, middle = (math.floor(min(inflows)), math.ceil(max(inflows))), MIDDLE * about["n"] / EDGE
    folder = args.out / args.data.name
    models, how = load([folder / f"relaxed-translation-seed{seed}.pt" for seed in args.seeds])
    curves = list(map(weights_along_x, models))
    cells = {}
    for seed, each in zip(args.seeds, curves, strict=True):
        found, anywhere = cells[str(seed)] = [change(each, inside), change(each, (0, about["n"]))]
        print(f"seed {seed}: w(x) changes most at cell {found}, near walls too {anywhere}; the middle is {middle:g}")
    add_result(args.out / f"{folder.name}-places.json", {"middle": middle, **how, "places": cells})
    draw(args.figure, curves, inside, middle)
    return 0


def weights_along_x(model: Forecaster) -> Float[Tensor, "curve x"]:
    """The weights w(x) of all layers and banks of a network, each in its mean over y and less its mean."""
    layers = [layer.weights.detach() for layer in model.modules() if isinstance(layer, Placed)]
    along = torch.cat(layers).mean(dim=1)
    return along - along.mean(dim=1, keepdim=True)


def change(curves: Float[Tensor, "curve x"], inside: tuple[int, int]) -> int:
    """The cell at which curves change most: the largest difference between the means of some cells before and after.

    Args:
        curves: of which the differences count together.
        inside: the first cell that is looked at, and the one after the last.
    """
    first, last = inside
    means = curves[:, first:last].unfold(1, REACH, 1).mean(dim=2)
    return first + REACH + int((means[:, REACH:] - means[:, :-REACH]).norm(dim=0).argmax())


def draw(path: Path, curves: Sequence[Tensor], inside: tuple[int, int], middle: float) -> None:
    """Curves of w(x), a panel for each seed, with the cells that are looked at and the one at which they change.

    Args:
        path: PNG to write.
        curves: of each seed.
        inside: see ``change``.
        middle: where the flow changes.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 training runs on hosts without it

    rows, columns = -(-len(curves) // WIDE), min(WIDE, len(curves))
    figure = Figure(figsize=(3.6 * columns, 3.0 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for seed, (axes, along) in enumerate(zip(panels.flat, curves, strict=False)):
        axes.axvspan(*inside, color="0.93", label="where smoke comes in")
        axes.plot(torch.arange(along.shape[1]) + 0.5, along.T, color=COLOURS["relaxed"], lw=1, alpha=0.6)
        axes.axvline(
            change(along, inside), color=COLOURS["equivariant"], lw=4, alpha=0.6, label="where w(x) changes most"
        )
        axes.axvline(middle, color="black", ls="--", label="the middle, where buoyancy doubles")
        axes.set(title=f"network {seed + 1}", xlim=(0, along.shape[1]))
    for axes in panels.flat[len(curves) :]:
        axes.set_axis_off()
    for axes in panels[-1]:
        axes.set_xlabel("x, in cells")
    for axes in panels[:, 0]:
        axes.set_ylabel("w(x), less its mean")
    lines, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)
