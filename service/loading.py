"""The models that are served, each loaded once."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import torch

from models.layers import EVERYWHERE

if TYPE_CHECKING:
    from models.catalogue import Card, Catalogue
    from models.superresolution import SuperResolution

logger = logging.getLogger("service.loading")


def choose(device: str) -> torch.device:
    """The device that a setting names; ``auto`` is a GPU if there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


class Shelf:
    """Loaded models beside their cards.

    Args:
        catalogue: where they come from.
        device: where they go.
    """

    def __init__(self, catalogue: Catalogue, device: torch.device) -> None:
        self.catalogue = catalogue
        self.device = device
        self.failures: dict[str, str] = {}
        self._models: dict[str, SuperResolution] = {}
        self._loading = threading.Lock()

    def card(self, name: str) -> Card:
        """The card of a model; raises ``UnknownModelError``."""
        return self.catalogue.card(name)

    def get(self, name: str) -> SuperResolution:
        """A model on its device, loaded at the first call; raises what ``Catalogue.load`` does."""
        with self._loading:
            if name not in self._models:
                self._models[name] = self.catalogue.load(name, str(self.device))
            return self._models[name]

    def warm(self) -> None:
        """Load every model and run it once. One that cannot be loaded is left out, not the others with it."""
        for name in self.catalogue.names():
            try:
                model = self.get(name)
                cells = torch.zeros(1, model.frames, 3, 4, 4, 4, device=self.device)
                moments = torch.zeros(1, 3, device=self.device), torch.zeros(1, device=self.device)
                with torch.inference_mode():
                    model(cells, *moments, EVERYWHERE)
            except Exception as error:
                logger.exception("%s cannot be served", name)
                self.failures[name] = str(error)
