"""The forecasting models in ``weights/forecast/``.

Each has a folder with ``card.json``, ``weights.safetensors`` and ``sample.npy``. The sample is a run that the model has
not seen, (time, 2, y, x): the input frames and those that follow.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from models.catalogue import CARD, UnknownModelError, known_fields, read_card
from models.forecasting.forecaster import Forecaster
from models.forecasting.network import ForecastArchitecture, ForecastNetwork
from models.npy import PARSING
from models.replacing import replacing
from models.weights import read_weights, write_weights

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FOLDER = "forecast"
SAMPLE = "sample.npy"
DEFAULT = "relaxed-smoke"
"""The model for requests that name none."""


@dataclass(frozen=True)
class ForecastCard:
    """A forecasting model's card: what it is, what it was trained on, and its errors on runs that it has not seen.

    Attributes:
        name: ``<family>-<flow>``.
        family: see [`ForecastArchitecture`][models.forecasting.network.ForecastArchitecture].
        flow: what it was trained on, such as ``smoke``.
        frames: number of frames in its input.
        boundary: ``periodic`` or ``wall``, of the axes (y, x) of the flow that it was trained on.
        architecture: architecture of its network.
        parameters: number of free weights.
        trained: set of runs, steps, seed and precision.
        measured: errors of the model and of persistence in forecasts of 20 frames, as rms error relative to the rms of
            the truth, at later times of the training runs and on other runs.
        units: see [`Units`][models.forecasting.forecaster.Units], of the run that the sample is from; empty if not
            known. The sample itself is in cells per frame.
        sha256: hash of the weights file.
    """

    name: str
    family: str
    flow: str
    frames: int
    boundary: tuple[str, str]
    architecture: dict[str, Any]
    parameters: int
    trained: dict[str, Any]
    measured: dict[str, dict[str, float]]
    units: dict[str, float] = field(default_factory=dict)
    sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON data."""
        return {**dataclasses.asdict(self), "boundary": list(self.boundary)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ForecastCard:
        """Read what `to_dict` wrote, also in another version."""
        y, x = content["boundary"]
        return cls(**{**known_fields(cls, content), "boundary": (y, x)})


class ForecastCatalogue:
    """The forecasting models of a folder of models.

    Args:
        weights: such as ``weights/``.
    """

    def __init__(self, weights: Path) -> None:
        self.folder = weights / FOLDER

    def names(self) -> list[str]:
        """Names of all models, in order."""
        return sorted(path.parent.name for path in self.folder.glob(f"*/{CARD}"))

    def card(self, name: str) -> ForecastCard:
        """The card of a model; see [`read_card`][models.catalogue.read_card].

        Raises:
            UnknownModelError: if there is no such model.
        """
        if name not in self.names():
            raise UnknownModelError(name, self.names())
        return ForecastCard.from_dict(read_card(self.folder / name))

    def load(self, card: ForecastCard | str) -> Forecaster:
        """A model ready for inference: weights checked, kernels built.

        Args:
            card: of the model, or the name that it is stored under.

        Raises:
            UnknownModelError: if there is no such model.
            CorruptWeightsError: if the weights are not those of the card.
        """
        card = self.card(card) if isinstance(card, str) else card
        cells = tuple(card.architecture["cells"])
        model = Forecaster(ForecastNetwork(ForecastArchitecture(**{**card.architecture, "cells": cells})))
        model.load_state_dict(read_weights(self.folder / card.name, card.sha256))
        return model.frozen()

    def sample(self, name: str) -> NDArray[np.float32]:
        """The sample of a model, (time, 2, y, x), in cells per frame."""
        with PARSING:
            sample: NDArray[np.float32] = np.load(self.folder / name / SAMPLE, allow_pickle=False)
        return sample

    def save(self, model: Forecaster, card: ForecastCard, sample: NDArray[np.float32]) -> ForecastCard:
        """Write a model, its card and a sample, and return the card with the weights' sha256.

        A steerable network is stored with its kernels built, because their bases need escnn, which the service has not.
        """
        folder = self.folder / card.name
        stored = model.frozen() if card.family == "relaxed-steerable" else model
        card = dataclasses.replace(card, sha256=write_weights(folder, stored))
        with replacing(folder / CARD) as path:
            path.write_text(json.dumps(card.to_dict(), indent=2) + "\n")
        with replacing(folder / SAMPLE) as path:
            np.save(path, sample)
        return card
