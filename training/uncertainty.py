"""``python -m training uncertainty``: train models in ``weights/`` to predict their errors.

The network is not changed. A second head on it learns the expected absolute error, on flows like those that the
network was trained on; see [`models.uncertainty`][models.uncertainty]. As in `adapt`, the last snapshot of each run, or
a part of a single one, is held out. The last layers of the head are then fitted anew to cells of many samples at once,
since single samples, one after the other, left them off by a factor of two on some flows. Run `evaluate` afterwards: it
writes onto the cards how well predicted errors agree with those found on held-out runs.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from tqdm import trange

from models.activation import SMALLEST
from models.catalogue import Catalogue
from models.convolution import crop
from models.metrics.traits import ranges
from models.operators import coarsen, refine, variation
from models.uncertainty import LEVELS, ErrorHead, error_quantiles, laplace_loss
from training.derived import parted
from training.flows.synthetic import KINDS
from training.optimizing import clip_gradients
from training.precision import add_precision, chosen_precision
from training.recordings import add_reading, open_datasets, reading
from training.samples import Source

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from models.catalogue import Card
    from models.networks import Network
    from models.superresolution import SuperResolution
    from training.dataset import Dataset
    from training.samples import Sample

CELLS = 20_000
"""Fine cells of a sample that the last layers are fitted to."""
BATCH = 100_000
"""Cells of a round."""
LOOKED_AT = 8
"""Snapshots of each run from which the traits on the card are taken, at most."""
LAYERS = 8
"""Coarse cells along z of these that are read at once."""


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
    for step in trange(steps, unit="step", dynamic_ncols=True):
        optimizer.zero_grad(set_to_none=True)
        sample = source.draw()
        with torch.autocast(torch.device(source.device).type, torch.bfloat16, enabled=precision == "bfloat16"):
            predicted, found = predicted_and_found(model, sample)
        loss = laplace_loss(predicted, found, local_variation(model, sample))
        loss.backward()
        clip_gradients(head, math.inf, loss, step)
        optimizer.step()
        schedule.step()


def local_variation(model: SuperResolution, sample: Sample) -> Tensor:
    """Of each fine cell, (batch, 1, z, y, x): the size of a prediction, and so of its part in a mean over a volume.

    Zero where interpolation is exact but for rounding: such errors tell nothing.
    """
    middle = sample.coarse[:, model.frames // 2]
    varies = variation(crop(middle, model.halo - 1, sample.circular), sample.circular)
    return refine(varies, model.factor) * (sample.trilinear_error(model.halo, model.factor) > 0)


def fit(model: SuperResolution, source: Source, *, samples: int, rounds: int, rate: float) -> None:
    """Fit the last layers of an error head to cells of many samples.

    To the likelihood of each cell is added the squared logarithm of predicted over found mean error of each sample, so
    that no kind of flow is expected too good or too bad as a whole.

    Args:
        model: its head has learned already what the last layers see.
        source: where samples come from.
        samples: how many.
        rounds: steps of the optimiser, each on ``BATCH`` of the cells.
        rate: highest learning rate.
    """
    head = cast("ErrorHead", model.error_head)
    given, errors, weights, origin = _cells(model, source, samples)
    mean, deviation = given.mean(dim=1, keepdim=True), given.std(dim=1, keepdim=True).clamp_min(1e-6)
    given = (given - mean) / deviation
    for layer in (head.hidden, head.answer):
        layer.reset_parameters()
    last = [*head.hidden.parameters(), *head.answer.parameters()]
    optimizer = torch.optim.Adam(last, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rounds)
    for step in trange(rounds, unit="round", dynamic_ncols=True):
        chosen = torch.randint(len(errors), (min(BATCH, len(errors)),)).to(errors.device)
        optimizer.zero_grad(set_to_none=True)
        predicted = head.relative(given[:, chosen][None, :, None, None])[0, 0, 0, 0]
        cells = predicted, errors[chosen], weights[chosen]
        loss = laplace_loss(*cells) + mean_ratios(*cells, origin[chosen]).log().square().mean()
        loss.backward()
        clip_gradients(head, math.inf, loss, step)
        optimizer.step()
        schedule.step()
    with torch.no_grad():  # from standardised inputs to those as they are
        kernel = head.hidden.weight[:, :, 0, 0, 0] / deviation[:, 0]
        cast("Tensor", head.hidden.bias).sub_(kernel @ mean[:, 0])
        head.hidden.weight.copy_(kernel[..., None, None, None])
        head.scale.fill_(1.0)


def mean_ratios(predicted: Tensor, errors: Tensor, weights: Tensor, origin: Tensor) -> Tensor:
    """Mean predicted over mean found error of each sample that has errors."""
    told, found = (
        torch.zeros(int(origin.max()) + 1, device=errors.device).index_add(0, origin, weights * each)
        for each in (predicted, errors)
    )
    return told[found > 0] / found[found > 0]


@torch.no_grad()
def _cells(model: SuperResolution, source: Source, samples: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of cells of many samples: inputs of the last layers (input, cell), error over variation, weight, sample."""
    frozen, seen, parts = model.frozen(), [], []
    head = cast("ErrorHead", frozen.error_head)
    head.hidden.register_forward_hook(lambda _layer, inputs, _output: seen.append(inputs[0]))
    for number in trange(samples, unit="sample", dynamic_ncols=True):
        sample = source.draw()
        _, found = predicted_and_found(frozen, sample)
        varies = local_variation(model, sample).flatten()
        chosen = torch.randperm(len(varies))[:CELLS].to(varies.device)
        given = seen.pop()[0].flatten(1)[:, chosen]
        varies, mean = varies[chosen], varies.mean()
        relative, weight = found.flatten()[chosen] / varies.clamp_min(SMALLEST), varies / mean.clamp_min(SMALLEST)
        parts.append((given, relative, weight, torch.full_like(chosen, number)))
    given, errors, weights, origin = (torch.cat(each, dim=-1) for each in zip(*parts, strict=True))
    return given, errors, weights, origin


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


