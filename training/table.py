"""``python -m training table``: everything in ``weights/`` beside its opponents on held-out runs, as ``TABLE.md``.

Runs that are not there yet are simulated first, by their seeds; the same command goes on where it was stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from models.catalogue import Catalogue
from training.dataset import StoredRun
from training.evaluate import judge, measure, middle, require_unseen, samples, spread
from training.isotropic_simulation import IsotropicSimulation
from training.opponents import LinearEstimator, consistent_trilinear, spectral, tricubic
from training.runs import Recipe, Run
from training.simulate import TIMES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from models.catalogue import Card, HeldOut
    from models.metrics import Value

    Judge = Callable[[HeldOut], dict[str, Value]]

HELD_OUT = ((96, 101), (128, 102))
"""Points a side and seed of the runs that no model has seen."""
FITTED = ((64, 4, 12), (96, 1, 3))
"""Points a side, seed and snapshots that the linear estimator is fitted to: the start of the training runs."""
COLUMNS = {
    "MAE x 10": ("mae", 10),
    "MAE / rms": ("mae_over_rms", 1),
    "MAE / trilinear's": ("mae_over_trilinear", 1),
    "relative L2": ("relative_l2", 1),
    "skill": ("skill", 1),
    "spectrum, low k": ("spectrum_error_low", 1),
    "spectrum, high k": ("spectrum_error_high", 1),
    "divergence": ("divergence", 1),
    "consistency": ("consistency", 1),
}
EXPLANATION = """\
Written by `python -m training table`; do not edit. Forced isotropic turbulence, one frame, made coarse by the mean over
4^3 cells: mean and standard deviation over snapshots of a run that nothing was fitted to. Metrics are defined in
[models/metrics.py](../models/metrics.py): *spectrum* is the rms of log10(E / E_true) below and above the coarse Nyquist
wavenumber, *divergence* that of the true field is given with each run, *consistency* is ||mean(answer) - coarse|| over
||coarse - its mean||. The linear estimator is the least-squares map from 5^3 coarse cells to the fine cells of the
middle one ([training/opponents.py](../training/opponents.py)).

For comparison, Wang, Walters, Smidt & Yu (arXiv 2310.02299) report MAE x 10 on isotropic turbulence of their own, from
3 frames of 32^3 to one of 128^3: trilinear 5.248, convolution 1.215, equivariant 1.119, relaxed 1.000. Other data and
other networks: the ratios to trilinear (0.23, 0.21, 0.19) can be set beside those here, the numbers cannot.
"""


def simulated(n: int, seed: int, snapshots: int, data: Path) -> StoredRun:
    """A run with at least so many snapshots, made or made longer if need be."""
    recipe = Recipe("isotropic", n, seed, *TIMES["isotropic"])
    folder = data / recipe.name
    print(f"{folder}: {snapshots} snapshots", flush=True)
    Run(recipe, folder, IsotropicSimulation, live=sys.stderr.isatty()).advance(snapshots)
    return StoredRun(folder)


def opponent(answer: Callable[[Tensor], Tensor]) -> Judge:
    """How an opponent is judged; it answers in the precision of the networks."""
    return lambda sample: judge(answer(torch.from_numpy(middle(sample))).numpy(), sample)


def entrants(catalogue: Catalogue, linear: LinearEstimator) -> dict[str, tuple[int, Judge]]:
    """Everyone by name, with the count of weights."""

    def trained(card: Card) -> Judge:
        for n, seed in HELD_OUT:
            require_unseen(card, f"isotropic-{n}-seed{seed}")
        model = catalogue.load(card.name)
        return lambda sample: measure(model, sample)

    classical: dict[str, tuple[int, Judge]] = {
        "trilinear + consistency": (0, opponent(consistent_trilinear)),
        "tricubic": (0, opponent(tricubic)),
        "spectral": (0, opponent(spectral)),
        "best linear estimator": (linear.kernel.numel(), opponent(linear)),
    }
    cards = [card for card in map(catalogue.card, catalogue.names()) if card.frames == 1]
    mine = {card.name: (card.parameters, trained(card)) for card in cards if card.flow in (None, "isotropic")}
    plain = {name: mine.pop(name) for name in list(mine) if name.startswith("trilinear")}
    return {**plain, **classical, **mine}


def section(run: StoredRun, everyone: dict[str, tuple[int, Judge]], snapshots: int) -> str:
    """The table of one run."""
    held_out = list(samples(run))[:snapshots]
    lines = [
        f"| | weights | {' | '.join(COLUMNS)} |",
        f"| --- {'| ---: ' * (len(COLUMNS) + 1)}|",
    ]
    reference: Any = None
    for name, (weights, judged) in everyone.items():
        found = spread([judged(sample) for sample in tqdm(held_out, f"{name} on {run.name}")])
        reference = found["divergence_reference"]
        cells = [shown(found[key], scale) for key, scale in COLUMNS.values()]
        lines.append(f"| {name} | {weights:,} | {' | '.join(cells)} |")
    head = (
        f"## {run.n}^3, seed {run.seed}, {len(held_out)} snapshots\n\nDivergence of the true field: {shown(reference)}."
    )
    return head + "\n\n" + "\n".join(lines) + "\n"


def shown(found: dict[str, float], scale: float = 1) -> str:
    """Mean and spread to three digits of the mean; what is below 1e-5 is round-off."""
    mean, deviation = found["mean"] * scale, found["std"] * scale
    if abs(mean) < 1e-5:  # noqa: PLR2004
        return f"{mean:.0e}" if mean else "0"
    digits = max(0, 2 - int(np.floor(np.log10(abs(mean)))))
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, default=Path("data"), help="where runs are kept (default: %(default)s)")
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--snapshots", type=int, default=8, help="of each held-out run (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")


def run(args: argparse.Namespace) -> int:
    """Simulate what is missing, measure everyone, write the table."""
    torch.set_num_threads(args.threads)
    fitted: Sequence[StoredRun] = [simulated(*each, args.data) for each in FITTED]
    chosen = ((run, index) for run, (_, _, count) in zip(fitted, FITTED, strict=True) for index in range(count))
    linear = LinearEstimator(torch.from_numpy(np.array(run[index])) for run, index in chosen)
    everyone = entrants(Catalogue(args.weights), linear)
    sections = [
        section(simulated(n, seed, args.snapshots, args.data), everyone, args.snapshots) for n, seed in HELD_OUT
    ]
    text = "\n".join(["# Everyone on held-out turbulence\n", EXPLANATION, *sections])
    (args.weights / "TABLE.md").write_text(text)
    print(text)
    return 0
