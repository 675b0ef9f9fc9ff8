"""``python -m training train``: train a network on stored runs, and store it in ``weights/``.

A checkpoint is replaced every few minutes, and the same command continues from it. With more ``--steps`` a complete
training is extended; to replace its stored model, also give ``--overwrite``, and train the prediction of its error
anew. In the same folder, ``losses.csv`` has the loss of each step.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from models.catalogue import Catalogue, describe
from models.group import group
from models.networks import FACTORS, FAMILIES, Architecture
from models.operators import FACTOR
from training.dataset import require_alike
from training.precision import add_precision, chosen_precision
from training.recordings import add_reading, open_datasets, reading
from training.trainer import Recipe, Trainer, common_boundary, over_trilinear, provenance

if TYPE_CHECKING:
    import argparse

    from models.forecasting.catalogue import ForecastCatalogue

MIRRORED = "answer with the mean over a field and its mirror image, so that reflections are kept, at twice the cost"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--family", choices=[name for name in FAMILIES if name != "trilinear"], default="relaxed")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="folders of runs, or .npy, Zarr, NetCDF and HDF5 files"
    )
    add_reading(parser)
    parser.add_argument(
        "--frames",
        type=int,
        choices=[1, 3],
        default=1,
        help="number of time levels in the input; the answer is at the middle one",
    )
    parser.add_argument("--factor", type=int, choices=FACTORS, default=FACTOR, help="fine cells per coarse cell")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="highest learning rate")
    parser.add_argument("--fields", type=int, default=4, help="regular fields; conv gets as many channels")
    parser.add_argument("--blocks", type=int, default=4, help="residual blocks")
    parser.add_argument("--banks", type=int, default=1, help="weight banks of a relaxed layer")
    parser.add_argument("--head", type=int, nargs="*", default=[], help="fields between two upsamplings by two")
    parser.add_argument("--group", choices=["O", "Oh"], default="O")
    parser.add_argument("--augment", action="store_true", help="rotate and reflect samples at random")
    parser.add_argument("--mirrored", action="store_true", help=MIRRORED)
    parser.add_argument("--seed", type=int, default=0)
    add_precision(parser)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the losses")
    parser.add_argument("--weights", type=Path, help="folder in which to store the model, if any")
    parser.add_argument(
        "--name", help="name of the flow: the model is called FAMILY-NAME-x4 (default: that of the data)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a model of that name")
    parser.add_argument("--half", action="store_true", help="store the weights as float16; they are used as float32")


def architecture_of(args: argparse.Namespace) -> Architecture:
    """The network for the options. A conv network gets as many channels as one with a group, so it costs the same."""
    conv = args.family == "conv"
    channels = group(args.group).order if conv else 1
    return Architecture(
        args.family,
        "C1" if conv else args.group,
        fields=channels * args.fields,
        blocks=args.blocks,
        banks=args.banks if args.family == "relaxed" else 1,
        head=tuple(channels * n for n in args.head),
        frames=args.frames,
        factor=args.factor,
        mirrored=args.mirrored,
    )


def require_new(catalogue: Catalogue | ForecastCatalogue, name: str, *, overwrite: bool) -> None:
    """Refuse to replace a stored model, unless ``overwrite``.

    Raises:
        ValueError: if there is a model of that name already.
    """
    if name in catalogue.names() and not overwrite:
        message = f"{catalogue.folder} has a model {name} already; give another name, or --overwrite"
        raise ValueError(message)


def run(args: argparse.Namespace) -> int:
    """Train, report, and store."""
    runs = open_datasets(args.data, **reading(args))
    if args.flow is None:
        require_alike(runs)
    precision = chosen_precision(args.precision, args.device)
    recipe = Recipe(args.steps, rate=args.rate, seed=args.seed, augment=args.augment, precision=precision)
    trainer = Trainer(architecture_of(args), recipe, runs, args.out, args.device)
    card = describe(
        trainer.model,
        flow=args.name or args.flow or runs[0].flow,
        boundary=common_boundary(runs),
    )
    if args.weights:
        require_new(Catalogue(args.weights), card.name, overwrite=args.overwrite)
    # Read now: missing values are refused before training, not after it.
    held_out = trainer.source.validation()
    model = trainer.run()
    print(f"{args.out}: {trainer.seconds / 60:.1f} min, MAE over trilinear's on snapshots that were kept back:")
    for flow, samples in held_out.items():
        print(f"{flow} {over_trilinear(model, samples):.4f}")
    if args.weights:
        card = replace(card, trained=provenance(trainer, runs))
        card = Catalogue(args.weights).save(model.half() if args.half else model, card)
        print(f"{args.weights / card.name}: {card.parameters} parameters")
    return 0
