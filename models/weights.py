"""Weights of a model in its folder, checked against the sha256 on its card."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from models.replacing import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

WEIGHTS = "weights.safetensors"


class CorruptWeightsError(ValueError):
    """Weights are not the ones that the card was written for."""


def read_weights(folder: Path, sha256: str | None) -> dict[str, Tensor]:
    """The weights in the folder of a model.

    Raises:
        CorruptWeightsError: if they are not those of the sha256, as hexadecimal digits.
    """
    # Not at the top: training on a bare host saves and loads checkpoints without it.
    from safetensors.torch import load  # noqa: PLC0415

    content = (folder / WEIGHTS).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        message = f"{folder.name}: sha256 of {WEIGHTS} is {found}, its card says {sha256}"
        raise CorruptWeightsError(message)
    return load(content)


def write_weights(folder: Path, model: nn.Module) -> str:
    """Write the weights of a model into its folder, as float16 where that is exact, and return their sha256."""
    from safetensors.torch import save  # noqa: PLC0415

    content = save({name: _smallest(value).contiguous() for name, value in model.state_dict().items()})
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS) as path:
        path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _smallest(value: Tensor) -> Tensor:
    half = value.half()
    return half if value.is_floating_point() and bool((half == value).all()) else value
