"""``python -m training simulate``: simulate a flow and store snapshots under ``data/``.

If a run was interrupted, the same command continues it, to the same numbers. With more ``--snapshots`` a complete run
is extended. Flows in a plane, ``smoke`` and ``planar``, are for forecasting: a set of short runs is simulated at once,
and begun anew if that was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.flows import planes
from training.flows.kinds import FLOWS, OPTIONS, recipe_of
from training.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    flows = "; ".join(f"{name}: {kind.about}" for name, kind in FLOWS.items())
    parser.add_argument("--flow", choices=[*FLOWS, *planes.SETS], default="isotropic", help=f"{flows}; {planes.ABOUT}")
    sets = "; ".join(f"{', '.join(names)} for {flow}" for flow, names in planes.SETS.items())
    parser.add_argument("--set", help=f"set of runs in a plane: {sets}")
    parser.add_argument(
        "--n",
        type=int,
        help=f"points along each axis; in a shorter channel along y (default: 96; {planes.CELLS} in a plane)",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the initial condition (default: %(default)s)")
    parser.add_argument("--snapshots", type=int, default=10, help="number of snapshots in all (default: %(default)s)")
    parser.add_argument("--interval", type=float, help=f"time between snapshots (default: {_usual('interval')})")
    parser.add_argument(
        "--spin-up", type=float, help=f"time on 64^3 points before refining (default: {_usual('spin_up')})"
    )
    parser.add_argument(
        "--settle", type=float, help=f"time on n^3 points before the first snapshot (default: {_usual('settle')})"
    )
    parser.add_argument(
        "--box", type=float, default=1.0, help="length of a channel along x and z, relative to the default"
    )
    parser.add_argument("--frames", type=int, choices=[1, 3], default=1, help="time levels of a snapshot")
    parser.add_argument("--spacing", type=float, help=f"time between frames (default: {_usual('spacing')})")
    parser.add_argument(
        "--compact",
        action="store_true",
        help="store snapshots on the fewest points that hold the modes, two thirds along each axis",
    )
    for name, text in OPTIONS.items():
        usual = {flow: kind.make.usual[name] for flow, kind in FLOWS.items() if name in kind.make.usual}
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, help=f"{text} (default: {_by_value(usual)})")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder for runs")


def require_used(args: argparse.Namespace) -> None:
    """Refuse options that the flow has no use for.

    Raises:
        ValueError: naming them.
    """
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given = {name for name in vars(parser.parse_args([])) if getattr(args, name) != parser.get_default(name)}
    in_a_plane = args.flow in planes.SETS
    unused = given - {"flow", "set", "n", "seed", "out"} if in_a_plane else given & {"set"}
    if unused:
        named = ", ".join(sorted(f"--{name.replace('_', '-')}" for name in unused))
        message = f"{named}: {args.flow} flow has no such options"
        raise ValueError(message)


def run(args: argparse.Namespace) -> int:
    """Simulate."""
    require_used(args)
    if args.flow in planes.SETS:
        print(planes.simulate(args.flow, args.set, args.n or planes.CELLS, args.seed, args.out))
        return 0
    n = args.n or 96
    given = {name: value for name in OPTIONS if (value := getattr(args, name)) is not None}
    chosen = recipe_of(
        args.flow,
        n,
        args.seed,
        interval=args.interval,
        spin_up=args.spin_up,
        settle=args.settle,
        box=args.box,
        frames=args.frames,
        spacing=args.spacing,
        compact=args.compact,
        options=given,
    )
    folder: Path = args.out / chosen.name
    run = Run(
        chosen,
        folder,
        FLOWS[args.flow].make,
        device=args.device,
        say=lambda line: print(line, flush=True),
        live=sys.stderr.isatty(),
    )
    print(f"{folder}: {n}^3, {len(run.records)} of {args.snapshots} snapshots exist", flush=True)
    print(run.simulation.columns, flush=True)
    try:
        run.advance(args.snapshots)
    except KeyboardInterrupt:
        print(f"\nstopped after {len(run.records)} snapshots; the same command continues")
        return 130
    print(run.simulation.summary(run.records))
    return 0


def _usual(time: str) -> str:
    return _by_value({flow: getattr(kind, time) for flow, kind in FLOWS.items()})


def _by_value(usual: dict[str, float]) -> str:
    flows: dict[float, list[str]] = {}
    for flow, value in usual.items():
        flows.setdefault(value, []).append(flow)
    return "; ".join(f"{value:g} for {', '.join(names)}" for value, names in flows.items())
