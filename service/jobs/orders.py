"""Checking what a job is asked to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.blocks import parse_boundary
from service.engine.registry import find_card
from service.formats.grid import FACTOR
from service.jobs.compare import check_reference
from service.problems import invalid_field, within
from service.volumes.storage import inside, require_same
from service.volumes.view import ViewOptions

if TYPE_CHECKING:
    from service.api.dependencies import Service
    from service.jobs.repository import JobSpec
    from service.volumes.source import OpenVolume
    from service.volumes.view import View


def check(service: Service, order: JobSpec) -> None:
    """See that all fits, and that a target is free, or this very volume begun."""
    view = look(service, order)
    if order.reference is not None:
        check_reference(view, reference_of(service, order.reference))
    if order.target is None:
        if order.reference is None:
            raise invalid_field(
                field="target", value=None, expected="a volume to write, or a reference to compare with"
            )
        return
    for name in {order.source, order.reference} - {None}:
        if inside(order.target, str(name)) or inside(str(name), order.target):
            expected = "another volume than the source and the reference, not in them and not around them"
            raise invalid_field(field="target", value=order.target, expected=expected)
    target = service.opener.storages.find(order.target)
    if not target.is_free():
        require_same(target, view.documents)


def look(service: Service, order: JobSpec) -> View:
    """What a job is to make. See [`VolumeOpener.view`][service.volumes.opener.VolumeOpener.view] for errors."""
    try:
        boundary = None if order.boundary is None else parse_boundary(order.boundary)
    except ValueError as error:
        expected = "periodic, wall or open, or three of them"
        raise invalid_field(field="boundary", value=order.boundary, expected=expected) from error
    card = find_card(order.model, service)
    with within("source"):
        return service.opener.view(order.source, card, ViewOptions(boundary, tuple(sorted(order.names.items()))))


def reference_of(service: Service, name: str) -> OpenVolume:
    """The fine volume of that name."""
    with within("reference"):
        return service.opener.source(name, ViewOptions(factor=FACTOR))
