"""``python -m training evaluate``: measure models on held-out runs, and write the errors onto their cards.

Every snapshot is made coarse by block mean and super-resolved. A card gets the mean and the standard deviation over the
snapshots of a run, and the errors on the sample that comes with the weights.
"""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from models.catalogue import GENERAL, PLAIN, Card, Catalogue
from models.held_out import HeldOut, HeldOutSamples
from models.metrics.fluctuations import mae_over_rms
from models.metrics.pointwise import magnitude, near_walls, over_interpolation
from models.metrics.report import report
from models.networks import FACTORS
from models.operators import FACTOR, coarsen
from models.superresolution import SuperResolution, upscale
from models.symmetries import equivariance_errors, relaxation
from models.uncertainty import calibration
from training.dataset import StoredRun, require_whole
from training.markdown import markdown, mean_and_std
from training.recordings import add_reading, open_datasets, reading

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from models.metrics.compare import Value
    from training.dataset import Dataset

TRILINEAR = {factor: SuperResolution(factor=factor).eval() for factor in FACTORS}
SIMULATED = re.compile(r"([a-z-]+)-\d+(?:-.*)?-seed(\d+)")
"""Names of runs of `simulate`: flow, points, options and seed."""
# Significant digits on cards.
DIGITS = 5


def measure(model: SuperResolution, sample: HeldOut, quantiles: Mapping[str, float] | None = None) -> dict[str, Value]:
    """All metrics of a model on a sample; see ``judge``. A model of one frame gets the middle one.

    Args:
        model: model to measure.
        sample: sample that it has not seen.
        quantiles: those on the card of a model that predicts its error; None leaves the prediction out.
    """
    answer = upscale(model, given(sample, model.frames), sample.boundary, error=bool(quantiles))
    metrics = judge(answer[:3], sample)
    if not quantiles:
        return metrics
    found = torch.from_numpy(answer[:3] - sample.fine).abs().mean(dim=0)
    return {**metrics, **calibration(torch.from_numpy(answer[3]), found, quantiles)}


def judge(answer: NDArray[np.float32], sample: HeldOut) -> dict[str, Value]:
    """All metrics of an answer to a sample, and the error of trilinear interpolation."""
    ours = torch.from_numpy(answer)
    plain = torch.from_numpy(upscale(TRILINEAR[sample.factor], middle(sample), sample.boundary))
    fine = torch.from_numpy(sample.fine)
    metrics = report(
        ours,
        fine,
        torch.from_numpy(middle(sample)),
        baseline=plain,
        boundary=sample.boundary,
        length=sample.length,
    )
    near = near_walls(fine, sample.boundary, sample.factor)

    def relative(where: Tensor) -> float:
        error, theirs = ((field.double() - fine)[:, where].abs().mean() for field in (ours, plain))
        return over_interpolation(error, theirs, magnitude(fine.double()))

    return {
        **metrics,
        "trilinear_mae_over_rms": mae_over_rms(plain, fine, sample.boundary),
        "mae_over_trilinear": relative(torch.ones_like(near)),
        "near_wall_mae_over_trilinear": relative(near) if near.any() else None,
    }


def given(sample: HeldOut, frames: int) -> NDArray[np.float32]:
    """The coarse frames for a model, (frame, 3, z, y, x)."""
    return middle(sample)[None] if frames == 1 else sample.coarse


