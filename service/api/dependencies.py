"""What routes are given: the service's parts, and a place for one more request."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

import anyio.to_thread
from fastapi import Depends, Query, Request

from models.blocks import BOUNDARIES, Boundaries, parse_boundary
from models.catalogue import Card
from service.engine.registry import find_card
from service.problems import invalid_field, unready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from service.api.fairness import Places
    from service.engine.batcher import Batcher
    from service.engine.registry import ModelRegistry
    from service.formats.sandbox import Sandbox
    from service.jobs.dask_executor import Cluster
    from service.jobs.manager import JobManager
    from service.runtime.metrics import Metrics
    from service.settings import Settings
    from service.volumes.chunk_cache import ChunkCache
    from service.volumes.opener import VolumeOpener
    from service.volumes.uploads import UploadStore


Result = TypeVar("Result")


@dataclass
class Service:
    """The parts of a running service.

    Attributes:
        settings: as it was started.
        registry: models.
        batcher: what computes.
        metrics: what is told to Prometheus.
        sandbox: what reads bodies.
        readers: places for threads that read, write and measure.
        comparers: places for threads that compare stored volumes.
        volumes: what was sent to stay.
        opener: what of them is open.
        views: what is looked at.
        jobs: what is computed in the background.
        places: for requests that hold a volume.
        cluster: what computes blocks of jobs, if it is not this process.
        warm: whether models have been loaded.
        leaving: whether it is about to end, and admits nothing.
    """

    settings: Settings
    registry: ModelRegistry
    batcher: Batcher
    metrics: Metrics
    sandbox: Sandbox
    readers: anyio.CapacityLimiter
    comparers: anyio.CapacityLimiter
    volumes: UploadStore
    opener: VolumeOpener
    views: ChunkCache
    jobs: JobManager
    places: Places
    cluster: Cluster | None = None
    warm: bool = False
    leaving: bool = False

    @property
    def ready(self) -> bool:
        """Whether it can compute."""
        return self.warm and self.batcher.alive and not self.leaving

    def require_ready(self) -> None:
        """Refuse (503) what cannot be computed now."""
        if not self.ready:
            self.require_staying()
            detail = "the models are not warm yet"
            raise unready(detail, self.registry.seconds_left)

    def require_staying(self) -> None:
        """Refuse (503) what another service, or the next one, had better do."""
        if self.leaving:
            detail = "the service is shutting down"
            raise unready(detail)

    async def leave(self) -> None:
        """Admit nothing from now on, and hand jobs back; what was admitted is finished."""
        self.leaving = True
        self.metrics.ready.set(0)
        await self.jobs.close()

    async def in_thread(
        self,
        function: Callable[[], Result],
        limiter: anyio.CapacityLimiter | None = None,
        stopped: threading.Event | None = None,
    ) -> Result:
        """Run what takes long and does not need the device beside the event loop.

        A thread cannot be stopped: if this is cancelled after it began, it is waited for, so that nothing goes on
        behind anyone's back. What takes very long looks at an event now and then, which is set then.
        """
        starting, begun, given_up = threading.Lock(), False, False

        def run() -> Result:
            nonlocal begun
            with starting:
                if given_up:
                    raise asyncio.CancelledError
                begun = True
            return function()

        task = asyncio.ensure_future(anyio.to_thread.run_sync(run, limiter=limiter or self.readers))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if stopped:
                stopped.set()
            with starting:
                given_up = not begun
            if given_up:
                task.cancel()
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # nobody is left to hear of it
            raise


def get_service(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(get_service)]


async def admit(request: Request, service: ServiceDep) -> AsyncIterator[None]:
    """Take a place for a request until its answer has been sent.

    Raises:
        Problem: 503 until the models are warm, 429 if all places, or those of this client, are taken.
    """
    service.require_ready()
    with service.places.take(request.state.client):
        yield


def _card_of_query(
    service: ServiceDep,
    model: Annotated[str, Query(description="Name of a model, as in `/v1/models`.", examples=["trilinear-x4"])],
) -> Card:
    return find_card(model, service)


def _boundaries(
    boundary: Annotated[
        str,
        Query(
            description=(
                "What lies beyond the ends of the volume: `periodic`, `wall` (no slip, half a cell beyond the last "
                "centre) or `open`, for all axes or one per axis in z, y, x order: `periodic,wall,periodic`."
            ),
            examples=["periodic"],
        ),
    ] = "periodic",
) -> Boundaries:
    try:
        return parse_boundary(boundary)
    except ValueError as error:
        names = ", ".join(BOUNDARIES)
        raise invalid_field(
            field="boundary", value=boundary, expected=f"one of {names}, or three of them for z, y, x joined by commas"
        ) from error


QueryCard = Annotated[Card, Depends(_card_of_query)]
BoundariesDep = Annotated[Boundaries, Depends(_boundaries)]
