"""The boundaries of a volume: by the request, else by its attribute, else by the model's card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from models.blocks import BOUNDARIES, PERIODIC, format_boundary, parse_boundary
from models.walls import WallError, is_wall
from service.formats.names import AXES
from service.problems import invalid_field, within

if TYPE_CHECKING:
    from models.blocks import Boundaries
    from models.catalogue import Card


class ChosenBoundary(NamedTuple):
    """Boundaries, and warnings about them for the client.

    Attributes:
        boundary: what lies beyond the ends of each axis (z, y, x).
        warnings: what is doubtful about them.
    """

    boundary: Boundaries
    warnings: tuple[str, ...] = ()


def read_boundary(said: object) -> Boundaries | None:
    """Read the boundaries of an option or an attribute ``boundary``; None gives None.

    Args:
        said: ``periodic``, ``periodic,wall,periodic``, a list of one an axis (z, y, x), or a mapping such as
            ``{"y": "wall"}`` in which axes that are not named are periodic; the latter two also as JSON.

    Raises:
        Problem: 422 if it is not a boundary.
    """
    if said is None:
        return None
    try:
        return parse_boundary(_text(said))
    except (TypeError, ValueError, RecursionError) as error:
        kinds = f"{', '.join(BOUNDARIES)}, wall:u=-1..1 (velocities along the wall)"
        expected = f"one of {kinds}, or three of them for z, y, x joined by commas"
        if isinstance(error, WallError):
            expected += f"; {error}"
        value = said if isinstance(said, str) else str(said)
        raise invalid_field(field="boundary", value=value, expected=expected) from error


def _text(said: Any) -> str:  # noqa: ANN401 whatever an attribute holds
    if isinstance(said, str) and said.lstrip().startswith(("{", "[")):
        said = json.loads(said)
    if isinstance(said, Mapping):
        if strangers := set(said) - set(AXES):
            raise ValueError(strangers)
        said = [said.get(axis, "periodic") for axis in AXES]
    return said if isinstance(said, str) else ",".join(map(str, np.atleast_1d(said)))


def requested_or_stored(requested: Boundaries | None, stored: Mapping[str, object]) -> Boundaries | None:
    """The boundary given with the request; otherwise that of the first volume that has one; None if none has.

    Args:
        requested: boundary given with the request, or None.
        stored: attribute ``boundary`` of each volume, or None, by its name in messages.

    Raises:
        Problem: 422 if an attribute is needed and is no boundary.
    """
    for volume, attribute in stored.items():
        if requested is None:
            with within(volume):
                requested = read_boundary(attribute)
    return requested


def choose_boundary(asked: Boundaries | None, attribute: object, card: Card) -> ChosenBoundary:
    """Choose the boundaries for a request; without any, all axes are periodic.

    Args:
        asked: by the request, or None.
        attribute: ``boundary`` of the data, or None.
        card: of the model.

    Raises:
        Problem: 422 if the attribute is needed and is no boundary.
    """
    boundary = asked or read_boundary(attribute) or card.boundary or PERIODIC
    if (
        card.flow is None
        or card.boundary is None
        or all(
            one == other or (is_wall(one) and is_wall(other))
            for one, other in zip(boundary, card.boundary, strict=True)
        )
    ):
        return ChosenBoundary(boundary)
    warning = (
        f"the boundary is {format_boundary(boundary)}, but {card.name} was trained on "
        f"{format_boundary(card.boundary)}: near ends where these differ its answer may be far off"
    )
    return ChosenBoundary(boundary, (warning,))
