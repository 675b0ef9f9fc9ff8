"""``python -m training adapt``: adapt a stored model to your own data.

Training begins from the weights of a stored model, the parent. A ``relaxed`` model begins with relaxation weights of
one, so that it is the same function; these weights learn at a higher rate than the others. ``--wider`` copies each
field and ``--deeper`` adds residual blocks; the network still begins as the same function. Some of the data are held
out: the last snapshot of each run, or the end of the longest axis of a single snapshot. The error there is measured
``--checks`` times, and the best weights are kept, as a network can learn a single snapshot by heart. The model is
stored under a new name, and only if its error there is below its parent's. Its card has the parent, the gain and the
symmetries it breaks.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from models.catalogue import DEFAULT, Catalogue, describe
from models.networks import Network
from models.superresolution import SuperResolution
from models.walls import is_wall
from training.derived import Slab, parted
from training.evaluate import learned_from, read_symmetry, rounded, snapshot
from training.precision import add_precision, chosen_precision
from training.recordings import add_reading, open_datasets, reading
from training.samples import PATCH
from training.train import MIRRORED, require_new
from training.trainer import Recipe, Trainer, common_boundary, provenance
from training.widen import deepen, widen

if TYPE_CHECKING:
    import argparse

    from models.catalogue import Card
    from models.networks import Family
    from training.dataset import Dataset


def descend(parent: SuperResolution, family: Family, *, mirrored: bool | None = None) -> SuperResolution:
    """A network for further training that computes the parent's function; relaxation weights, if any, are one.

    Args:
        parent: a model with weights.
        family: that of the parent, or ``relaxed`` if that is ``equivariant``.
        mirrored: of its architecture; None for that of the parent. Only then it computes the parent's function.

    Raises:
        ValueError: if the parent has no weights, or the family cannot begin from that of the parent.
    """
    if parent.network is None:
        message = "trilinear interpolation has no weights to begin from; give another --from"
        raise ValueError(message)
    ancestry = parent.network.architecture
    if family != ancestry.family and (family, ancestry.family) != ("relaxed", "equivariant"):
        message = f"a model that is {family} cannot begin from one that is {ancestry.family}; give another --family"
        raise ValueError(message)
    mirrored = ancestry.mirrored if mirrored is None else mirrored
    model = SuperResolution(Network(dataclasses.replace(ancestry, family=family, mirrored=mirrored)))
    weights = {key: value for key, value in parent.state_dict().items() if not key.startswith("error_head.")}
    # The parent has no relaxation weights; new layers have ones.
    model.load_state_dict(weights, strict=False)
    return model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--from", dest="parent", default=DEFAULT, help="a model in the catalogue")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="as for train")
    add_reading(parser)
    parser.add_argument(
        "--name",
        required=True,
        help="name of the flow: the model is called FAMILY-NAME-x4, or FAMILY-NAME-wide-x4 if it is or begins wide",
    )
    parser.add_argument(
        "--family",
        choices=["conv", "equivariant", "relaxed"],
        help="default: relaxed if the parent is equivariant, else that of the parent",
    )
    parser.add_argument(
        "--wider", type=int, choices=range(1, 5), default=1, help="how many times as many fields as the parent"
    )
    parser.add_argument(
        "--deeper", type=int, choices=range(9), default=0, help="how many residual blocks more than the parent"
    )
    parser.add_argument("--steps", type=int, default=300, help="number of steps in all (default: %(default)s)")
    parser.add_argument(
        "--relaxation-steps", type=int, default=0, help="first steps, in which only relaxation weights learn"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=8e-4,
        help="highest learning rate of all weights (default: %(default)s); with --wider, give 3e-4",
    )
    parser.add_argument(
        "--relaxation-rate", type=float, default=1e-2, help="highest learning rate of the relaxation weights"
    )
    parser.add_argument(
        "--checks",
        type=int,
        default=12,
        help="measure the error on held-out data that many times and keep the best weights (default: %(default)s); "
        "0 keeps the last ones",
    )
    parser.add_argument("--augment", action="store_true", help="rotate and reflect samples at random")
    parser.add_argument("--mirrored", action="store_true", help=MIRRORED)
    parser.add_argument("--seed", type=int, default=0)
    add_precision(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--weights", type=Path, default=Path("weights"), help="folder in which to store the model")
    parser.add_argument("--overwrite", action="store_true", help="replace a model of that name")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def run(args: argparse.Namespace) -> int:
    """Adapt, compare with the parent, and store if it is better."""
    catalogue = Catalogue(args.weights)
    ancestor = catalogue.card(args.parent)
    parent = catalogue.trained(args.parent).to(args.device)
    torch.manual_seed(args.seed)
    if args.deeper and parent.network is not None:
        parent = SuperResolution(deepen(parent.network, args.deeper))
    family = args.family or ("relaxed" if ancestor.family == "equivariant" else ancestor.family)
    model = descend(parent, family, mirrored=args.mirrored or None)
    if args.wider > 1:
        model = SuperResolution(widen(cast("Network", model.network), args.wider))
    card = describe(model, flow=args.name)
    if args.wider > 1 or "-wide-" in args.parent:
        if args.name.endswith("-wide"):
            message = f"--name: {args.name}; expected it without -wide, which is added to the name of a wide network"
            raise ValueError(message)
        card = dataclasses.replace(card, name=card.name.replace(f"-{args.name}-", f"-{args.name}-wide-"))
    require_new(catalogue, card.name, overwrite=args.overwrite)
    runs = open_datasets(args.data, **{**reading(args), "flow": args.flow or args.name})
    learned, kept = parted(runs, model.frames, model.factor)
    precision = chosen_precision(args.precision, args.device)
    recipe = Recipe(
        args.steps,
        rate=args.rate,
        seed=args.seed,
        augment=args.augment,
        precision=precision,
        relaxation_rate=args.relaxation_rate,
        relaxation_steps=args.relaxation_steps if family == "relaxed" else 0,
        checks=args.checks,
        parent=args.parent,
        parent_sha256=ancestor.sha256,
    )
    architecture = cast("Network", model.network).architecture
    trainer = Trainer(architecture, recipe, learned, args.out, args.device, start=model, kept=kept)
    trainer.source.require_validation()
    adapted = trainer.run()
    before, after = map(trainer.held_out_error, (parent, adapted))
    where = f" {trainer.best.step} steps" if trainer.best else ""
    print(f"MAE over trilinear's on held-out data: {before:.4f} before, {after:.4f} after{where}")
    if not after < before:  # also where it is not a number
        print(f"{args.parent} is as good: nothing was stored")
        return 1
    trained = {
        **provenance(trainer, runs),
        "parent_data": sorted(learned_from(ancestor)),
        "gain": gain(before, after),
    }
    if trainer.best:
        trained["best_step"] = trainer.best.step
    if card.name == args.parent:
        trained |= continued(trained, ancestor.trained)
    card = catalogue.save(adapted, dataclasses.replace(card, boundary=common_boundary(runs), trained=trained))
    card = tell_symmetry(catalogue, card, adapted, (kept or runs)[0])
    print(f"{args.weights / card.name}: {card.parameters} parameters")
    return 0


def continued(trained: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """For the card of a model that replaces its own parent: steps and minutes of both, and the parent's own parent."""
    return {
        "steps": before.get("steps", 0) + trained["steps"],
        "minutes": round(before.get("minutes", 0) + trained["minutes"], 1),
        "parent": before.get("parent"),
        "parent_sha256": before.get("parent_sha256"),
    }


def gain(before: float, after: float) -> dict[str, Any]:
    """For a card: errors relative to trilinear interpolation, on the held-out parts."""
    return {"parent": rounded(before), "adapted": rounded(after)}


def tell_symmetry(catalogue: Catalogue, card: Card, model: SuperResolution, run: Dataset) -> Card:
    """Write onto a card which symmetries the model breaks on the last snapshot of a run, or on a patch of it."""
    size = card.factor * PATCH
    for axis in range(3):
        if run.cells[axis] > size and not is_wall(run.boundary[axis]):
            run = Slab(run, axis, slice(0, size))
    sample = snapshot(run, run.count(card.frames) - 1, card.frames, card.factor)
    card = dataclasses.replace(card, symmetry=read_symmetry(catalogue, card.name, model.frozen(), sample))
    catalogue.write(card)
    return card
