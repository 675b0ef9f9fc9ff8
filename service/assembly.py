"""The parts of a service, put together and at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from models.catalogue import Catalogue
from service.api.dependencies import Service
from service.api.fairness import Places
from service.engine.batcher import Batcher
from service.engine.device import open_device
from service.engine.queue import Limits
from service.engine.registry import ModelRegistry, choose
from service.formats.sandbox import Sandbox
from service.jobs.lease import ReplicaLease
from service.jobs.manager import JobManager
from service.jobs.repository import JobRepository
from service.runtime.metrics import Metrics
from service.volumes.chunk_cache import ChunkCache
from service.volumes.opener import VolumeOpener
from service.volumes.storage import Storages
from service.volumes.uploads import UploadStore

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
    registry = ModelRegistry(Catalogue(settings.weights), device, settings.precision, settings.reproduction_tolerance)
    limits = Limits(
        wait_s=settings.batch_wait_ms / 1e3,
        batch_blocks=settings.max_batch_blocks,
        batch_cells=settings.max_batch_cells or BATCH_CELLS.get(device.place.type),
        queue_cells=settings.max_queue_cells,
    )
    stored = UploadStore(settings.data / "volumes", settings.spare_bytes)
    storages = Storages(stored, settings.data / "scratch", settings)
    repository = JobRepository(settings.data / "jobs.sqlite")
    opener = VolumeOpener(storages, settings.data / "moments", settings)
    return Service(
        settings=settings,
        registry=registry,
        batcher=Batcher(device, limits, metrics, registry.room),
        metrics=metrics,
        sandbox=Sandbox(settings),
        readers=anyio.CapacityLimiter(settings.readers),
        comparers=anyio.CapacityLimiter(settings.max_jobs),
        volumes=stored,
        opener=opener,
        views=ChunkCache(
            opener, settings.data / "views", settings.view_bytes, settings.view_blocks, settings.spare_bytes
        ),
        jobs=JobManager(
            repository,
            ReplicaLease(settings.data / "replicas"),
            settings.max_jobs,
            settings.job_blocks,
            settings.keep_days,
        ),
        places=Places(settings.max_requests, "requests", metrics.open_requests),
        cluster=_cluster(settings.scheduler) if settings.scheduler else None,
    )


def _cluster(scheduler: str) -> Cluster:
    # Dask is large, and most have no cluster.
    from service.jobs.dask_executor import Cluster  # noqa: PLC0415

    return Cluster(scheduler)