def source_of(card: Card, runs: Sequence[Dataset], device: str, seed: int) -> Source:
    """Samples for the head of a model.

    Raises:
        ValueError: if the model has no network, or the data are too few.
    """
    if card.architecture is None:
        message = f"{card.name} has no network that could learn to predict its error"
        raise ValueError(message)
    seen, kept = parted(runs, card.frames, card.factor)
    source = Source(
        seen,
        halo=card.halo,
        factor=card.factor,
        frames=card.frames,
        augment=bool(card.trained.get("augment")),
        device=device,
        seed=seed,
        kept=kept,
    )
    source.require_validation()
    return source


def coarse_fields(runs: Sequence[Dataset], factor: int) -> Iterator[NDArray[np.float32]]:
    """Coarse velocities (3, z, y, x), evenly chosen, at most ``LOOKED_AT`` of each run."""
    for run in runs:
        z, y, x = (np.arange(n) for n in run.cells)
        count = run.count(1)
        for index in range(0, count, -(-count // LOOKED_AT)):
            fine = (run.window(index, (part, y, x), 1)[0] for part in np.split(z, z[:: factor * LAYERS][1:]))
            yield np.concatenate([coarsen(torch.from_numpy(part), factor).numpy() for part in fine], axis=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--models", nargs="+", required=True, help="names of stored models")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="as for train")
    add_reading(parser)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--rate", type=float, default=2e-2, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    add_precision(parser)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def run(args: argparse.Namespace) -> int:
    """Train the heads, and store the models with them."""
    catalogue = Catalogue(args.weights)
    runs = open_datasets(args.data, **reading(args))
    precision = chosen_precision(args.precision, args.device)
    natural = [each for each in runs if each.flow not in KINDS]
    # Models and data that do not fit are refused before the first head is trained.
    cards = [*map(catalogue.card, args.models)]
    sources = [source_of(card, runs, args.device, args.seed) for card in cards]
    traits = {factor: ranges(coarse_fields(natural, factor)) for factor in {card.factor for card in cards}}
    for card, source in zip(cards, sources, strict=True):
        model = catalogue.trained(card).to(args.device)
        network = cast("Network", model.network)
        torch.manual_seed(args.seed)
        model.error_head = ErrorHead(network.architecture, network.halo).to(args.device)
        learn(model, source, steps=args.steps, rate=args.rate, precision=precision)
        fit(model, source, samples=-(-args.steps // 4), rounds=2 * args.steps, rate=args.rate)
        calibrate(model, source)
        found = quantiles(model, source)
        about = {
            "data": [each.name for each in runs],
            "steps": args.steps,
            "rate": args.rate,
            "seed": args.seed,
            "quantiles": found,
        }
        # What was measured of the head before, `evaluate` measures anew.
        sample, *measured = (
            {key: value for key, value in each.items() if not key.startswith("error_")}
            for each in (card.sample, *card.measured)
        )
        card = dataclasses.replace(  # noqa: PLW2901
            card, uncertainty=about, learned=traits[card.factor], sample=sample, measured=measured
        )
        catalogue.save(model, card)
        bounds = ", ".join(f"{float(level):.0%} below {bound:.2f}" for level, bound in found.items())
        print(f"{card.name}: found over predicted errors: {bounds}")
    return 0
