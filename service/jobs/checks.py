"""Checks that a job can be done, and opens the volumes that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.formats.boundaries import read_boundary, requested_or_stored
from service.jobs.compare import reference_warnings, require_reference, spectra_bytes
from service.jobs.discover import check_discovery
from service.problems import invalid_field, within
from service.volumes.files import room
from service.volumes.local_storage import LocalStorage
from service.volumes.storage import inside, require_same
from service.volumes.uploads import check_kept
from service.volumes.view import ViewOptions

if TYPE_CHECKING:
    from service.engine.registry import ModelRegistry
    from service.jobs.spec import JobSpec
    from service.settings import Settings
    from service.volumes.opener import VolumeOpener
    from service.volumes.source import OpenVolume
    from service.volumes.view import View


def check(spec: JobSpec, registry: ModelRegistry, opener: VolumeOpener) -> tuple[str, ...]:
    """Check that a job can be done, and that its target is free or was begun by a job of the same fingerprint.

    Returns:
        Warnings for the client.

    Raises:
        Problem: if it cannot.
    """
    if spec.task == "discover":
        check_discovery(spec, opener)
        return ()
    for field in ("x_kind", "y_kind", "group"):
        if value := getattr(spec, field):
            raise invalid_field(field=field, value=value, expected="none, unless the task is discover")
    view = open_view(spec, registry, opener)
    warnings, size = view.warnings, 0
    if spec.reference is not None:
        reference = open_reference(spec, view.card.factor, opener)
        require_reference(view, reference)
        warnings = reference_warnings(view, reference)
        size = spectra_bytes(view)
    size += _check_target(spec, view, opener)
    return (*warnings, *_check_room(size, opener.settings))


def _check_target(spec: JobSpec, view: View, opener: VolumeOpener) -> int:
    """Check that the target may be written; returns how many bytes of the disk it takes, 0 if it was begun."""
    if spec.target is None:
        if spec.reference is None:
            raise invalid_field(
                field="target", value=None, expected="a volume to write, or a reference to compare with"
            )
        return view.nbytes
    check_kept("target", spec.target)
    for name in {spec.source, spec.reference} - {None}:
        if inside(spec.target, str(name)) or inside(str(name), spec.target):
            expected = "another volume than the source and the reference, not in them and not around them"
            raise invalid_field(field="target", value=spec.target, expected=expected)
    target = opener.storages.find(spec.target)
    if not target.is_free():
        require_same(target, view.documents)
        return 0
    return view.nbytes if isinstance(target, LocalStorage) else 0


def _check_room(size: int, settings: Settings) -> tuple[str, ...]:
    """A warning if a job writes more bytes than the disk of the service has room for; others may free some."""
    free = room(settings.data, settings.spare_bytes)
    if size <= free:
        return ()
    warning = (
        f"the job writes {size / 1e9:.3g} GB, but the disk of the service has room for {max(0, free) / 1e9:.3g} GB: it "
        "fails when the disk is full, and continues with the missing blocks if you make room and resume it"
    )
    return (warning,)


def open_view(spec: JobSpec, registry: ModelRegistry, opener: VolumeOpener) -> View:
    """The view that a job computes. See [`VolumeOpener.view`][service.volumes.opener.VolumeOpener.view] for errors.

    Both volumes are listed anew.
    """
    card = registry.find(spec.model, error=spec.error)
    options = ViewOptions(read_boundary(spec.boundary), spec.naming, error=spec.error)
    if spec.reference is not None:
        options = options._replace(partly=True)
        with within("source"):
            source = opener.source(spec.source, options, fresh=True)
        reference = open_reference(spec, card.factor, opener, fresh=True)
        spec.naming.check(source.stored, reference.stored)
        stored = {"source": source.dataset.attrs.get("boundary"), "reference": reference.dataset.attrs.get("boundary")}
        options = options._replace(boundary=requested_or_stored(options.boundary, stored))
    with within("source"):
        return opener.view(spec.source, card, options, fresh=spec.reference is None)


def open_reference(spec: JobSpec, factor: int, opener: VolumeOpener, *, fresh: bool = False) -> OpenVolume:
    """The true fine volume that a job compares its answer with."""
    with within("reference"):
        options = ViewOptions(naming=spec.naming, factor=factor, partly=True)
        return opener.source(str(spec.reference), options, fresh=fresh)
