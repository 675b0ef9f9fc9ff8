"""``python -m training table``: compare all models and baselines on held-out runs, as ``TABLE.md``.

Runs that do not exist yet are simulated first, from their seeds. The same command continues with them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from models.catalogue import BASELINE, GENERAL, Catalogue
from models.metrics.meanings import METRICS
from models.operators import FACTOR
from models.replacing import replacing
from training import external
from training.baselines import LinearEstimator, consistent_trilinear, spectral, tricubic
from training.dataset import StoredRun
from training.evaluate import judge, measure, middle, require_unseen, samples, summary_of
from training.figures import Bar, draw_errors, draw_symmetry
from training.flows.kinds import FLOWS, recipe_of
from training.markdown import markdown, mean_and_std, spell_resolution
from training.results import write_json
from training.runs import Run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from torch import Tensor

    from models.blocks import Boundaries
    from models.catalogue import Card
    from models.held_out import HeldOut
    from models.metrics.compare import Value
    from training.runs import Recipe

    Judge = Callable[[HeldOut], dict[str, Value]]


SEED = 201
"""Of the held-out runs. Networks and predictions of errors were compared on runs of seed 101 as they were made."""


def _couette(seed: int, interval: float) -> Recipe:
    points = {"nx": 72.0, "nz": 72.0}
    return recipe_of("couette", 64, seed, interval=interval, settle=60.0, compact=True, options=points)


HELD_OUT: dict[str, tuple[tuple[Recipe, int], ...]] = {
    "isotropic": ((recipe_of("isotropic", 96, SEED, frames=3), 8),),
    "inertial": ((recipe_of("inertial", 64, SEED, compact=True), 6),),
    "channel": ((recipe_of("channel", 96, SEED, frames=3), 5),),
    "couette": ((_couette(SEED, 14.0), 4),),
    "decaying": ((recipe_of("decaying", 64, SEED), 6),),
    "sheared": ((recipe_of("sheared", 64, SEED), 6),),
    "rotating": ((recipe_of("rotating", 64, SEED), 6),),
    "stratified": ((recipe_of("stratified", 64, SEED), 6),),
    "kolmogorov": ((recipe_of("kolmogorov", 64, SEED), 6),),
    "taylor-green": ((recipe_of("taylor-green", 64, SEED), 6),),
}
"""Runs that no model has seen, and how many snapshots of each."""
FITTED: dict[str, tuple[tuple[Recipe, int], ...]] = {
    "isotropic": ((recipe_of("isotropic", 64, 4, frames=3), 12), (recipe_of("isotropic", 96, 1, frames=3), 3)),
    "channel": ((recipe_of("channel", 96, 3, interval=0.4, box=0.5, frames=3), 12),),
    "couette": ((_couette(1, 7.0), 12),),
    "decaying": ((recipe_of("decaying", 64, 1), 12),),
    "sheared": ((recipe_of("sheared", 64, 1), 12),),
    "inertial": ((recipe_of("inertial", 64, 1, compact=True), 12),),
    "rotating": ((recipe_of("rotating", 64, 1), 12),),
    "stratified": ((recipe_of("stratified", 64, 1), 12),),
    "kolmogorov": ((recipe_of("kolmogorov", 64, 1), 12),),
    "taylor-green": ((recipe_of("taylor-green", 64, 1), 6),),
}
"""Runs that the linear estimator of each flow is fitted to, and how many snapshots of each."""
OTHERS = "others"
"""Folder of models that are in the table but are not served: further training seeds, other widths."""
LINEAR = "best linear estimator"
COLUMNS = {
    "MAE": "mae",
    "MAE / rms": "mae_over_rms",
    "MAE / trilinear's": "mae_over_trilinear",
    "the same at walls": "near_wall_mae_over_trilinear",
    "relative L2": "relative_l2",
    "skill": "skill",
    "spectrum, low k": "spectrum_error_low",
    "spectrum, high k": "spectrum_error_high",
    "stresses": "stress_profile_error",
    "divergence": "divergence",
    "consistency": "consistency",
}
CALIBRATION = {
    "predicted / found": "error_predicted_over_found",
    "below the 50 % bound": "error_coverage_50",
    "below the 90 % bound": "error_coverage_90",
    "rank correlation": "error_rank_correlation",
}
"""Of models that predict their errors."""
EXPLANATION = """\
Written by `python -m training table`; do not edit. Fields made coarse by the mean over 4^3 cells: mean and standard
deviation over snapshots of one run of each flow, with a seed by which nothing was fitted or chosen. In decaying flow
and the Taylor-Green vortex the deviation is mostly change with time. *Coarse cells*: their edges (z, y, x) in wall
units, or in Kolmogorov lengths eta. Where dealiasing leaves wavenumbers empty, which is said of each run, the task is
easier: on the fewest points that hold the same modes, MAE over trilinear's is about one and a half times to twice as
large ([docs/models.md](../docs/models.md#how-fine-must-the-coarse-cells-be)). Where a run has three frames, models of
three see all of them, and everyone else the middle one, which is what all are judged by. Arrows say which values are
better; metrics are defined in [models/metrics/](../models/metrics): *spectrum* is the rms of log10(E / E_true) below
and above the coarse Nyquist wavenumber (in a channel, of spectra along x and z), *MAE / rms* and *relative L2* are
relative to the fluctuations about the mean profile between walls and in a uniform shear, else about the mean of the
volume, *at walls* counts the coarse cells next to a wall alone (y+ < 15 in the channel, y+ < 21 in Couette flow),
*stresses* is the relative error of the profiles of all six Reynolds stresses, *divergence* should be that of the true
field, given with each run, *consistency* is ||mean(answer) - coarse|| over ||coarse - its mean||. The linear estimator
is the least-squares map from 5^3 coarse cells to the fine cells of the middle one
([training/baselines.py](../training/baselines.py)). *Cost* is multiplications per fine cell, counted; *training* is in
minutes, on what the card says (one CPU core unless it says more), without that of the model that it began from if this
has another name. *Predicted errors* are those that models predict for their own answers: mean predicted over mean
found, the share of fine cells below the bounds for 50 % and 90 % of them, and Spearman's rank correlation of predicted
and found over cells.

![MAE over trilinear's](TABLE.png)
"""
EMPTY = "Dealiasing leaves the upper third of the wavenumbers along each spectral axis empty."
THEIRS = {
    "isotropic": """\
For comparison, Wang et al. (arXiv 2310.02299) report MAE on isotropic turbulence of their own, from 3
frames of 32^3 to one of 128^3: trilinear 0.5248, convolution 0.1215, equivariant 0.1119, relaxed 0.1000. Other data and
other networks: the ratios to trilinear (0.23, 0.21, 0.19) can be set beside those here, the numbers cannot.
""",
    "channel": """\
For comparison, Wang et al. (arXiv 2310.02299) report MAE on a channel of their own, from 3 frames:
trilinear 0.05241, convolution 0.02602, equivariant 0.02540. Other data and other networks: the ratios to trilinear
(0.50, 0.48) can be set beside those here, the numbers cannot.
""",
}


@dataclass(frozen=True)
class Entrant:
    """One row of the table: a model or a baseline, its cost, and how to measure it."""

    judge: Judge
    weights: int = 0
    cost: float = 0.0
    """Multiplications per fine cell."""
    minutes: float = 0.0
    """Minutes of training."""
    frames: int = 1
    """Time levels in its input."""


def simulated(recipe: Recipe, snapshots: int, data: Path) -> StoredRun:
    """A run with at least this many snapshots, simulated or extended if necessary."""
    folder = data / recipe.name
    print(f"{folder}: {snapshots} snapshots", flush=True)
    Run(recipe, folder, FLOWS[recipe.flow].make, live=sys.stderr.isatty()).advance(snapshots)
    return StoredRun(folder)


def baseline(answer: Callable[[Tensor, Boundaries], Tensor], weights: int = 0) -> Entrant:
    """A baseline, in the precision of the networks; ``weights`` counts those for the answer of one coarse cell."""

    def judged(sample: HeldOut) -> dict[str, Value]:
        return judge(answer(torch.from_numpy(middle(sample)), sample.boundary).numpy(), sample)

    return Entrant(judged, weights, weights / FACTOR**3)


def trained(catalogue: Catalogue, card: Card, flow: str) -> Entrant:
    """A model, which must not have seen the held-out runs."""
    require_unseen(card, [recipe.name for recipe, _ in HELD_OUT[flow]])
    model = catalogue.load(card.name)
    network = catalogue.trained(card.name).network
    cost = network.multiplications if network else 0.0
    minutes = card.trained.get("minutes", 0.0)
    quantiles = card.uncertainty.get("quantiles")
    return Entrant(lambda sample: measure(model, sample, quantiles), card.parameters, cost, minutes, card.frames)


def entrants(weights: Path, flow: str, linear: LinearEstimator) -> dict[str, Entrant]:
    """All models and baselines for a flow, by name."""
    catalogue = Catalogue(weights)
    cards = [card for card in map(catalogue.card, catalogue.names()) if card.factor == FACTOR]
    plain = {card.name: trained(catalogue, card, flow) for card in cards if card.flow is None}
    classical = {
        "trilinear + consistency": baseline(consistent_trilinear),
        "tricubic": baseline(tricubic),
        "spectral": baseline(spectral),
        LINEAR: baseline(linear, linear.kernel.numel()),
    }
    learned = {card.name: trained(catalogue, card, flow) for card in cards if card.flow in (flow, GENERAL)}
    for folder in sorted((weights / OTHERS).glob("*")):
        more = Catalogue(folder)
        for card in map(more.card, more.names()):
            if card.flow in (flow, GENERAL):
                learned[f"{card.name}, {folder.name.replace('-', ' ')}"] = trained(more, card, flow)
    return {**plain, **classical, **dict(sorted(learned.items()))}


def section(run: StoredRun, everyone: dict[str, Entrant], snapshots: int) -> tuple[str, list[Bar]]:
    """The table of one run, and the bars of its figure."""
    held_out = list(islice(samples(run, run.frames), snapshots))
    everyone = {name: each for name, each in everyone.items() if each.frames <= run.frames}
    found = {
        name: summary_of([each.judge(sample) for sample in tqdm(held_out, f"{name} on {run.name}")])
        for name, each in everyone.items()
    }
    first = next(iter(found.values()))
    columns = {heading(title, key): key for title, key in COLUMNS.items() if key in first}
    rows = [
        [name, f"{each.weights:,}", f"{each.cost:,.0f}", f"{each.minutes:.0f}", *cells(found[name], columns)]
        for name, each in everyone.items()
    ]
    predicted = [[name, *cells(each, CALIBRATION)] for name, each in found.items() if "error_rank_correlation" in each]
    frames = f" of {run.frames} frames" if run.frames > 1 else ""
    errors = {name: values["mae_over_trilinear"] for name, values in found.items()}
    parts = [
        f"### {size(run)}, seed {run.seed}, {len(held_out)} snapshots{frames}",
        f"Coarse cells: {spell_resolution(run.resolution(FACTOR))}. {'' if run.compact else EMPTY}".strip(),
        f"Divergence of the true field: {shown(first['divergence_reference'])}.",
        markdown(["model", "weights", "cost", "training", *columns], rows),
        *over_seeds({name: each["mean"] for name, each in errors.items()}),
        *([markdown(["predicted errors", *CALIBRATION], predicted)] if predicted else []),
    ]
    return "\n\n".join(parts) + "\n", [Bar(name, each["mean"], each.get("std", 0.0)) for name, each in errors.items()]


def cells(found: dict[str, dict[str, float]], columns: dict[str, str]) -> list[str]:
    """The cells of a row under these titles."""
    return [shown(found[key]) if key in found else "-" for key in columns.values()]


def heading(title: str, key: str) -> str:
    """The title of a column, with an arrow that shows which values are better; unknown metrics are ratios of errors."""
    better = METRICS[key].better if key in METRICS else "lower"
    return title + {"lower": " ↓", "higher": " ↑"}.get(better, "")


def over_seeds(errors: dict[str, float]) -> list[str]:
    """A sentence on models that were trained with several seeds, if any, from MAE relative to trilinear by row."""
    seeds: dict[str, list[float]] = {}
    for row, error in errors.items():
        name, _, label = row.partition(", ")
        if not label or label.startswith("seed "):
            seeds.setdefault(name, []).append(error)
    said = [
        f"{name} {np.mean(each):.3f} ± {np.std(each, ddof=1):.3f} ({len(each)})"
        for name, each in seeds.items()
        if len(each) > 1
    ]
    if not said:
        return []
    return [f"MAE / trilinear's over training seeds, mean and standard deviation: {'; '.join(said)}."]


def size(run: StoredRun) -> str:
    """Cells of a run, such as 96³, or 48 x 96 x 48 along (z, y, x)."""
    return f"{run.cells[0]}³" if len(set(run.cells)) == 1 else " x ".join(map(str, run.cells))


def shown(found: dict[str, float]) -> str:
    """Mean and standard deviation, if any, to three digits of the mean; a mean below 1e-5 is round-off."""
    mean = found["mean"]
    if abs(mean) < 1e-5:  # noqa: PLR2004
        return f"{mean:.0e}" if mean else "0"
    digits = max(0, 2 - int(np.floor(np.log10(abs(mean)))))
    return mean_and_std(found, f".{digits}f")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--flows",
        nargs="+",
        choices=HELD_OUT,
        default=list(HELD_OUT),
        help="only these; the table has no others (default: all)",
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder for runs (default: %(default)s)")
    parser.add_argument("--external", type=Path, help="folder of NetCDF files simulated by others (default: none)")
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument(
        "--snapshots", type=int, default=8, help="largest number from each held-out run (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Simulate what is missing, measure everyone, write the table and its figures."""
    if args.external and not args.external.is_dir():
        message = f"--external: {args.external}; expected a folder"
        raise ValueError(message)
    # First, as files of others may be refused.
    others = [external.chapter(args.external, args.weights)] if args.external else []
    parts = ["# All models on held-out turbulence\n", EXPLANATION]
    bars: dict[str, list[Bar]] = {}
    for flow in args.flows:
        text, more = chapter(flow, args.weights, args.data, args.snapshots)
        parts.append(text)
        bars |= more
    text = "\n".join(parts + others)
    with replacing(args.weights / "TABLE.md") as path:
        path.write_text(text)
    # The page of the service marks it beside every model, also of flows that are left out this time.
    linear = Catalogue(args.weights).linear() | {
        title.partition(",")[0]: round(bar.mean, 3)
        for title, each in bars.items()
        for bar in each
        if bar.name == LINEAR
    }
    write_json(args.weights / BASELINE, linear)
    draw_errors(args.weights / "TABLE.png", bars)
    draw_symmetry(args.weights / "SYMMETRY.png", Catalogue(args.weights))
    print(text)
    return 0


def chapter(flow: str, weights: Path, data: Path, snapshots: int) -> tuple[str, dict[str, list[Bar]]]:
    """The tables of a flow, and the bars of their figures by title."""
    everyone = entrants(weights, flow, fitted(flow, data))
    parts = [f"## {flow.title()} flow\n\n{THEIRS.get(flow, '')}"]
    bars: dict[str, list[Bar]] = {}
    for recipe, there in HELD_OUT[flow]:
        count = min(there, snapshots)
        held_out = simulated(recipe, count, data)
        text, bars[f"{flow}, {size(held_out)}"] = section(held_out, everyone, count)
        parts.append(text)
    return "\n".join(parts), bars


def fitted(flow: str, data: Path) -> LinearEstimator:
    """The linear estimator of a flow."""
    runs = [(simulated(recipe, count, data), count) for recipe, count in FITTED[flow]]
    fields = (torch.from_numpy(np.array(run[index])) for run, count in runs for index in range(count))
    return LinearEstimator(fields, runs[0][0].boundary)
