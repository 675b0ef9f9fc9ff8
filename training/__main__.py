"""``python -m training``: simulate flows, train and measure models, and repeat experiments."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import torch

from models.catalogue import UnknownModelError
from training import adapt, discover, evaluate, seeds, simulate, table, train, uncertainty
from training.forecasting import animation, forecast, levels, penalties, places, symmetries

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
    "forecast-levels": levels,
    "forecast-penalties": penalties,
    "forecast-places": places,
    "forecast-symmetries": symmetries,
    "forecast-animation": animation,
    "seeds": seeds,
}
LEAST = {
    **dict.fromkeys(("n", "snapshots", "fields", "banks", "head", "steps", "threads"), 1),
    **dict.fromkeys(("relaxation_steps", "checks", "rate", "relaxation_rate", "penalties"), 0),
}
"""The least values of options."""


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
        given = getattr(chosen, name, None)
        for value in given if isinstance(given, list | tuple) else [given]:
            if value is not None and not value >= least:
                option = name.replace("_", "-")
                parser.exit(2, f"{parser.prog} {chosen.command}: --{option}: {value}; expected at least {least}\n")
    device = getattr(chosen, "device", "cpu")
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        parser.exit(2, f"{parser.prog} {chosen.command}: --device: {device}; expected one that there is: {reason}\n")
    torch.set_num_threads(chosen.threads)
    # Otherwise convolutions in float32 would round to 10 bits on a GPU, forward and backward.
    torch.backends.cudnn.allow_tf32 = False
    try:
        status: int = COMMANDS[chosen.command].run(chosen)
    except (ValueError, OSError, FloatingPointError, MemoryError, torch.OutOfMemoryError, UnknownModelError) as error:
        parser.exit(2, f"{parser.prog} {chosen.command}: {error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
