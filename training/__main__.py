"""``python -m training``: simulate flows, train and measure models, and repeat experiments."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import torch

from models.catalogue import UnknownModelError
from training import (
    adapt,
    discover,
    evaluate,
    forecast,
    forecast_animation,
    forecast_levels,
    forecast_penalties,
    forecast_places,
    forecast_symmetries,
    seeds,
    simulate,
    table,
    train,
    uncertainty,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# A subcommand is a module with a docstring, add_arguments(parser) and run(args) -> exit status.
COMMANDS = {
    "simulate": simulate,
    "train": train,
    "adapt": adapt,
    "discover": discover,
    "uncertainty": uncertainty,
    "evaluate": evaluate,
    "table": table,
    "forecast": forecast,
    "forecast-levels": forecast_levels,
    "forecast-penalties": forecast_penalties,
    "forecast-places": forecast_places,
    "forecast-symmetries": forecast_symmetries,
    "forecast-animation": forecast_animation,
    "seeds": seeds,
}
LEAST = {"n": 1, "snapshots": 1, "fields": 1, "steps": 1, "threads": 1, "relaxation_steps": 0, "checks": 0}
"""The least values of options that count."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m training")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        text = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(name, help=text, description=module.__doc__)
        module.add_arguments(command)
        command.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    chosen = parser.parse_args(arguments)
    for name, least in LEAST.items():
        if (value := getattr(chosen, name, None)) is not None and value < least:
            option = name.replace("_", "-")
            parser.exit(2, f"{parser.prog} {chosen.command}: --{option}: {value}; expected at least {least}\n")
    torch.set_num_threads(chosen.threads)
    try:
        status: int = COMMANDS[chosen.command].run(chosen)
    except (ValueError, OSError, FloatingPointError, UnknownModelError) as error:
        parser.exit(2, f"{parser.prog} {chosen.command}: {error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
