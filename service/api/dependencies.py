"""Dependencies of routes: the parts of the service, slots, and common parameters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Query, Request

from models.blocks import Boundaries
from models.catalogue import DEFAULT, Card
from service.formats.boundaries import read_boundary
from service.formats.names import Naming
from service.problems import invalid_field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi.dependencies.models import Dependant

    from service.api.fairness import Slots
    from service.engine.engine import Engine
    from service.engine.forecasts import Forecasts
    from service.formats.sandbox import Sandbox
    from service.jobs.manager import JobManager
    from service.runtime.lifecycle import Lifecycle
    from service.runtime.metrics import Metrics
    from service.runtime.threads import Threads
    from service.settings import Settings
    from service.volumes.chunk_cache import ChunkCache
    from service.volumes.opener import VolumeOpener
    from service.volumes.parts import PartReader
    from service.volumes.uploads import UploadStore


@dataclass
class Services:
    """The parts of the service that routes use.

    Attributes:
        settings: of the service.
        lifecycle: whether it can compute.
        metrics: for Prometheus.
        threads: for work that would block the event loop.
        view_threads: for opening views.
        body_threads: for reading bodies and writing answers.
        discovery_threads: for discoveries, one at a time, as each takes the CPU for long.
        engine: computes.
        forecasts: computes forecasts, on the engine's device.
        sandbox: reads bodies.
        uploads: stored volumes.
        opener: opens them, and views of them.
        chunk_cache: chunks of views.
        parts: parts of views for pictures.
        jobs: computes in the background.
        slots: slots for requests that hold a volume.
        streams: slots for event streams.
        discoveries: slots for discoveries that are computed or wait.
    """

    settings: Settings
    lifecycle: Lifecycle
    metrics: Metrics
    threads: Threads
    view_threads: Threads
    body_threads: Threads
    discovery_threads: Threads
    engine: Engine
    forecasts: Forecasts
    sandbox: Sandbox
    uploads: UploadStore
    opener: VolumeOpener
    chunk_cache: ChunkCache
    parts: PartReader
    jobs: JobManager
    slots: Slots
    streams: Slots
    discoveries: Slots


# Dependencies that neither wait nor compute are async: FastAPI runs others in threads, which takes longer than they do.
async def get_services(request: Request) -> Services:
    """The parts of the service that a request came to."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


async def check_query(request: Request) -> None:
    """Refuse (422) parameters of the query that the route does not have, or that come twice: they would be ignored."""
    known = _query_of(request.scope["route"].dependant)
    for name, number in Counter(key for key, _ in request.query_params.multi_items()).items():
        if name not in known:
            raise invalid_field(field=name, value="unknown", expected=", ".join(known) or "no parameters")
        if number > 1:
            raise invalid_field(field=name, value=f"{number} times", expected="once")


def _query_of(dependant: Dependant) -> list[str]:
    """Names of the parameters of the query that a route and its dependencies take."""
    own = [field.alias for field in dependant.query_params]
    return list(dict.fromkeys([*own, *(name for each in dependant.dependencies for name in _query_of(each))]))


async def admit(request: Request, services: ServicesDep) -> AsyncIterator[None]:
    """Take a slot for a request until its answer has been sent.

    Raises:
        Problem: "unready" until a model is loaded, "busy" if all slots, or those of this client, are taken.
    """
    services.lifecycle.require_ready()
    with services.slots.take(request.state.client):
        yield


async def admit_stream(request: Request, services: ServicesDep) -> AsyncIterator[None]:
    """Take a slot for an event stream, and give back the client's turn, which it would hold for long.

    Raises:
        Problem: "busy" if all slots, or those of this client, are taken.
    """
    with services.streams.take(request.state.client):
        await request.state.turn.aclose()
        yield


ErrorQuery = Annotated[
    bool,
    Query(
        description="Whether to answer the expected absolute error of each fine cell too, the mean over the "
        "components of the velocity; for models whose card has an `uncertainty`."
    ),
]
ModelQuery = Annotated[
    str | None,
    Query(
        description=f"Name of a model, as in `/v1/models`; if unset, `{DEFAULT}` answers.", examples=["trilinear-x4"]
    ),
]


def _card_of_query(services: ServicesDep, model: ModelQuery = None, *, error: ErrorQuery = False) -> Card:
    return services.engine.registry.find(model, error=error)


def _card_with_error(services: ServicesDep, model: ModelQuery = None) -> Card:
    return services.engine.registry.find(model, error=True)


async def _boundary_of_query(
    boundary: Annotated[
        str | None,
        Query(
            description=(
                "What lies beyond the ends of the volume: `periodic`, `wall` (no slip, half a cell beyond the last "
                "centre), a wall that moves such as `wall:u=-1..1`, or `open`, for all axes or one per axis in z, y, x "
                "order: `periodic,wall,periodic`. If unset, the attribute `boundary` of the volume says, or else the "
                "model's card. What contradicts the card is answered with a warning."
            ),
            examples=["periodic"],
        ),
    ] = None,
) -> Boundaries | None:
    return read_boundary(boundary)


async def _naming_of_query(
    names: Annotated[
        str | None,
        Query(
            description="The service's names of variables and dims, by those of the volume: `Ux:u,Uy:v,Uz:w,lev:z`. "
            "The answer has the volume's.",
            examples=["Ux:u,Uy:v,Uz:w"],
        ),
    ] = None,
    drop: Annotated[
        str | None,
        Query(description="Variables that are left out, joined by commas: `p,T`.", examples=["p"]),
    ] = None,
) -> Naming:
    return Naming.parse(names, drop)


QueryCard = Annotated[Card, Depends(_card_of_query)]
PredictingCard = Annotated[Card, Depends(_card_with_error)]
BoundaryDep = Annotated[Boundaries | None, Depends(_boundary_of_query)]
NamingDep = Annotated[Naming, Depends(_naming_of_query)]
