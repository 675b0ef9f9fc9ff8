"""Whether a job can be done, and the volumes that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.blocks import parse_boundary
from service.formats.grid import FACTOR
from service.jobs.compare import check_reference
from service.problems import invalid_field, within
from service.volumes.storage import inside, require_same
from service.volumes.view import ViewOptions

if TYPE_CHECKING:
    from service.engine.registry import ModelRegistry
    from service.jobs.spec import JobSpec
    from service.volumes.opener import VolumeOpener
    from service.volumes.source import OpenVolume
    from service.volumes.view import View


def check(spec: JobSpec, registry: ModelRegistry, opener: VolumeOpener) -> None:
    """See that all fits, and that a target is free, or this very volume begun.

    Raises:
        Problem: if something does not.
    """
    view = open_view(spec, registry, opener)
    if spec.reference is not None:
        check_reference(view, open_reference(spec.reference, opener))
    if spec.target is None:
        if spec.reference is None:
            raise invalid_field(
                field="target", value=None, expected="a volume to write, or a reference to compare with"
            )
        return
    for name in {spec.source, spec.reference} - {None}:
        if inside(spec.target, str(name)) or inside(str(name), spec.target):
            expected = "another volume than the source and the reference, not in them and not around them"
            raise invalid_field(field="target", value=spec.target, expected=expected)
    target = opener.storages.find(spec.target)
    if not target.is_free():
        require_same(target, view.documents)


def open_view(spec: JobSpec, registry: ModelRegistry, opener: VolumeOpener) -> View:
    """The view that a job computes. See [`VolumeOpener.view`][service.volumes.opener.VolumeOpener.view] for errors."""
    try:
        boundary = None if spec.boundary is None else parse_boundary(spec.boundary)
    except ValueError as error:
        expected = "periodic, wall or open, or three of them"
        raise invalid_field(field="boundary", value=spec.boundary, expected=expected) from error
    card = registry.card(spec.model)
    with within("source"):
        return opener.view(spec.source, card, ViewOptions(boundary, tuple(sorted(spec.names.items()))))


def open_reference(name: str, opener: VolumeOpener) -> OpenVolume:
    """The true fine volume of that name."""
    with within("reference"):
        return opener.source(name, ViewOptions(factor=FACTOR))
