"""The parts of a service, put together and at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from models.catalogue import Catalogue
from service.api.dependencies import Service
from service.engine.batcher import Batcher
from service.engine.device import open_device
from service.engine.queue import Limits
from service.engine.registry import Shelf, choose
from service.formats.sandbox import Quarantine
from service.jobs.lease import Replica
from service.jobs.manager import Jobs
from service.jobs.repository import Ledger
from service.runtime.metrics import Metrics
from service.volumes.chunk_cache import Views
from service.volumes.opener import Library
from service.volumes.storage import Locations
from service.volumes.uploads import VolumeStore

if TYPE_CHECKING:
    from service.jobs.dask_executor import Cluster
    from service.settings import Settings

# In a batch. On a core of a CPU eight blocks of 4^3 took 0.7 times as long together as one after another, eight of 8^3
# 0.9 times, two of 12^3 as long, and eight of 20^3 1.05 times.
BATCH_CELLS = {"cpu": 4096}


def assemble(settings: Settings) -> Service:
    """Make the parts; whoever takes them starts the batcher."""
    metrics = Metrics()
    device = open_device(choose(settings.device))
    shelf = Shelf(Catalogue(settings.weights), device, settings.precision, settings.reproduction_tolerance)
    limits = Limits(
        wait_s=settings.batch_wait_ms / 1e3,
        batch_blocks=settings.max_batch_blocks,
        batch_cells=settings.max_batch_cells or BATCH_CELLS.get(device.place.type),
        queue_cells=settings.max_queue_cells,
    )
    stored = VolumeStore(settings.data / "volumes", settings.spare_bytes)
    locations = Locations(stored, settings.data / "scratch", settings)
    ledger = Ledger(settings.data / "jobs.sqlite")
    library = Library(locations, settings.data / "moments", settings)
    return Service(
        settings=settings,
        shelf=shelf,
        batcher=Batcher(device, limits, metrics, shelf.room),
        metrics=metrics,
        quarantine=Quarantine(settings),
        readers=anyio.CapacityLimiter(settings.readers),
        comparers=anyio.CapacityLimiter(settings.max_jobs),
        volumes=stored,
        library=library,
        views=Views(library, settings.data / "views", settings.view_bytes, settings.view_blocks, settings.spare_bytes),
        jobs=Jobs(
            ledger, Replica(settings.data / "replicas"), settings.max_jobs, settings.job_blocks, settings.keep_days
        ),
        cluster=_cluster(settings.scheduler) if settings.scheduler else None,
    )


def _cluster(scheduler: str) -> Cluster:
    # Dask is large, and most have no cluster.
    from service.jobs.dask_executor import Cluster  # noqa: PLC0415

    return Cluster(scheduler)
