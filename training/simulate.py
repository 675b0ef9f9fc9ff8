"""``python -m training simulate``: run a flow and keep snapshots of it under ``data/``.

A run that was interrupted goes on with the same command, to the same numbers, and a complete run can be made longer.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from training.flows.channel_simulation import ChannelSimulation
from training.flows.isotropic_simulation import IsotropicSimulation
from training.runs import Make, Recipe, Run

if TYPE_CHECKING:
    import argparse

FLOWS: dict[str, Make] = {"isotropic": IsotropicSimulation, "channel": ChannelSimulation}
# Time between three frames: fluid then goes by a fraction of a coarse cell of 96^3 points, at the rms velocity relative
# to the mean in a box, and at the bulk velocity relative to the walls in a channel.
SPACING = {"isotropic": 0.1, "channel": 0.01}
# Interval, spin-up and settling: times of the box over its forcing, and of the channel in h/u_tau.
TIMES = {"isotropic": (2.5, 10.0, 5.0), "channel": (1.2, 0.0, 5.0)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the subcommand takes."""
    interval, spin_up, settle = (
        ", ".join(f"{times[index]:g} for {flow}" for flow, times in TIMES.items()) for index in range(3)
    )
    parser.add_argument("--flow", choices=FLOWS, default="isotropic")
    parser.add_argument(
        "--n", type=int, default=96, help="points a side, along y in a shorter channel (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the start (default: %(default)s)")
    parser.add_argument("--snapshots", type=int, default=10, help="how many in all (default: %(default)s)")
    parser.add_argument("--interval", type=float, help=f"time between snapshots (default: {interval})")
    parser.add_argument("--spin-up", type=float, help=f"time on 64^3 points at first (default: {spin_up})")
    parser.add_argument("--settle", type=float, help=f"time on n^3 before a snapshot (default: {settle})")
    parser.add_argument("--box", type=float, default=1.0, help="length of a channel along x and z over the usual one")
    spacings = ", ".join(f"{spacing:g} for {flow}" for flow, spacing in SPACING.items())
    parser.add_argument("--frames", type=int, choices=[1, 3], default=1, help="time levels of a snapshot")
    parser.add_argument("--spacing", type=float, help=f"time between frames (default: {spacings})")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: all)")
    parser.add_argument("--out", type=Path, default=Path("data"), help="where runs are kept")


def run(args: argparse.Namespace) -> int:
    """Simulate."""
    if args.threads:
        torch.set_num_threads(args.threads)
    asked = (args.interval, args.spin_up, args.settle)
    interval, spin_up, settle = (
        usual if given is None else given for given, usual in zip(asked, TIMES[args.flow], strict=True)
    )
    spacing = 0.0 if args.frames == 1 else SPACING[args.flow] if args.spacing is None else args.spacing
    recipe = Recipe(args.flow, args.n, args.seed, interval, spin_up, settle, args.box, args.frames, spacing)
    folder: Path = args.out / recipe.name
    run = Run(
        recipe,
        folder,
        FLOWS[args.flow],
        device=args.device,
        say=lambda line: print(line, flush=True),
        live=sys.stderr.isatty(),
    )
    print(f"{folder}: {args.n}^3, {len(run.records)} of {args.snapshots} snapshots are there", flush=True)
    print(run.simulation.columns, flush=True)
    try:
        run.advance(args.snapshots)
    except KeyboardInterrupt:
        print(f"\nstopped after {len(run.records)} snapshots; the same command goes on")
        return 130
    print(run.simulation.summary(run.records))
    return 0
