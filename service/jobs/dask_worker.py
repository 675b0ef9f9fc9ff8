"""What a worker of a Dask cluster does. It is a process with a device of its own, which loads a model once.

A worker needs the weights, the data folder and the buckets of the service, and the same ``EDDYLIFT_*`` settings. From
the checkout: ``python -m dask worker tcp://scheduler:8786 --nworkers 1 --nthreads 4``. Its threads read ahead and write
behind while the device computes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.engine.engine import engine_errors_as_problems
from service.jobs.executor import keep, there
from service.problems import Problem
from service.runtime.malloc import keep_tidy
from service.volumes.blocks import part_of
from service.volumes.storage import LocalStorage, require_same
from service.volumes.view import ViewOptions

if TYPE_CHECKING:
    from service.api.dependencies import Service
    from service.volumes.source import Scale
    from service.volumes.storage import Storage
    from service.volumes.view import BlockIndex, View


@dataclass(frozen=True)
class Task:
    """What a worker is told of a volume.

    Attributes:
        source: name or address of the coarse volume.
        look: how it is looked at.
        model: name of the model.
        fingerprint: of the super-resolved volume.
        target: name or address of the place to write to.
        scratch: whether that is a place which is dropped at the end.
        scale: mean velocity and rms of the source.
    """

    source: str
    look: ViewOptions
    model: str
    fingerprint: str
    target: str
    scratch: bool
    scale: Scale

    @classmethod
    def of(cls, view: View, target: Storage, scale: Scale) -> Task:
        """What is to be told of a view."""
        scratch = isinstance(target, LocalStorage) and target.volumes is None
        look = ViewOptions(view.boundary, view.names)
        return cls(view.source.name, look, view.card.name, view.fingerprint, target.name, scratch, scale)


def fill_block(task: Task, place: BlockIndex) -> None:
    """Compute a block and store it, if it is not there.

    Raises:
        Problem: as reading, computing and writing do; 409 if this worker sees another source, or has other weights.
    """
    service = _service()
    storages = service.opener.storages
    view = service.opener.view(task.source, service.registry.card(task.model), task.look)
    if view.fingerprint != task.fingerprint:
        detail = f"a worker sees another {task.source}, has other weights of {task.model}, or other settings"
        raise Problem("changed", detail)
    target = storages.scratch(task.target) if task.scratch else storages.find(task.target)
    if there(view, target, place):
        return
    part = part_of(view, service.registry.get(task.model), place, task.scale)
    with engine_errors_as_problems():
        fine = service.batcher.submit(part).result().taken().fine[0]
    # A job that was cancelled leaves workers behind, and its target may be gone by now.
    require_same(target, view.documents)
    keep(view, target, view.chunks(place, fine), storages.find(task.source))


_starting = threading.Lock()
_started: list[Service] = []


def _service() -> Service:
    """The parts of a service, without its web; one a process."""
    # Not at the top: a service knows its cluster, and a cluster what its workers do.
    from service.assembly import assemble  # noqa: PLC0415
    from service.settings import Settings  # noqa: PLC0415

    with _starting:
        if not _started:
            keep_tidy()
            service = assemble(Settings())
            service.batcher.start()
            _started.append(service)
        return _started[0]
