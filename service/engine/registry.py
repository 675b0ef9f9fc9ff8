"""Loaded models, each in a precision in which it reproduces its card."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import torch

from models.catalogue import DEFAULT, TRILINEAR, Card, UnknownModelError
from models.held_out import HeldOutSamples
from models.metrics.report import report
from models.superresolution import upscale
from service.engine.scores import TOLERANCE, close
from service.problems import Problem, invalid_field, is_out_of_memory, unknown_model
from service.settings import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from models.catalogue import Catalogue
    from models.convolution import Precision
    from models.forecasting.catalogue import ForecastCard
    from models.held_out import HeldOut
    from models.superresolution import SuperResolution
    from service.engine.device import Device


AnyCard = TypeVar("AnyCard")

logger = logging.getLogger("service.engine")
# Largest error of a consistent model. The shipped ones have 2e-7 to 6e-7, in bfloat16 too, as it spares that step.
CONSISTENCY: Final = 1e-5


def card_mismatch(model: SuperResolution, card: Card, sample: HeldOut, tolerance: float = TOLERANCE) -> str | None:
    """How a model fails to reproduce its card on the sample that is shipped with it; None if it does not fail.

    Args:
        model: loaded.
        card: of the model.
        sample: that the error on the card is of.
        tolerance: of the error, relative.
    """
    answer, middle = upscale(model, sample.coarse, sample.boundary), sample.coarse[len(sample.coarse) // 2]
    found = report(*map(torch.from_numpy, (answer, sample.fine, middle)), boundary=sample.boundary)
    error, promised, consistency = (found["mae_over_rms"], card.sample.get("mae_over_rms"), found["consistency"])
    if not close(error, promised, tolerance):
        return f"its MAE over rms is {error}, its card says {promised}"
    if card.consistent and not (isinstance(consistency, float) and consistency <= CONSISTENCY):
        return f"its consistency is {consistency}, expected at most {CONSISTENCY}"
    return None


def choose(device: str) -> torch.device:
    """The device of a setting; ``auto`` is a GPU if there is one.

    Raises:
        SettingError: if there is no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
        if place.type == "cuda":
            torch.cuda.get_device_properties(place)
    except (AssertionError, RuntimeError) as error:  # no such name, no CUDA in PyTorch, no driver, no such GPU
        message = f"EDDYLIFT_DEVICE is {device}, which is not available: {str(error).splitlines()[0]}"
        raise SettingError(message) from error
    return place


@contextmanager
def unloadable(why: str) -> Iterator[None]:
    """Turn errors of reading the files of a model, whatever they hold, into problems."""
    try:
        yield
    except UnknownModelError as error:
        raise unknown_model(error.name, error.known) from error
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise Problem("unloadable", f"{why}: {error}", retry_after=60) from error


def read_cards(
    names: list[str], find: Callable[[str], AnyCard], known: Mapping[str, str]
) -> tuple[list[AnyCard], dict[str, str]]:
    """The cards that can be read, and why others cannot, which is logged if it is not known yet."""
    found, failures = [], {}
    for name in names:
        try:
            found.append(find(name))
        except Problem as problem:
            if problem.kind == "unknown-model":  # deleted meanwhile
                continue
            failures[name] = problem.detail
            if known.get(name) != problem.detail:
                logger.warning("%s", problem.detail)
    return found, failures


def is_same_model(one: Card | ForecastCard, other: Card | ForecastCard) -> bool:
    """Whether two cards are of the same model, whatever was measured between them."""
    return (one.sha256, one.architecture) == (other.sha256, other.architecture)


