"""Checking what a job is asked to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.blocks import parse_boundary
from service.engine.registry import find_card
from service.formats.grid import FACTOR
from service.jobs.compare import check_reference
from service.problems import unfit, within
from service.volumes.storage import inside, require_same
from service.volumes.view import Look

if TYPE_CHECKING:
    from service.api.dependencies import Service
    from service.jobs.repository import Order
    from service.volumes.source import Source
    from service.volumes.view import SuperResolved


def check(service: Service, order: Order) -> None:
    """See that all fits, and that a target is free, or this very volume begun."""
    view = look(service, order)
    if order.reference is not None:
        check_reference(view, reference_of(service, order.reference))
    if order.target is None:
        if order.reference is None:
            raise unfit(field="target", value=None, expected="a volume to write, or a reference to compare with")
        return
    for name in {order.source, order.reference} - {None}:
        if inside(order.target, str(name)) or inside(str(name), order.target):
            expected = "another volume than the source and the reference, not in them and not around them"
            raise unfit(field="target", value=order.target, expected=expected)
    target = service.library.locations.find(order.target)
    if not target.is_free():
        require_same(target, view.documents)


def look(service: Service, order: Order) -> SuperResolved:
    """What a job is to make. See [`Library.view`][service.volumes.opener.Library.view] for errors."""
    try:
        boundary = None if order.boundary is None else parse_boundary(order.boundary)
    except ValueError as error:
        expected = "periodic, wall or open, or three of them"
        raise unfit(field="boundary", value=order.boundary, expected=expected) from error
    card = find_card(order.model, service)
    with within("source"):
        return service.library.view(order.source, card, Look(boundary, tuple(sorted(order.names.items()))))


def reference_of(service: Service, name: str) -> Source:
    """The fine volume of that name."""
    with within("reference"):
        return service.library.source(name, Look(factor=FACTOR))
