"""``python -m training uncertainty``: train models in ``weights/`` to predict their errors.

The network is not changed. A second head on it learns the expected absolute error, on the data that the network was
trained on; see [`models.uncertainty`][models.uncertainty]. Run `evaluate` afterwards: it writes onto the cards how well
predicted errors agree with those found on held-out runs.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import trange

from models.catalogue import Catalogue
from models.convolution import crop
from models.metrics.traits import ranges
from models.operators import coarsen, refine
from models.superresolution import variation
from models.uncertainty import LEVELS, ErrorHead, error_quantiles, laplace_loss
from training.flows.synthetic import SYNTHETIC
from training.recordings import add_reading, open_dataset, reading
from training.samples import Source
from training.trainer import fastest_precision

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from models.superresolution import SuperResolution
    from training.dataset import Dataset
    from training.samples import Sample

LOOKED_AT = 8
"""Snapshots of each run from which the traits on the card are taken, at most."""


def predicted_and_found(model: SuperResolution, sample: Sample) -> tuple[Tensor, Tensor]:
    """The predicted and the found absolute error of each fine cell, both (batch, 1, z, y, x)."""
    answer = model.with_error(sample.coarse, sample.circular)
    found = (answer[:, :3].detach() - sample.fine).abs().mean(dim=1, keepdim=True)
    return answer[:, 3:], found


def learn(model: SuperResolution, source: Source, *, steps: int, rate: float, precision: str) -> None:
    """Train the error head of a model, and nothing else."""
    head = model.error_head
    if head is None:
        message = "the model has no error head"
        raise ValueError(message)
    model.requires_grad_(requires_grad=False)
    head.requires_grad_(requires_grad=True)
    optimizer = torch.optim.Adam(head.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 0.5 * (1 + math.cos(math.pi * n / steps)))
    for _ in trange(steps, unit="step", dynamic_ncols=True):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(source.device).type, torch.bfloat16, enabled=precision == "bfloat16"):
            sample = source.draw()
            predicted, found = predicted_and_found(model, sample)
        # A prediction is about as large as the local variation, and so is its part in the mean over a volume.
        middle = sample.coarse[:, model.frames // 2]
        weight = refine(variation(crop(middle, model.halo - 1, sample.circular), sample.circular), model.factor)
        laplace_loss(predicted, found, weight).backward()
        optimizer.step()
        schedule.step()


@torch.inference_mode()
def calibrate(model: SuperResolution, source: Source) -> None:
    """Scale the head: predicted and found errors have the same mean on held-out snapshots, in the median of flows."""
    frozen, logarithms = model.frozen(), []
    for samples in source.validation().values():
        means = [[float(each.mean()) for each in predicted_and_found(frozen, sample)] for sample in samples]
        predicted, found = (sum(each) for each in zip(*means, strict=True))
        logarithms.append(math.log(found / predicted))
    head = model.error_head
    if head is not None:
        head.scale *= math.exp(statistics.median(logarithms))


@torch.inference_mode()
def quantiles(model: SuperResolution, source: Source) -> dict[str, float]:
    """Mean of [`error_quantiles`][models.uncertainty.error_quantiles] over held-out snapshots, then over flows."""
    frozen = model.frozen()
    by_flow = [
        [error_quantiles(*(each[0, 0] for each in predicted_and_found(frozen, sample))) for sample in samples]
        for samples in source.validation().values()
    ]
    return {
        level: sum(sum(each[level] for each in flow) / len(flow) for flow in by_flow) / len(by_flow)
        for level in (f"{level:g}" for level in LEVELS)
    }


def coarse_fields(runs: Sequence[Dataset], factor: int) -> Iterator[NDArray[np.float32]]:
    """Coarse velocities (3, z, y, x), evenly chosen, at most ``LOOKED_AT`` of each run."""
    for run in runs:
        z, y, x = (np.arange(n) for n in run.cells)
        count = run.count(1)
        for index in range(0, count, -(-count // LOOKED_AT)):
            yield coarsen(torch.from_numpy(run.window(index, (z, y, x), 1)), factor)[0].numpy()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--models", nargs="+", required=True, help="names of stored models")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="what they were trained on, as for train")
    add_reading(parser)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=2e-2, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def run(args: argparse.Namespace) -> int:
    """Train the heads, and store the models with them."""
    catalogue = Catalogue(args.weights)
    runs = [open_dataset(path, **reading(args)) for path in args.data]
    precision = fastest_precision(args.device) if args.precision == "auto" else args.precision
    for name in args.models:
        card = catalogue.card(name)
        model = catalogue.trained(name).to(args.device)
        if model.network is None:
            message = f"{name} has no network that could learn to predict its error"
            raise ValueError(message)
        torch.manual_seed(args.seed)
        model.error_head = ErrorHead(model.network.architecture, model.network.halo).to(args.device)
        augment = bool(card.trained.get("augment"))
        source = Source(
            runs,
            halo=model.halo,
            factor=model.factor,
            frames=model.frames,
            augment=augment,
            device=args.device,
            seed=args.seed,
        )
        learn(model, source, steps=args.steps, rate=args.rate, precision=precision)
        calibrate(model, source)
        found = quantiles(model, source)
        learned = ranges(coarse_fields([each for each in runs if each.flow != SYNTHETIC], card.factor))
        about = {"steps": args.steps, "rate": args.rate, "seed": args.seed, "quantiles": found}
        catalogue.save(model, dataclasses.replace(card, uncertainty=about, learned=learned))
        bounds = ", ".join(f"{float(level):.0%} below {bound:.2f}" for level, bound in found.items())
        print(f"{name}: found over predicted errors: {bounds}")
    return 0
