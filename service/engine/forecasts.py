"""Forecasts of planes, which wait for the device in the queue of all requests."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING

from models.blocks import Plan
from models.catalogue import UnknownModelError
from models.forecast_catalogue import DEFAULT
from service.engine.inference import InferenceRequest
from service.problems import Problem, unknown_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from models.convolution import Axes
    from models.forecast_catalogue import ForecastCard, ForecastCatalogue
    from models.forecasting import Forecaster, Units
    from service.engine.engine import Engine
    from service.engine.inference import InferenceResult, QueuedBlock


class ForecastRequest(InferenceRequest):
    """A request for the frames that follow: one block, whose first axis is the time ahead in the place of z.

    Args:
        name: of the model.
        model: on the batcher's device.
        frames: velocity (u, v), (time, 2, y, x).
        steps: how many frames to forecast.
        boundary: ``periodic`` or ``wall``, of the axes (y, x).
        units: of the frames.
    """

    def __init__(
        self,
        name: str,
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

        super().__init__(
            name, compute, layout, layout.blocks, samples=1, channels=2, factor=1, variant=(len(frames), units)
        )
        self.frames = frames

    def read(self, item: QueuedBlock) -> NDArray[np.float32]:  # noqa: ARG002 there is only one
        """See the class above."""
        return self.frames


class Forecasts:
    """Computes forecasts.

    Args:
        catalogue: of the models; each is loaded when it is first asked for.
        engine: owns the device.
    """

    def __init__(self, catalogue: ForecastCatalogue, engine: Engine) -> None:
        self.catalogue = catalogue
        self._engine = engine
        self._loading = threading.Lock()
        self._load = functools.cache(self._load_once)

    def cards(self) -> list[ForecastCard]:
        """The cards of all models."""
        return [self.find(name) for name in self.catalogue.names()]

    def find(self, name: str | None) -> ForecastCard:
        """The card of the model for a request; None takes the default.

        Raises:
            Problem: if there is no such model, or its card cannot be read.
        """
        name = DEFAULT if name is None else name
        try:
            return self.catalogue.card(name)
        except UnknownModelError as error:
            raise unknown_model(error.name, error.known) from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:  # of any content of the file
            raise Problem("unloadable", f"{name} cannot be served: its card cannot be read: {error}") from error

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
        model = await self._engine.threads.run(lambda: self._model(card.name))
        request = ForecastRequest(card.name, model, frames[-card.frames :], steps, boundary, units)
        return await self._engine.submit(request)

    def _model(self, name: str) -> Forecaster:
        try:
            with self._loading:
                return self._load(name)
        except (OSError, ValueError, RuntimeError) as error:
            raise Problem("unloadable", f"{name} cannot be loaded: {error}", retry_after=60) from error

    def _load_once(self, name: str) -> Forecaster:
        return self.catalogue.load(name).to(str(self._engine.registry.device))
