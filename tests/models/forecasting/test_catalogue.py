"""Forecasting models come back as they were saved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.catalogue import CARD, UnknownModelError
from models.forecasting.catalogue import ForecastCard, ForecastCatalogue
from models.forecasting.forecaster import Forecaster
from models.forecasting.network import ForecastArchitecture, ForecastNetwork
from models.weights import WEIGHTS, CorruptWeightsError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    architecture = ForecastArchitecture("relaxed", "C4", 1, 1, frames=3)
    model = Forecaster(ForecastNetwork(architecture))
    card = ForecastCard("relaxed-smoke", "relaxed", "smoke", 3, ("wall", "wall"), architecture.to_dict(), 1, {}, {})
    catalogue = ForecastCatalogue(tmp_path)
    sample = np.random.default_rng(0).standard_normal((4, 2, 5, 6), np.float32)
    saved = catalogue.save(model, card, sample)
    assert catalogue.card("relaxed-smoke") == saved
    assert np.array_equal(catalogue.sample("relaxed-smoke"), sample)
    frames = torch.randn(1, 3, 2, 5, 6)
    assert torch.equal(catalogue.load(saved.name)(frames, 2, (False, False)), model.frozen()(frames, 2, (False, False)))
    with pytest.raises(UnknownModelError, match="relaxed-smoke"):
        catalogue.card("other")
    (catalogue.folder / saved.name).rename(catalogue.folder / "mine")
    assert catalogue.card("mine").name == "mine"
    assert catalogue.load("mine").frames == saved.frames
    (catalogue.folder / "mine").rename(catalogue.folder / "größer")
    with pytest.raises(ValueError, match="name: größer; expected letters"):
        catalogue.card("größer")
    (catalogue.folder / "größer").rename(catalogue.folder / "mine")
    (catalogue.folder / "mine" / WEIGHTS).write_bytes(b"other")
    with pytest.raises(CorruptWeightsError, match="sha256"):
        catalogue.load("mine")


def test_a_card_of_another_version_is_read(tmp_path: Path) -> None:
    architecture = ForecastArchitecture("relaxed", "C4", 1, 1, frames=3)
    card = ForecastCard("relaxed-smoke", "relaxed", "smoke", 3, ("wall", "wall"), architecture.to_dict(), 1, {}, {})
    catalogue = ForecastCatalogue(tmp_path)
    saved = catalogue.save(Forecaster(ForecastNetwork(architecture)), card, np.zeros((4, 2, 5, 6), np.float32))
    path = catalogue.folder / saved.name / CARD
    path.write_text(json.dumps({**json.loads(path.read_text()), "note": "added later"}))
    assert catalogue.card(saved.name) == saved
