"""``python -m training discover``: which symmetries of a square or a cube do pairs of fields (X, Y) keep?

The pairs come from one of these: the experiment ``square`` (four pixels in a plane) or ``perovskite`` (the phases of
barium titanate); a run of `simulate`, from its coarse to its finer velocity and, if it has three frames, from the
first to the last one; or your own arrays in .npy files, (pair, channel, y, x) or (pair, channel, z, y, x), float64 or
float32. Findings are written to ``<name>.json`` in ``--out``, with a figure.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from models.catalogue import Catalogue
from models.discovery.discover import discover
from models.discovery.pairs import ENOUGH_PAIRS, Pairs
from models.discovery.point_groups import symbol
from models.group import group
from models.irreps import element_names
from training.dataset import StoredRun
from training.discovery_figure import draw_findings
from training.experiments.adaptation import shares_in_adaptation
from training.experiments.perovskite import PHASES, density, read_structure
from training.experiments.squares import TARGETS, square_to
from training.experiments.turbulence import RECIPE, pairs_of
from training.results import write_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from models.discovery.discover import Finding
    from models.discovery.fit import Recipe

EXPERIMENTS = ("square", "perovskite")
GROUPS = {2: ("C4", "D4"), 3: ("O", "Oh")}


class Case(NamedTuple):
    """Pairs, the group to test, and how."""

    name: str
    pairs: Pairs
    group: str
    recipe: Recipe | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("experiment", nargs="?", choices=EXPERIMENTS, help="experiment to repeat")
    parser.add_argument("--run", type=Path, help="folder of a simulation")
    parser.add_argument(
        "--from",
        dest="parent",
        help="model whose relaxation weights, as it is adapted, read the run",
    )
    parser.add_argument("--weights", type=Path, default=Path("weights"), help="folder of that model")
    parser.add_argument("--x", type=Path, help=".npy file of X")
    parser.add_argument("--y", type=Path, help=".npy file of Y, on the grid of X or finer by a whole factor")
    parser.add_argument("--x-kind", choices=["scalar", "vector"], default="scalar", help="what the channels of X are")
    parser.add_argument("--y-kind", choices=["scalar", "vector"], default="scalar", help="what the channels of Y are")
    parser.add_argument("--out", type=Path, default=Path("runs/discover"), help="folder for findings and figures")


def run(args: argparse.Namespace) -> int:
    """Find the symmetries, print them, and write them to a file and a figure."""
    chosen = [args.experiment, args.run, args.x and args.y]
    if sum(each is not None for each in chosen) != 1:
        message = f"give an experiment ({', '.join(EXPERIMENTS)}), or --run, or --x and --y"
        raise ValueError(message)
    if args.parent:
        return read_adaptation(args)
    name = args.experiment or (args.run.name if args.run else args.y.stem)
    cases, findings = [], {}
    for case in of_arguments(args):
        finding = discover(case.pairs, group(case.group, case.pairs.dimension), case.recipe)
        show(f"{case.name} of {case.group}", finding.symbol, finding.kept)
        print(f"{'':>18}  {finding.verdict}")
        cases.append((case.name, case.pairs, finding))
        findings[f"{case.name} of {case.group}"] = finding.as_dict()
    about: dict[str, Any] = {}
    if args.run:
        both, kept = kept_in_all([finding for _, _, finding in cases])
        show("all of Oh", both, kept)
        about = {"flow": StoredRun(args.run).flow, "symbol": both, "kept": kept}
    write_json(args.out / f"{name}.json", {**about, "findings": findings})
    draw_findings(args.out / f"{name}.png", cases, RECIPE.sigmas if args.run else None)
    return 0


def show(name: str, symbol: str, kept: Sequence[str]) -> None:
    """Print a group that is kept."""
    print(f"{name:>18}: {symbol}, {len(kept)} elements: {' '.join(kept)}")


def kept_in_all(findings: Sequence[Finding]) -> tuple[str, list[str]]:
    """The symbol and the elements of what is kept in all findings on Oh: an intersection of groups, and so a group."""
    over = group("Oh")
    inside = [g for g, name in enumerate(element_names(over)) if all(name in each.kept for each in findings)]
    return symbol(over.matrices[inside]), [element_names(over)[g] for g in inside]


def read_adaptation(args: argparse.Namespace) -> int:
    """Read a run from the relaxation weights of a model, print that, and write it to a file."""
    if not args.run:
        message = "--from takes a --run"
        raise ValueError(message)
    simulated = StoredRun(args.run)
    if len(simulated) < 2:  # noqa: PLR2004
        message = f"--run: {args.run} has {len(simulated)} snapshots; expected at least 2, to have something in common"
        raise ValueError(message)
    shares = shares_in_adaptation(Catalogue(args.weights).trained(args.parent), simulated)
    for element, share in sorted(shares.items(), key=lambda each: each[1]):
        print(f"{element:>9} {share:6.3f}")
    about = {"flow": simulated.flow, "parent": args.parent, "adaptation": shares}
    write_json(args.out / f"{simulated.name}-adaptation.json", about)
    return 0


def of_arguments(args: argparse.Namespace) -> Iterator[Case]:
    """The cases that the options ask for."""
    if args.experiment == "square":
        yield from (Case(name, square_to(name), over) for over in GROUPS[2] for name in TARGETS)
    elif args.experiment == "perovskite":
        before = density(read_structure("cubic"))[None]
        for phase in PHASES:
            yield Case(phase, Pairs(before, density(read_structure(phase))[None]), "Oh")
    elif args.run:
        for reading, pairs in pairs_of(StoredRun(args.run)).items():
            if not pairs.many:
                expected = f"at least {ENOUGH_PAIRS}, to tell what is kept on the average"
                message = f"--run: {args.run} has {pairs.count} snapshots; expected {expected}"
                raise ValueError(message)
            yield Case(reading, pairs, "Oh", RECIPE)
    else:
        x, y = (torch.from_numpy(np.load(path, allow_pickle=False)) for path in (args.x, args.y))
        pairs = Pairs(x, y, args.x_kind, args.y_kind)
        yield Case(args.y.stem, pairs, GROUPS[pairs.dimension][-1])
