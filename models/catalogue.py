"""The models in ``weights/``.

Each has a folder with ``card.json`` and, if it was trained, ``weights.safetensors``.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models.blocks import PERIODIC
from models.convolution import count_parameters
from models.networks import FACTORS, Architecture, Network
from models.operators import FACTOR
from models.replacing import replacing
from models.superresolution import SuperResolution
from models.uncertainty import ErrorHead
from models.weights import read_weights, write_weights

if TYPE_CHECKING:
    from pathlib import Path

    from models.blocks import Boundaries
    from models.convolution import Precision
    from models.networks import Family

CARD = "card.json"
BASELINE = "linear.json"
GENERAL = "general"
"""The flow in the name of models that were trained on many flows."""
DEFAULT = "equivariant-general-x4"
"""The model for requests that name none."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names of models, which URLs and headers hold."""


class UnknownModelError(KeyError):
    """There is no model of that name."""

    def __init__(self, name: str, known: list[str]) -> None:
        # Both, so that it can be pickled from process to process.
        super().__init__(name, known)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        """Name the models that there are."""
        return f"there is no model {self.name!r}; there are {', '.join(self.known)}"


@dataclass(frozen=True)
class Card:
    """What a model is, what it was trained on, and its errors on data that it has not seen.

    Attributes:
        name: ``<family>-<flow>-x<factor>``, without the flow for trilinear.
        family: trilinear, conv, equivariant or relaxed.
        flow: what it was trained on, ``general`` if on many; None if it was not trained.
        factor: fine cells per coarse cell along an axis.
        frames: number of time levels in its input.
        target: which of them the answer is at.
        group: its symmetry group; None for trilinear.
        architecture: see [`Architecture`][models.networks.Architecture]; None for trilinear.
        parameters: free weights.
        halo: coarse cells read around a block.
        receptive_field: coarse cells along an axis that one coarse cell of the answer depends on.
        sampling: how fine fields were made coarse; a consistent model is for such input only.
        boundary: of the fields it was trained on, (z, y, x); None if they were of several kinds.
        consistent: whether the block mean of the answer is the input.
        trained: data, seeds, steps, time and software.
        measured: errors on held-out simulations, one entry for each.
        sample: errors on the sample that is shipped with the weights.
        symmetry: on that sample, the equivariance error of each element of the octahedral group, and the share of each
            irrep in the relaxation weights of each layer; see [`models.symmetries`][models.symmetries].
        uncertainty: how its prediction of errors was trained, and ``quantiles``; see
            [`models.uncertainty`][models.uncertainty]. Empty if it predicts none.
        learned: the range of each of the [`traits`][models.metrics.traits.traits] of the coarse fields that its
            prediction of errors learned from, but for synthetic ones. Empty if there were none.
        sha256: of the weights file; None if there is none.
    """

    name: str
    family: Family
    flow: str | None
    frames: int
    group: str | None
    architecture: dict[str, Any] | None
    parameters: int
    halo: int
    consistent: bool
    factor: int
    target: str = "the frame given"
    sampling: str = "block mean"
    boundary: Boundaries | None = PERIODIC
    trained: dict[str, Any] = field(default_factory=dict)
    measured: list[dict[str, Any]] = field(default_factory=list)
    sample: dict[str, Any] = field(default_factory=dict)
    symmetry: dict[str, Any] = field(default_factory=dict)
    uncertainty: dict[str, Any] = field(default_factory=dict)
    learned: dict[str, list[float]] = field(default_factory=dict)
    sha256: str | None = None

    @property
    def receptive_field(self) -> int:
        """See the class."""
        return 2 * self.halo + 1

    @property
    def predicts_error(self) -> bool:
        """Whether it predicts the error of its answers."""
        return bool(self.uncertainty)

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON data."""
        boundary = None if self.boundary is None else list(self.boundary)
        return {**dataclasses.asdict(self), "boundary": boundary, "receptive_field": self.receptive_field}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Card:
        """Read what [`to_dict`][models.catalogue.Card.to_dict] wrote."""
        boundary = content["boundary"]
        return cls(**{**known_fields(cls, content), "boundary": None if boundary is None else tuple(boundary)})


def known_fields(cls: type[Any], content: dict[str, Any]) -> dict[str, Any]:
    """The content of a card without what this version does not know."""
    known = {part.name for part in dataclasses.fields(cls)}
    return {key: value for key, value in content.items() if key in known}


def read_card(folder: Path) -> dict[str, Any]:
    """The content of the card in a folder, which gives the name, as it may have been copied.

    Raises:
        ValueError: if it is no name for a model.
    """
    return {**json.loads((folder / CARD).read_text()), "name": checked_name(folder.name)}


def checked_name(name: str) -> str:
    """The name of a model.

    Raises:
        ValueError: if it is none.
    """
    if not NAME.fullmatch(name):
        message = f"name: {name}; expected letters, digits, dots, hyphens and underscores"
        raise ValueError(message)
    return name


def describe(model: SuperResolution, *, flow: str | None, boundary: Boundaries | None = PERIODIC, **rest: Any) -> Card:  # noqa: ANN401 passed on to Card
    """The card of a model, before anything was measured; refuses (ValueError) a flow that is no part of a name."""
    architecture = model.network.architecture if model.network else None
    parts = (model.family, flow, f"x{model.factor}") if flow else (model.family, f"x{model.factor}")
    if model.frames > 1:
        parts = (*parts, f"{model.frames}frames")
    return Card(
        name=checked_name("-".join(parts)),
        family=model.family,
        flow=flow,
        frames=model.frames,
        group=architecture.kept_group if architecture else None,
        architecture=architecture.to_dict() if architecture else None,
        parameters=count_parameters(model),
        halo=model.halo,
        consistent=architecture is not None,
        factor=model.factor,
        target="the frame given" if model.frames == 1 else "the middle frame",
        boundary=boundary,
        **rest,
    )


PLAIN = {card.name: card for card in (describe(SuperResolution(factor=factor), flow=None) for factor in FACTORS)}
"""Cards of trilinear interpolation by 2 and by 4, which needs no folder."""
TRILINEAR = PLAIN[f"trilinear-x{FACTOR}"]


class Catalogue:
    """The models of a folder, and trilinear interpolation, which needs none.

    Args:
        folder: such as ``weights/``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Names of all models, in order."""
        return sorted({TRILINEAR.name, *(path.parent.name for path in self.folder.glob(f"*/{CARD}"))})

    def card(self, name: str) -> Card:
        """The card of a model; see `read_card`.

        Raises:
            UnknownModelError: if there is no such model.
        """
        if name not in (*PLAIN, *self.names()):
            raise UnknownModelError(name, self.names())
        folder = self.folder / name
        return Card.from_dict(read_card(folder)) if (folder / CARD).exists() else PLAIN[name]

    def load(self, card: Card | str, device: str = "cpu", precision: Precision = "float32") -> SuperResolution:
        """A model ready for inference: weights checked, kernels built; see ``trained`` for the card and errors."""
        return self.trained(card).frozen(precision).to(device)

    def trained(self, card: Card | str) -> SuperResolution:
        """A model with its weights as they were learned, checked.

        Args:
            card: of the model, or the name that it is stored under.

        Raises:
            UnknownModelError: if there is no such model.
            CorruptWeightsError: if the weights are not those of the card.
        """
        card = self.card(card) if isinstance(card, str) else card
        if card.architecture is None:
            return SuperResolution(factor=card.factor).eval()
        values = read_weights(self.folder / card.name, card.sha256)
        architecture = Architecture(**{**card.architecture, "head": tuple(card.architecture["head"])})
        network = Network(architecture)
        predicts = any(key.startswith("error_head.") for key in values)
        model = SuperResolution(network, error_head=ErrorHead(architecture, network.halo) if predicts else None)
        model.load_state_dict(values)
        return model

    def save(self, model: SuperResolution, card: Card) -> Card:
        """Write a model and its card, and return the card with the weights' sha256."""
        card = dataclasses.replace(card, sha256=write_weights(self.folder / card.name, model))
        self.write(card)
        return card

    def write(self, card: Card) -> None:
        """Write only a card, for example after measuring."""
        (self.folder / card.name).mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / card.name / CARD) as path:
            path.write_text(json.dumps(card.to_dict(), indent=2) + "\n")

    def linear(self) -> dict[str, float]:
        """MAE of the best linear estimator relative to trilinear interpolation, by flow, as in ``TABLE.md``."""
        path = self.folder / BASELINE
        found: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
        return found
