"""Weights that may differ from place to place tell where a flow changes."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
import torch

from models.forecasting.forecaster import Forecaster
from models.forecasting.network import ForecastArchitecture, ForecastNetwork
from training.__main__ import main
from training.flows.plumes import describe, plumes
from training.forecasting.places import change
from training.forecasting.training import Recipe, conditions

if TYPE_CHECKING:
    from pathlib import Path


def test_the_change_of_a_network_is_read_and_drawn(tmp_path: Path) -> None:
    """One of layers of which one has a step in the middle, and another a larger one beside a wall."""
    architecture = ForecastArchitecture("relaxed-translation", "C1", 2, 1, banks=2, cells=(16, 16))
    model = Forecaster(ForecastNetwork(architecture))
    with torch.no_grad():
        first, second = (weights for name, weights in model.named_parameters() if name.endswith(".weights"))
        first[0, :, 8:] += 0.1
        second[1, :, :1] += 1.0
    data = tmp_path / "smoke-translation-16"
    data.mkdir()
    (data / "run.json").write_text(json.dumps({"set": "translation", "n": 16, **describe(plumes("translation"), 16)}))
    about = {"architecture": architecture.to_dict(), "recipe": asdict(Recipe(5))}
    torch.save({"about": about, "model": model.state_dict()}, data / "relaxed-translation-seed0.pt")
    figure = tmp_path / "places.png"
    command = ["forecast-places", "--data", str(data), "--out", str(tmp_path), "--figure", str(figure)]
    assert main(command) == 0
    assert figure.stat().st_size > 1000
    found = json.loads((tmp_path / "smoke-translation-16-places.json").read_text())
    assert found == {"middle": 8, **conditions(architecture, Recipe(5)), "places": {"0": [8, 3]}}


@pytest.mark.parametrize("where", [5, 8, 10])
def test_a_step_in_noise_is_found(where: int) -> None:
    curves = 0.1 * torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    curves[:, where:] += torch.tensor([1.0, -1.0, 0.5, 0.0])[:, None]
    assert change(curves, (2, 14)) == where
