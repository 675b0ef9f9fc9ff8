"""Trains a forecasting network, and measures its forecasts."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from models.forecasting.forecaster import Forecaster
from models.forecasting.network import TURNING, ForecastArchitecture, ForecastNetwork
from models.forecasting.steerable import field_size, penalty
from models.replacing import replacing
from training.checkpoints import readable_checkpoint
from training.forecasting.steerable_bases import steerable_basis
from training.optimizing import clip_gradients, share_of_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from training.forecasting.windows import Window, Windows

AHEAD = 6
"""Number of steps that a network forecasts in training."""
TESTED = 20
"""Number of steps that it forecasts in tests."""
WARM_UP = 20
LARGEST_GRADIENT = 1.0
SAVE_EVERY = 60.0


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        steps: in all.
        rate: highest learning rate, of a cosine after a short warm-up.
        batch: windows a step.
        seed: of the first weights and of the windows.
        precision: of the convolutions, ``float32`` or ``bfloat16``.
        penalty: in the loss, how much the mean of delta^2 counts of a relaxed-steerable network.
    """

    steps: int
    rate: float = 2e-3
    batch: int = 8
    seed: int = 0
    precision: str = "float32"
    penalty: float = 0.0


def train(
    architecture: ForecastArchitecture,
    recipe: Recipe,
    data: Windows,
    checkpoint: Path,
    say: Callable[[str], None] = print,
) -> Forecaster:
    """Train a network, or continue from its checkpoint, and return it.

    Args:
        architecture: what to train.
        recipe: how.
        data: on what.
        checkpoint: file, replaced every minute and at the end.
        say: called with a line of progress now and then.

    Raises:
        ValueError: if the checkpoint is of another architecture, recipe or data, or a gradient is not finite.
    """
    torch.manual_seed(recipe.seed)
    model = _new(architecture)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_rate(recipe.steps, WARM_UP))
    random = torch.Generator().manual_seed(recipe.seed)
    begin, about = 0, {"architecture": architecture.to_dict(), "recipe": asdict(recipe), "data": data.identity()}
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    if checkpoint.exists():
        with readable_checkpoint(checkpoint):
            state = torch.load(checkpoint, weights_only=True)
            found = about | state["about"]  # an older version did not write the data
        if found != about:
            message = f"{checkpoint} holds {found}, not {about}; use another --out"
            raise ValueError(message)
        with readable_checkpoint(checkpoint):
            for name, part in parts.items():
                part.load_state_dict(state[name])
            random.set_state(state["random"])
            begin = state["step"]
    saved = time.monotonic()
    for step in range(begin, recipe.steps):
        error = loss(model, data.draw(recipe.batch, model.frames + AHEAD, random), data, recipe)
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        clip_gradients(model, LARGEST_GRADIENT, error, step)
        if recipe.penalty:  # after clipping, where a large one would leave nothing of the error's gradient
            (recipe.penalty * penalty(model)).backward()
        optimizer.step()
        schedule.step()
        if step + 1 == recipe.steps or time.monotonic() - saved > SAVE_EVERY:
            saved = time.monotonic()
            say(f"{checkpoint.stem}: step {step + 1} of {recipe.steps}, loss {error.item():.5f}")
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            state = {name: part.state_dict() for name, part in parts.items()}
            with replacing(checkpoint) as path:
                torch.save({**state, "about": about, "random": random.get_state(), "step": step + 1}, path)
    return model


def load(checkpoints: Sequence[Path]) -> tuple[list[Forecaster], dict[str, Any]]:
    """Networks as checkpoints have them, and what all of them have in common.

    Raises:
        ValueError: if a checkpoint cannot be read, or one network was trained otherwise than the first.
    """
    models: list[Forecaster] = []
    common: dict[str, Any] = {}
    for checkpoint in checkpoints:
        with readable_checkpoint(checkpoint):
            state = torch.load(checkpoint, weights_only=True)
            about, recipe = state["about"]["architecture"], Recipe(**state["about"]["recipe"])
            architecture = ForecastArchitecture(**{**about, "cells": tuple(about["cells"])})
            models.append(_new(architecture))
            models[-1].load_state_dict(state["model"])
        found = conditions(architecture, recipe)
        if common | found != found | common:
            message = f"{checkpoint}: {found}; expected {common}, as in {checkpoints[0]}"
            raise ValueError(message)
        common |= found
    return models, common


def conditions(architecture: ForecastArchitecture, recipe: Recipe) -> dict[str, Any]:
    """What networks have in common of which errors are compared: all but family, seed and penalty.

    Networks of families without a group are compared with those of any.
    """
    size = 1 if architecture.group == "C1" else field_size(architecture.group)
    named = {name: getattr(recipe, name) for name in ("steps", "rate", "batch", "precision")}
    over = {"group": architecture.group} if architecture.family in TURNING else {}
    return {"channels": size * architecture.fields, "blocks": architecture.blocks, **named, **over}


def _new(architecture: ForecastArchitecture) -> Forecaster:
    return Forecaster(ForecastNetwork(architecture, partial(steerable_basis, architecture.group)))


def loss(model: Forecaster, window: Window, data: Windows, recipe: Recipe) -> Tensor:
    """Mean square error of the forecast, relative to the mean square of the true frames."""
    given, wanted = window.frames[:, : model.frames], window.frames[:, model.frames :]
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        answer = model.roll_out(given, AHEAD, data.circular, window.scales)
    return (answer - wanted).square().mean() / wanted.square().mean()


@torch.inference_mode()
def rmse(model: Forecaster | None, data: Windows, split: str) -> float:
    """Root mean square error of a forecast, relative to the rms of the true frames.

    Args:
        model: the model; None for persistence, whose forecast is the last frame.
        data: the set of runs.
        split: ``future`` or ``domain``.
    """
    given_frames = ForecastArchitecture.frames if model is None else model.frames
    frames, scales = data.test(split, given_frames + TESTED)
    given, wanted = frames[:, :given_frames], frames[:, given_frames:]
    answer = given[:, -1:] if model is None else model.frozen().roll_out(given, TESTED, data.circular, scales)
    return float(((answer - wanted).square().mean() / wanted.square().mean()).sqrt())
