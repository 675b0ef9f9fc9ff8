"""Reading one block of a stored volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.engine.inference import Part

if TYPE_CHECKING:
    from models.superresolution import SuperResolution
    from service.volumes.source import Scale
    from service.volumes.view import Place, SuperResolved


def part_of(view: SuperResolved, model: SuperResolution, place: Place, scale: Scale) -> Part:
    """A block of a volume with its halo, read and ready to be computed."""
    block = view.layout.at(place.block)
    return Part(
        view.card.name, model, view.layout, block, view.source.block(view.span(place), view.layout, block), scale
    )
