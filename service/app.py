"""The composition root: every part is built here from the settings, and given the parts that it uses.

A request goes down through the rooms in this order: `api`, `jobs`, `volumes`, `engine`, `formats`, `runtime`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from models.forecasting.catalogue import ForecastCatalogue
from service.api import errors
from service.api.auth import Access
from service.api.dependencies import Services, check_query
from service.api.fairness import SharedThreads, Slots
from service.api.middleware import AccessMiddleware, TelemetryMiddleware
from service.api.routes import (
    check,
    discover,
    forecast,
    health,
    jobs,
    models,
    page,
    samples,
    slices,
    upscale,
    validate,
    velocity,
    views,
    volumes,
)
from service.engine.engine import build_engine, limit_threads
from service.engine.forecasts import Forecasts
from service.formats.sandbox import Sandbox
from service.jobs.executor import LocalExecutor
from service.jobs.lease import ReplicaLease
from service.jobs.manager import JobManager
from service.jobs.repository import JobRepository
from service.jobs.runner import JobRunner
from service.jobs.tidying import Tidier
from service.problems import Problem
from service.runtime.lifecycle import Lifecycle
from service.runtime.metrics import Metrics, StateCollector
from service.runtime.threads import Threads
from service.volumes.blocks import BlockComputer
from service.volumes.chunk_cache import ChunkCache, DiskCache
from service.volumes.opener import build_opener
from service.volumes.parts import PartReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi.telemetry import TelemetryConfig

    from service.jobs.executor import Executor
    from service.settings import Settings


logger = logging.getLogger("service")
# Seconds between two tries to load a first model.
RETRY_S: Final = 1.0
# Largest number of discoveries at a time; one is computed, the others wait.
DISCOVERIES: Final = 4
# Only traces: Prometheus collects the metrics, and logs go to one place.
TELEMETRY: Final[TelemetryConfig] = {"auto_configure": True, "metrics": False, "logs": False}

DESCRIPTION = """
Coarse turbulent velocity in, fine velocity out: two or four times as fine, by the factor of the model.

Send a volume to `/v1/upscale`; see `/v1/models` for what can be done to it, and how well. Errors are problem documents
(RFC 9457) whose `errors` name the field, its value and what was expected.
"""


def build(settings: Settings) -> Services:
    """Build all parts; nothing runs yet."""
    metrics = Metrics()
    # Each kind of work has threads of its own, so that no kind waits for another; clients share those for requests.
    threads, view_threads, body_threads = (SharedThreads(settings.readers) for _ in range(3))
    job_threads, engine_threads = Threads(settings.readers), Threads(settings.readers)
    engine = build_engine(settings, metrics, engine_threads)
    lifecycle = Lifecycle(metrics, alive=lambda: engine.batcher.alive)
    opener = build_opener(settings, engine.registry)
    kept = DiskCache(settings.data / "views", settings.view_bytes, settings.spare_bytes)
    chunk_cache = ChunkCache(BlockComputer(engine, view_threads), kept, view_threads, settings.region)
    executor = _build_executor(settings, BlockComputer(engine, job_threads), job_threads)
    repository = JobRepository(settings.data / "jobs.sqlite")
    runner = JobRunner(
        settings,
        repository=repository,
        registry=engine.registry,
        opener=opener,
        executor=executor,
        lifecycle=lifecycle,
        threads=job_threads,
        metrics=metrics,
    )
    lease = ReplicaLease(settings.data / "replicas")
    manager = JobManager(
        repository,
        lease,
        runner,
        Tidier(repository, lease, opener.storages, settings.keep_days),
        storages=opener.storages,
        lifecycle=lifecycle,
        threads=job_threads,
        most=settings.max_queued_jobs,
    )
    lifecycle.on_leave.append(manager.close)
    collector = StateCollector(
        jobs=repository.count,
        blocks=lambda: {"view": chunk_cache.computed, "job": executor.computed},
        device=engine.registry.device.place,
    )
    metrics.registry.register(collector)
    return Services(
        settings=settings,
        lifecycle=lifecycle,
        metrics=metrics,
        threads=threads,
        view_threads=view_threads,
        body_threads=body_threads,
        discovery_threads=Threads(1),
        engine=engine,
        forecasts=Forecasts(ForecastCatalogue(settings.weights), engine),
        sandbox=Sandbox(settings),
        uploads=opener.storages.volumes,
        opener=opener,
        chunk_cache=chunk_cache,
        parts=PartReader(chunk_cache, view_threads),
        jobs=manager,
        slots=Slots(settings.max_requests, "requests", metrics.open_requests),
        streams=Slots(settings.max_event_streams, "event streams", metrics.event_streams),
        discoveries=Slots(DISCOVERIES, "discoveries", metrics.discoveries),
    )


def _build_executor(settings: Settings, blocks: BlockComputer, threads: Threads) -> Executor:
    if not settings.scheduler:
        return LocalExecutor(blocks, threads)
    # Dask is large, and few have a cluster.
    from service.jobs.dask_executor import DaskExecutor  # noqa: PLC0415

    return DaskExecutor(settings.scheduler)


@asynccontextmanager
async def _running(services: Services) -> AsyncIterator[None]:
    """Run the service. It is ready as soon as the first model is loaded; the others follow."""
    loop = asyncio.get_running_loop()
    engine, lifecycle, ending = services.engine, services.lifecycle, threading.Event()

    def load() -> None:
        limit_threads(services.settings)
        loaded = False
        while not loaded:
            try:
                for _ in engine.registry.warm():
                    if ending.is_set():
                        return
                    loaded = True
                    loop.call_soon_threadsafe(lifecycle.started)
            except Problem as problem:
                lifecycle.delay = problem.detail
                logger.warning("no model is loaded yet: %s", problem)
            if not loaded and ending.wait(RETRY_S):
                return
        with suppress(Problem):  # the first body starts one then
            services.sandbox.warm()

    engine.batcher.start(lambda: limit_threads(services.settings))
    loader = threading.Thread(target=load, name="loader", daemon=True)
    loader.start()
    services.jobs.start()
    try:
        yield
    finally:
        ending.set()
        lifecycle.stopped()
        await services.jobs.close()
        await services.jobs.runner.executor.close()
        await asyncio.to_thread(loader.join)
        await asyncio.to_thread(engine.batcher.close)
        await asyncio.to_thread(services.sandbox.close)


def create_app(settings: Settings) -> FastAPI:
    """Make an app; it computes between start-up and shut-down of its lifespan.

    Raises:
        TokensError: if the file of tokens cannot be used.
    """
    services = build(settings)
    app = FastAPI(
        title="eddylift",
        version="1",
        description=DESCRIPTION.strip(),
        lifespan=lambda _: _running(services),
        docs_url=None,
        redoc_url=None,
        telemetry=TELEMETRY,
    )
    app.state.services = services
    errors.install(app)
    # Requests pass the middleware added last first.
    access = Access.of(settings.tokens)
    app.add_middleware(AccessMiddleware, access=access, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "HEAD", "PUT", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    app.add_middleware(TelemetryMiddleware, metrics=services.metrics, private=access.tokens is not None)
    # Routers carry their whole prefix, as metrics are labelled by the path of a route.
    for routes in (page, health):  # browsers, probes and scrapers may send parameters of their own
        app.include_router(routes.router)
    for routes in (
        models,
        samples,
        upscale,
        velocity,
        check,
        forecast,
        discover,
        validate,
        volumes,
        slices,
        views,
        jobs,
    ):
        app.include_router(routes.router, dependencies=[Depends(check_query)])
    return app
