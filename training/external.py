"""Measures models on turbulence simulated by others, for the table: one row for each file.

Nothing is trained or tuned on these files, except the linear estimator: it is fitted to the file on which it is
measured, so its error shows what a linear map from 5^3 coarse cells can reach there.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from tqdm import tqdm

from eddylift import open_volume
from models.blocks import parse_boundary
from models.catalogue import GENERAL, Catalogue
from models.operators import FACTOR
from training.baselines import LinearEstimator
from training.evaluate import judge, measure, middle, samples, summary_of
from training.markdown import markdown
from training.recordings import open_dataset

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.held_out import HeldOut
    from models.metrics.compare import Value
    from training.dataset import Dataset
    from training.recordings import Recording

RATIO = "mae_over_trilinear"
EXPLANATION = """\
The files of `--external FOLDER`; without it, this section is left out. MAE over trilinear's, mean over the time levels
of each file. *Linear* is the least-squares map from 5^3 coarse cells, fitted to the file itself; - where it has too few
cells for that. Walls that move are given to the models as such."""
SOURCES = """\
The attribute `source` of each file. *The same snapshot* is that of the other file of this name."""
PREDICTIONS = """\
Predicted over found error, and their rank correlation over cells, for models that predict their errors."""


def open_external(path: Path) -> Dataset:
    """Open a file; its attribute ``wall_velocity`` says, in words, how walls along y move along x."""
    plain = cast("Recording", open_dataset(path, "external"))
    speeds = re.findall(r"u = ([-+]?[\d.]+)", open_volume(path).attrs.get("wall_velocity", ""))
    if not speeds:
        return plain
    low, high = map(float, speeds)
    z, _, x = plain.boundary
    return dataclasses.replace(plain, boundary=parse_boundary(f"{z},wall:u={low:g}..{high:g},{x}"))


def linear_error(fields: Sequence[HeldOut]) -> float | None:
    """Error of the linear estimator fitted to the same fields; None if they have too few cells to fit it."""
    boundary = fields[0].boundary
    try:
        fitted = LinearEstimator((torch.from_numpy(np.array(each.fine)) for each in fields), boundary)
    except ValueError:
        return None
    answers = [fitted(torch.from_numpy(middle(each)), boundary).numpy() for each in fields]
    return _mean([judge(answer, each)[RATIO] for answer, each in zip(answers, fields, strict=True)])


def chapter(folder: Path, weights: Path) -> str:
    """The table of all NetCDF files in a folder, as Markdown."""
    catalogue = Catalogue(weights)
    cards = [catalogue.card(name) for name in catalogue.names()]
    cards = [card for card in cards if card.factor == FACTOR and card.frames == 1 and card.flow]
    cards.sort(key=lambda card: (card.flow != GENERAL, str(card.flow), card.family))
    models = {card.name: catalogue.load(card.name) for card in cards}
    errors, predictions, sources = [], [], []
    for path in tqdm(sorted(folder.glob("*.nc")), "external"):
        sources.append(f"- {path.stem}: {open_volume(path).attrs.get('source', 'unknown')}")
        fields = list(samples(open_external(path)))
        found = {
            card.name: summary_of(
                [measure(models[card.name], each, card.uncertainty.get("quantiles")) for each in fields]
            )
            for card in cards
        }
        plain = next(iter(found.values()))["trilinear_mae_over_rms"]["mean"]
        ratios = [f"{each[RATIO]['mean']:.3f}" for each in found.values()]
        errors.append([path.stem, f"{plain:.4f}", _shown(linear_error(fields)), *ratios])
        predictions.append([path.stem, *map(_predicted, found.values())])
    titles = [card.name.removesuffix(f"-x{FACTOR}") for card in cards]
    parts = [
        "## Turbulence that others simulated",
        EXPLANATION,
        markdown(["file", "trilinear's MAE / rms", "linear", *titles], errors),
        PREDICTIONS,
        markdown(["file", *titles], predictions),
        SOURCES,
        "\n".join(sources),
    ]
    return "\n\n".join(parts) + "\n"


def _shown(error: float | None) -> str:
    return "-" if error is None else f"{error:.3f}"


def _predicted(found: dict[str, Any]) -> str:
    names = "error_predicted_over_found", "error_rank_correlation"
    return " / ".join(f"{found[name]['mean']:.2f}" for name in names if name in found) or "-"


def _mean(values: Sequence[Value]) -> float:
    return float(np.mean(np.array(values, np.float64)))
