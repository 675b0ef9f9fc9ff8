"""What a worker of a Dask cluster does. It is a process with a device of its own, which loads a model once.

A worker needs the weights, the data folder and the buckets of the service, and the same ``EDDYLIFT_*`` settings. From
the checkout: ``python -m dask worker tcp://scheduler:8786 --nworkers 1 --nthreads 4``. On the second GPU of a host, set
``EDDYLIFT_DEVICE=cuda:1``. It works on as many regions at a time as it has threads, so that some are read or written
while the device computes others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from service.engine.engine import Engine, build_engine, limit_threads
from service.jobs.executor import is_stored, store_block
from service.problems import Problem
from service.runtime.malloc import keep_tidy
from service.runtime.metrics import Metrics
from service.runtime.threads import Threads
from service.settings import Settings
from service.volumes.blocks import BlockComputer
from service.volumes.local_storage import LocalStorage
from service.volumes.opener import VolumeOpener, build_opener
from service.volumes.view import ViewOptions

if TYPE_CHECKING:
    from service.volumes.regions import Blocks
    from service.volumes.storage import Storage
    from service.volumes.view import View


@dataclass(frozen=True)
class Task:
    """A target volume, as it is described to a worker.

    Attributes:
        source: name or address of the coarse volume.
        options: how it is viewed.
        model: name of the model.
        fingerprint: of the view.
        target: name or address of the place to write to.
        scratch: whether that is a temporary volume.
    """

    source: str
    options: ViewOptions
    model: str
    fingerprint: str
    target: str
    scratch: bool

    @classmethod
    def of(cls, view: View, target: Storage) -> Task:
        """The task of filling a target."""
        scratch = isinstance(target, LocalStorage) and target.volumes is None
        # The service has checked the names.
        options = ViewOptions(view.boundary, view.naming, error=view.error, partly=True)
        return cls(view.source.name, options, view.card.name, view.fingerprint, target.name, scratch)


class Worker(NamedTuple):
    """The parts of a worker; see their classes."""

    engine: Engine
    opener: VolumeOpener
    blocks: BlockComputer
    threads: Threads


async def fill_blocks(task: Task, blocks: Blocks) -> None:
    """Compute the blocks that are not there together, and store them.

    Raises:
        Problem: as reading, computing and writing do; "changed" if this worker sees another source, or has other
            weights.
    """
    worker = worker_parts()
    storages = worker.opener.storages
    view = await worker.threads.run(_open_view, task, worker)
    target = storages.scratch(task.target) if task.scratch else storages.find(task.target)
    missing = await worker.threads.run(lambda: tuple(index for index in blocks if not is_stored(view, target, index)))
    if not missing:
        return

    # A job that was cancelled leaves workers behind, and its target may be gone by now.
    async for _, chunks in worker.blocks.compute(view, missing):
        await worker.threads.run(store_block, view, target, chunks)


def _open_view(task: Task, worker: Worker) -> View:
    card = worker.engine.registry.card(task.model)
    for fresh in (False, True):  # the service may have seen a newer listing
        view = worker.opener.view(task.source, card, task.options, fresh=fresh)
        if view.fingerprint == task.fingerprint:
            return view
    differs = f"{task.source}, the weights or the precision of {task.model}, or settings"
    detail = f"a Dask worker differs from the service: in {differs}"
    raise Problem("changed", detail)


@cache
def worker_parts() -> Worker:
    """The parts of this process's worker, made when they are first needed."""
    keep_tidy()
    settings = Settings()
    threads = Threads(settings.readers)
    engine = build_engine(settings, Metrics(), threads)
    engine.batcher.start(lambda: limit_threads(settings))
    return Worker(engine, build_opener(settings, engine.registry), BlockComputer(engine, threads), threads)
