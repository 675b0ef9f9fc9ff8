"""The precision in which the commands compute convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import argparse


def fastest_precision(device: str) -> str:
    """``bfloat16`` if the device supports it. Many CPUs do not, and emulating it took 75 times as long."""
    if device.startswith("cuda"):
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = any(torch.cpu.get_capabilities().get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    return "bfloat16" if native else "float32"


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Declare the option for the precision."""
    parser.add_argument(
        "--precision",
        choices=["auto", "float32", "bfloat16"],
        default="auto",
        help="auto: bfloat16 if the device supports it",
    )


def chosen_precision(asked: str, device: str) -> str:
    """The precision that the option asks for; see [`fastest_precision`][training.precision.fastest_precision]."""
    return fastest_precision(device) if asked == "auto" else asked
