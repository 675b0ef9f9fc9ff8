"""Reading one block of a stored volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.engine.inference import BlockRequest

if TYPE_CHECKING:
    from models.superresolution import SuperResolution
    from service.volumes.source import Scale
    from service.volumes.view import BlockIndex, View


def part_of(view: View, model: SuperResolution, place: BlockIndex, scale: Scale) -> BlockRequest:
    """A block of a volume with its halo, read and ready to be computed."""
    block = view.layout.at(place.block)
    return BlockRequest(
        view.card.name, model, view.layout, block, view.source.block(view.span(place), view.layout, block), scale
    )