def middle(sample: HeldOut) -> NDArray[np.float32]:
    """The coarse frame of the answer, (3, z, y, x)."""
    frame: NDArray[np.float32] = sample.coarse[len(sample.coarse) // 2]
    return frame


def samples(run: Dataset, frames: int = 1, factor: int = FACTOR) -> Iterator[HeldOut]:
    """The snapshots of a run, made coarse."""
    return (snapshot(run, index, frames, factor) for index in range(run.count(frames)))


def snapshot(run: Dataset, index: int, frames: int, factor: int) -> HeldOut:
    """A snapshot of a run, made coarse."""
    z, y, x = (np.arange(n) for n in run.cells)
    fine = run.window(index, (z, y, x), frames)
    coarse = coarsen(torch.from_numpy(fine), factor).numpy()
    return HeldOut(coarse, fine[frames // 2], run.boundary, run.length, run.name)


def rounded(value: Value) -> Value:
    """Rounded to the digits of a card; None for NaN and infinity, which JSON does not have."""
    if isinstance(value, list):
        return [float(f"{part:.{DIGITS}g}") for part in value]
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")


def summary_of(rows: Sequence[dict[str, Value]]) -> dict[str, Any]:
    """Mean of every metric over the samples that have it, standard deviation if several do, number if not all do."""
    summary: dict[str, Any] = {}
    for name in rows[0]:
        numbers = [value for row in rows if isinstance(value := row[name], float) and math.isfinite(value)]
        if numbers:
            summary[name] = {"mean": rounded(float(np.mean(numbers)))}
            if len(numbers) > 1:
                summary[name]["std"] = rounded(float(np.std(numbers, ddof=1)))
            if len(numbers) < len(rows):
                summary[name]["samples"] = len(numbers)
    return summary


def evaluate(catalogue: Catalogue, card: Card, runs: Sequence[Dataset], device: str) -> Card:
    """Measure a model on runs, and on the shipped sample; write and return its card, with all else on it unchanged."""
    held_out = HeldOutSamples(catalogue.folder).find(card.flow, card.frames, card.factor)
    require_unseen(card, [*(run.name for run in runs), *([held_out.run] if held_out else [])])
    model = catalogue.load(card.name, device)
    quantiles = card.uncertainty.get("quantiles")
    measured = {entry["run"]: entry for entry in card.measured}
    for run in runs:
        count = run.count(card.frames)
        snapshots = tqdm(samples(run, card.frames, card.factor), f"{card.name} on {run.name}", count)
        rows = [measure(model, each, quantiles) for each in snapshots]
        about = {**run.provenance(), "flow": run.flow, "cells": list(run.cells), "samples": count}
        if isinstance(run, StoredRun):
            about |= {name: rounded(value) for name, value in run.resolution(card.factor).items()}
        measured[run.name] = {**about, **summary_of(rows)}
    card = dataclasses.replace(card, measured=list(measured.values()))
    if held_out:
        shipped = {name: rounded(value) for name, value in measure(model, held_out, quantiles).items()}
        symmetry = read_symmetry(catalogue, card.name, model, held_out)
        card = dataclasses.replace(card, sample=shipped, symmetry=symmetry)
    catalogue.write(card)
    return card


def require_unseen(card: Card, runs: Iterable[str]) -> None:
    """Refuse to measure a model on runs that it or an ancestor was trained on, on means of them, or on the same seed.

    Raises:
        ValueError: naming both.
    """
    seen = {_trajectory(each): each for each in learned_from(card)}
    for run in runs:
        if found := seen.get(_trajectory(run)):
            message = (
                f"{card.name} was trained on {found}, and so has seen {run}: held-out runs have seeds, and held-out "
                "files names, of their own"
            )
            raise ValueError(message)


def learned_from(card: Card) -> set[str]:
    """The runs that a model, its ancestors and its prediction of errors learned from; of means, the run itself."""
    runs = [entry["run"] for entry in card.trained.get("data", [])]
    return set(map(_original, runs + card.trained.get("parent_data", []) + card.uncertainty.get("data", [])))


def _original(run: str) -> str:
    """The run itself, of its means too: ``isotropic-96-seed1`` of ``isotropic-96-seed1@2``."""
    return run.partition("@")[0]


def _trajectory(run: str) -> str:
    """Flow and seed of a run of ours, however many points and frames were stored of it; else its name."""
    simulated = SIMULATED.fullmatch(_original(run))
    return "{}-seed{}".format(*simulated.groups()) if simulated else _original(run)


def read_symmetry(catalogue: Catalogue, name: str, model: SuperResolution, sample: HeldOut) -> dict[str, Any]:
    """The symmetry of a model, for its card."""
    found = equivariance_errors(model, given(sample, model.frames), sample.boundary)
    errors = {element: rounded(error) for element, error in found.items()}
    shares = relaxation(catalogue.trained(name)).items()
    return {
        "equivariance_error": errors,
        "relaxation": {layer: {irrep: rounded(share) for irrep, share in each.items()} for layer, each in shares},
    }


def table(cards: Sequence[Card], run: str) -> str:
    """A table of the errors of models on one run, in Markdown."""
    rows = []
    for card in cards:
        entry = next((entry for entry in card.measured if entry["run"] == run), None)
        if entry is None:
            continue

        shown = {
            "mae_over_rms": ".4f",
            "mae_over_trilinear": ".3f",
            "near_wall_mae_over_trilinear": ".3f",
            "relative_l2": ".3f",
        }
        errors = (mean_and_std(entry[name], each) if name in entry else "-" for name, each in shown.items())
        consistency = f"{entry['consistency']['mean']:.1e}" if "consistency" in entry else "-"
        rows.append([card.name, f"{card.parameters:,}", *errors, consistency])
    titles = ["model", "parameters", "MAE / rms", "MAE / trilinear's", "at walls", "relative L2", "consistency"]
    return markdown(titles, rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="held-out runs or files, as for train")
    add_reading(parser)
    parser.add_argument("--frames", type=int, choices=[1, 3], default=1, help="measure models of this number of frames")
    parser.add_argument("--factor", type=int, choices=FACTORS, default=FACTOR, help="measure models of this factor")
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--models", nargs="*", help="only these (default: all, on runs of the flow in their name)")
    parser.add_argument(
        "--ship", type=Path, help="a run whose last snapshot becomes the sample that comes with the weights"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def run(args: argparse.Namespace) -> int:
    """Measure, write the cards, print the tables. What cannot be measured is refused before anything is written."""
    catalogue = Catalogue(args.weights)
    runs = open_datasets(args.data, **reading(args))
    shipped = open_datasets([args.ship] if args.ship else [], **reading(args))
    for each in runs + shipped:
        each.count(args.frames)
        require_whole(each, args.factor)
    cards = chosen(catalogue, args)
    fitting = {
        card.name: [run for run in runs if args.models or card.flow in (None, GENERAL, run.flow)] for card in cards
    }
    stored = HeldOutSamples(args.weights)
    replaced = [stored.folder_of(each.flow, args.frames, args.factor) for each in shipped]
    others = []
    for card in map(catalogue.card, catalogue.names()):
        require_unseen(card, [each.name for each in shipped])
        if card.name not in fitting and stored.folder_of(card.flow, card.frames, card.factor) in replaced:
            others.append(card)  # its errors on the sample must be of the new one, too
    for card in cards:
        held_out = stored.find(card.flow, card.frames, card.factor)
        kept = stored.folder_of(card.flow, card.frames, card.factor) not in replaced
        require_unseen(card, [run.name for run in fitting[card.name]] + ([held_out.run] if held_out and kept else []))
    for each in shipped:
        last = snapshot(each, each.count(args.frames) - 1, args.frames, args.factor)
        print(stored.write(each.flow, last))
    measured = [evaluate(catalogue, card, fitting[card.name], args.device) for card in cards]
    for card in others:
        evaluate(catalogue, card, [], args.device)
    for each in runs:
        print(f"\n{each.name}, {each.count(args.frames)} samples\n\n{table(measured, each.name)}")
    return 0


def chosen(catalogue: Catalogue, args: argparse.Namespace) -> list[Card]:
    """The cards of the models to measure.

    Raises:
        ValueError: if a model that is named has other frames or another factor, or there is none of these.
    """
    cards = [*map(catalogue.card, args.models or sorted({*PLAIN, *catalogue.names()}))]
    fitting = [card for card in cards if (card.frames, card.factor) == (args.frames, args.factor)]
    for card in cards:
        if args.models and card not in fitting:
            message = (
                f"--models: {card.name}, of {card.frames} frames and factor {card.factor}; expected {args.frames} and "
                f"{args.factor}, as --frames and --factor say"
            )
            raise ValueError(message)
    if not fitting:
        message = f"{args.weights} has no model of {args.frames} frames and factor {args.factor}"
        raise ValueError(message)
    return fitting
