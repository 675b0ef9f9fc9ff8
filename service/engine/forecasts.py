"""Forecasts of planes, which wait for the device in the queue of all requests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from models.blocks import Plan
from models.forecasting.catalogue import DEFAULT
from service.engine.inference import InferenceRequest
from service.engine.registry import is_same_model, read_cards, unloadable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from models.convolution import Axes
    from models.forecasting.catalogue import ForecastCard, ForecastCatalogue
    from models.forecasting.forecaster import Forecaster, Units
    from service.engine.engine import Engine
    from service.engine.inference import InferenceResult, QueuedBlock


class ForecastRequest(InferenceRequest):
    """A request for the frames that follow: one block, whose first axis is the time ahead in the place of z.

    Args:
        card: of the model.
        model: on the batcher's device.
        frames: velocity (u, v), (time, 2, y, x).
        steps: how many frames to forecast.
        boundary: ``periodic`` or ``wall``, of the axes (y, x).
        units: of the frames.
    """

    def __init__(
        self,
        card: ForecastCard,
        model: Forecaster,
        frames: NDArray[np.float32],
        steps: int,
        boundary: tuple[str, str],
        units: Units,
    ) -> None:
        y, x = frames.shape[-2:]
        layout = Plan((steps, y, x), (steps, y, x), 0, ("open", *boundary))

        def compute(blocks: Tensor, circular: Axes) -> Tensor:
            answer: Tensor = model(blocks, steps, circular[1:], units)
            return answer.transpose(1, 2)

        variant = (id(model), len(frames), units)
        super().__init__(card.name, compute, layout, layout.blocks, samples=1, channels=2, factor=1, variant=variant)
        self.frames = frames

    def read(self, item: QueuedBlock) -> NDArray[np.float32]:  # noqa: ARG002 there is only one
        """See the class above."""
        return self.frames


class Forecasts:
    """Computes forecasts.

    Args:
        catalogue: of the models; each is loaded when it is asked for, and again once it is replaced.
        engine: owns the device.

    Attributes:
        failures: why models cannot be served, as of the last reading of ``cards``.
    """

    def __init__(self, catalogue: ForecastCatalogue, engine: Engine) -> None:
        self.catalogue = catalogue
        self.failures: dict[str, str] = {}
        self._engine = engine
        self._loading = threading.Lock()
        self._models: dict[str, tuple[ForecastCard, Forecaster]] = {}

    def cards(self) -> list[ForecastCard]:
        """The cards of all models, without those that cannot be read."""
        with unloadable("the models cannot be listed"):
            names = self.catalogue.names()
        found, self.failures = read_cards(names, self.find, self.failures)
        return found

    def find(self, name: str | None) -> ForecastCard:
        """The card of the model for a request; None takes the default.

        Raises:
            Problem: if there is no such model, or its card cannot be read.
        """
        name = DEFAULT if name is None else name
        with unloadable(f"{name} cannot be served: its card cannot be read"):
            return self.catalogue.card(name)

    def sample(self, card: ForecastCard) -> NDArray[np.float32]:
        """The sample of a model.

        Raises:
            Problem: if it cannot be read.
        """
        with unloadable(f"the sample of {card.name} cannot be read"):
            return self.catalogue.sample(card.name)

    async def forecast(
        self,
        card: ForecastCard,
        frames: NDArray[np.float32],
        steps: int,
        boundary: tuple[str, str],
        units: Units,
    ) -> InferenceResult:
        """Forecast the frames that follow, (1, 2, time, y, x); see ``ForecastRequest`` for arguments.

        Raises:
            Problem: see [`submit`][service.engine.engine.Engine.submit].
        """
        model = await self._engine.threads.run(self._model, card)
        request = ForecastRequest(card, model, frames[-card.frames :], steps, boundary, units)
        return await self._engine.submit(request)

    def _model(self, card: ForecastCard) -> Forecaster:
        with unloadable(f"{card.name} cannot be loaded"), self._loading:
            known = self._models.get(card.name)
            if known is None or not is_same_model(known[0], card):
                device = self._engine.registry.device
                with device.loading():
                    model = self.catalogue.load(card).to(str(device))
                known = self._models[card.name] = card, model
            return known[1]
