"""What routes are given: the parts of the service, and a place for one more request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Query, Request

from models.blocks import BOUNDARIES, Boundaries, parse_boundary
from models.catalogue import Card
from service.problems import invalid_field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from service.api.fairness import Places
    from service.engine.engine import Engine
    from service.formats.sandbox import Sandbox
    from service.jobs.manager import JobManager
    from service.runtime.lifecycle import Lifecycle
    from service.runtime.metrics import Metrics
    from service.runtime.threads import Threads
    from service.settings import Settings
    from service.volumes.chunk_cache import ChunkCache
    from service.volumes.opener import VolumeOpener
    from service.volumes.uploads import UploadStore


@dataclass
class Services:
    """The parts of the service that routes use.

    Attributes:
        settings: as it was started.
        lifecycle: whether it can compute.
        metrics: for Prometheus.
        threads: for what would hold up the event loop.
        body_threads: for reading bodies and writing answers, which may take long.
        engine: computes.
        sandbox: reads bodies.
        uploads: stored volumes.
        opener: opens them, and views of them.
        chunk_cache: chunks of views.
        jobs: what is computed in the background.
        places: for requests that hold a volume.
        streams: places for clients that watch jobs.
    """

    settings: Settings
    lifecycle: Lifecycle
    metrics: Metrics
    threads: Threads
    body_threads: Threads
    engine: Engine
    sandbox: Sandbox
    uploads: UploadStore
    opener: VolumeOpener
    chunk_cache: ChunkCache
    jobs: JobManager
    places: Places
    streams: Places


def get_services(request: Request) -> Services:
    """The parts of the service that a request came to."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


async def admit(request: Request, services: ServicesDep) -> AsyncIterator[None]:
    """Take a place for a request until its answer has been sent.

    Raises:
        Problem: "unready" until a model is loaded, "busy" if all places, or those of this client, are taken.
    """
    services.lifecycle.require_ready()
    with services.places.take(request.state.client):
        yield


async def admit_stream(request: Request, services: ServicesDep) -> AsyncIterator[None]:
    """Take a place for a stream of events instead of one of the client's turns, which it would hold for long.

    Raises:
        Problem: "busy" if all places, or those of this client, are taken.
    """
    with services.streams.take(request.state.client):
        await request.state.turn.aclose()
        yield


def _card_of_query(
    services: ServicesDep,
    model: Annotated[str, Query(description="Name of a model, as in `/v1/models`.", examples=["trilinear-x4"])],
) -> Card:
    return services.engine.registry.card(model)


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
