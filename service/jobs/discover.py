"""Finds which symmetries two stored volumes keep, a few pairs at a time, so that neither must fit into memory."""

from __future__ import annotations

import io
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from models.discovery.discover import discover
from models.discovery.fit import USUAL, Checkpoints, steps_of
from service.formats.names import COMPONENTS
from service.formats.pairs import check_cells, find_group, fit_pairs
from service.formats.reference import check_lags, check_pair
from service.formats.units import same_units
from service.problems import invalid_field, too_large, within
from service.runtime.threads import Stop
from service.volumes.fields import open_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.discovery.pairs import Kind, Pairs
    from service.jobs.progress import Progress
    from service.jobs.spec import JobSpec
    from service.runtime.threads import Threads
    from service.volumes.fields import OpenFields
    from service.volumes.opener import VolumeOpener
    from service.volumes.storage import Storage

logger = logging.getLogger("service.jobs")
# Fields of a spec that a discovery does not use.
UNUSED: Final = ("target", "model", "boundary", "error")
# The most values of Y at each time, over those of X: as a grid twice as fine has.
FINER: Final = 8


@dataclass(frozen=True)
class StoredCheckpoints(Checkpoints):
    """Checkpoints in a temporary volume, which also keep the progress of a job up to date.

    Attributes:
        storage: where they are.
        tag: of the pairs' content; checkpoints of other content are not used.
        progress: of the job.
        advanced: called after the first step.
    """

    storage: Storage
    tag: str
    progress: Progress
    advanced: Callable[[], None]

    def load(self, name: str, about: dict[str, Any]) -> dict[str, Any]:
        """See [`Checkpoints`][models.discovery.fit.Checkpoints]."""
        content = self.storage.get(f"{self.tag}-{name}")
        if content is None:
            return {}
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
        except Exception:  # whatever torch makes of a file that a power failure cut short
            logger.warning("a checkpoint of job %s cannot be read: it begins again", self.storage.name, exc_info=True)
            return {}
        if state.get("about") != about:
            logger.warning("a checkpoint of job %s is by another version: it begins anew", self.storage.name)
            return {}
        self.progress.done += state["decay"]["last_epoch"]
        return state

    def save(self, name: str, state: dict[str, Any]) -> None:
        """See [`Checkpoints`][models.discovery.fit.Checkpoints]."""
        content = io.BytesIO()
        torch.save(state, content)
        self.storage.put(f"{self.tag}-{name}", content.getvalue())
        self.progress.done += 1
        self.progress.computed += 1
        if self.progress.computed == 1:
            self.advanced()


def check_discovery(spec: JobSpec, opener: VolumeOpener) -> None:
    """Refuse a discovery that cannot be done; reads only what describes the volumes.

    Raises:
        Problem: 404 if a volume is missing, 422 if the volumes do not fit together, also in their times, or the job is
            to do something else too, 413 if single fields are too large.
    """
    for field in UNUSED:
        if value := getattr(spec, field):
            raise invalid_field(field=field, value=value, expected="none, as a discovery does not use it")
    if spec.reference is None:
        raise invalid_field(field="reference", value=None, expected="the volume that has the fields Y")
    x, y = _open(spec, opener)
    pairs = _pairs(spec, x, y)
    check_pair(x, y, pairs.factor)
    check_lags(x.dataset, y.dataset)
    if pairs.copies:
        _check_units(x, y)
    over = find_group(spec.group, pairs)
    most = len(COMPONENTS) * opener.settings.max_cells
    for field, fields, values in (("source", x, most), ("reference", y, FINER * most)):
        with within(field):
            check_cells(fields, over)
            if math.prod(fields.shape[1:]) > values:
                limit = f"{values} values of all channels at each time; coarser fields, such as block means, may do"
                raise too_large(field="shape", value=list(fields.shape[1:]), limit=limit)


async def discover_stored(
    spec: JobSpec,
    scratch: Storage,
    progress: Progress,
    *,
    opener: VolumeOpener,
    threads: Threads,
    advanced: Callable[[], None],
) -> dict[str, Any]:
    """What `POST /v1/discover` finds, in volumes of many times.

    Args:
        spec: has the volumes.
        scratch: for checkpoints.
        progress: is kept up to date.
        opener: opens volumes.
        threads: for computing.
        advanced: called after the first step.

    Raises:
        Problem: as reading does; "changed" if a volume has changed.
    """
    stopped = Stop()

    def find() -> dict[str, Any]:
        x, y = _open(spec, opener)
        pairs = _pairs(spec, x, y)
        progress.begin("discovering", steps_of(pairs, USUAL[pairs.dimension]), pairs.count * pairs.cells)
        checkpoints = StoredCheckpoints(scratch, f"{x.tag}-{y.tag}", progress, advanced)
        found = discover(pairs, find_group(spec.group, pairs), progress=stopped.check, checkpoints=checkpoints)
        for volume in (x, y):
            volume.require_unchanged(fresh=True)
        return found.as_dict()

    return await threads.run(find, stopped=stopped)


def _open(spec: JobSpec, opener: VolumeOpener) -> tuple[OpenFields, OpenFields]:
    x_kind, y_kind = _kinds(spec)
    find, settings = opener.storages.find, opener.settings
    with within("source"):
        x = open_fields(find(spec.source), settings, x_kind, spec.naming)
    with within("reference"):
        y = open_fields(find(str(spec.reference)), settings, y_kind, spec.naming)
    spec.naming.check(x.stored, y.stored)
    return x, y


def _check_units(x: OpenFields, y: OpenFields) -> None:
    """Refuse (422) fields of one kind in different units."""
    ours, theirs = ([each.dataset[name].attrs.get("units") for name in each.found.names] for each in (x, y))
    for one, other in zip(ours, theirs, strict=False):  # a velocity may be one variable
        if None not in (one, other) and not same_units(one, other):
            expected = f"{one}, as the source has: to fields of one kind, Y - X is fitted"
            raise invalid_field(field="reference.units", value=str(other), expected=expected)


def _pairs(spec: JobSpec, x: OpenFields, y: OpenFields) -> Pairs:
    return fit_pairs(x, y, _kinds(spec), ("source", "reference"))


def _kinds(spec: JobSpec) -> tuple[Kind, Kind]:
    return spec.x_kind or "vector", spec.y_kind or "vector"