class ModelRegistry:
    """Loaded models and their cards.

    Args:
        catalogue: where they are stored.
        device: where they compute.
        precision: for networks that reproduce their cards in it; others get float32.

    Attributes:
        failures: why models cannot be served.
        precisions: of the models that are loaded.
        warnings: what is doubtful about models that are served.
    """

    def __init__(self, catalogue: Catalogue, device: Device, precision: Precision = "float32") -> None:
        self.catalogue = catalogue
        self.device = device
        self.precision = precision
        self.failures: dict[str, str] = {}
        self.precisions: dict[str, Precision] = {}
        self.warnings: dict[str, str] = {}
        self._models: dict[str, tuple[Card, SuperResolution]] = {}
        self._loading = threading.Lock()

    def card(self, name: str) -> Card:
        """The card of a model: once that is loaded, the one that it was loaded with.

        Raises:
            Problem: if there is no such model, or its card cannot be read.
        """
        if name in self._models:
            return self._models[name][0]
        with unloadable(f"{name} cannot be served: its card cannot be read"):
            return self.catalogue.card(name)

    def names(self) -> list[str]:
        """Names of all models; a problem if they cannot be listed."""
        with unloadable("the models cannot be listed"):
            return self.catalogue.names()

    def cards(self) -> list[Card]:
        """The cards of all models, without those that cannot be read."""
        found, failures = read_cards(self.names(), self.card, self.failures)
        self.failures.update(failures)
        return found

    @property
    def default_name(self) -> str:
        """The model for requests that name none.

        Raises:
            Problem: if it is not there.
        """
        names = self.names()
        if DEFAULT not in names:
            expected = f"one of {', '.join(names)}, as the default {DEFAULT} is missing"
            raise invalid_field(field="model", value=None, expected=expected)
        return DEFAULT

    def find(self, name: str | None, *, error: bool = False) -> Card:
        """The card of the model for a request.

        Args:
            name: of the model; None takes the default.
            error: whether it must predict its error.

        Raises:
            Problem: if there is no such model, or it does not predict its error.
        """
        card = self.card(self.default_name if name is None else name)
        if error and not card.predicts_error:
            able = ", ".join(each.name for each in self.cards() if each.predicts_error) or "no model here"
            expected = f"false for {card.name}; models that predict their errors: {able}"
            raise invalid_field(field="error", value=True, expected=expected)
        return card

    def get(self, name: str) -> SuperResolution:
        """A model on the device; the first call loads it; raises as ``Catalogue.load`` and ``Device.loading`` do."""
        if name not in self._models:
            with self._loading:
                if name not in self._models:
                    with self.device.loading():
                        self._models[name] = self._load(self.card(name))
                    self.failures.pop(name, None)
        return self._models[name][1]

    def precision_of(self, card: Card) -> Precision:
        """The precision in which a model is served here; loads the model, unless all are served in float32.

        Raises:
            Problem: "unloadable" if it cannot be loaded, "unready" if the device has failed.
        """
        if self.precision == "float32":
            return self.precision
        with unloadable(f"{card.name} cannot be loaded"):
            self.get(card.name)
        return self.precisions[card.name]

    def warm(self) -> Iterator[str]:
        """Load all models; those that cannot be loaded become ``failures``.

        Yields:
            The name of each model, once it is loaded.
        """
        # The quickest first.
        names = sorted(self.names(), key=lambda name: name != TRILINEAR.name)
        for done, name in enumerate(names, 1):
            try:
                self.get(name)
            except Exception as error:
                logger.exception("%s cannot be served", name)
                self.failures[name] = str(error)
            else:
                logger.info("%s is loaded: %d of %d models", name, done, len(names))
                yield name

    def _load(self, card: Card) -> tuple[Card, SuperResolution]:
        """The model of a card in the precision of the settings if it reproduces the card in it, else in float32."""
        name, precision = card.name, self.precision if card.architecture else "float32"
        self.warnings.pop(name, None)  # of a try that failed
        if precision != "float32":
            try:
                model = self.catalogue.load(card, str(self.device), precision)
                wrong = self._mismatch(model, card, precision)
            except RuntimeError as error:  # the device cannot compute in it
                if isinstance(error, torch.OutOfMemoryError) or is_out_of_memory(error) or self.device.is_full():
                    raise  # at the moment; the next try may succeed
                wrong = str(error)
            if wrong is None:
                self.precisions[name] = precision
                return card, model
            self._warn(name, f"not served in {precision} but in float32: {wrong}")
        model = self.catalogue.load(card, str(self.device))
        if wrong := self._mismatch(model, card, "float32"):
            self._warn(name, f"not what its card says, in float32 on {self.device}: {wrong}")
        self.precisions[name] = "float32"
        return card, model

    def _mismatch(self, model: SuperResolution, card: Card, precision: Precision) -> str | None:
        """Why a model may not be served in a precision; None if it may."""
        if precision == "tf32" and self.device.place.type != "cuda":
            return f"{self.device} has no tf32"
        sample = HeldOutSamples(self.catalogue.folder).find(card.flow, card.frames, card.factor)
        if sample is None or not card.sample:
            return None if precision == "float32" else "there is no held-out sample with a known error"
        return card_mismatch(model, card, sample)

    def _warn(self, name: str, message: str) -> None:
        logger.warning("%s is %s", name, message)
        self.warnings[name] = f"{self.warnings[name]}; {message}" if name in self.warnings else message
