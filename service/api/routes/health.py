"""Health and metrics of the service."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.api.auth import REFUSALS, bearer, needs
from service.api.dependencies import ServicesDep  # noqa: TC001 FastAPI reads annotations
from service.api.errors import responses
from service.api.schemas import Health
from service.problems import unready
from service.volumes.files import why_unwritable

router = APIRouter(tags=["health"])


# Load balancers and monitors ask by HEAD.
@router.head("/health/live", include_in_schema=False)
@router.get("/health/live", summary="Is the service alive?", responses=responses(503))
async def get_live(services: ServicesDep) -> Health:
    """200 while the thread that computes is alive; 503 means that the service must be restarted."""
    if not services.engine.batcher.alive:
        detail = "the thread that computes has ended"
        raise unready(detail)
    return Health(status="alive")


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready", summary="Is the service ready?", responses=responses(503))
async def get_ready(request: Request, services: ServicesDep) -> Health:
    """200 once a model is loaded. Clients that may read also see which models can be served, and why others cannot.

    The other models are loaded meanwhile, or when they are first asked for. The answer also says whether the data
    folder or the list of jobs cannot be used; what needs neither is served all the same.
    """
    services.lifecycle.require_ready()
    if bearer(request) is None:
        return Health(status="ready")
    registry, forecasts = services.engine.registry, services.forecasts
    names = await asyncio.to_thread(registry.names)  # services.threads may be busy for long
    await asyncio.to_thread(forecasts.cards)  # nothing else reads them before they are asked for
    return Health(
        status="ready",
        models=[name for name in names if name not in registry.failures],
        failures={**forecasts.failures, **registry.failures},
        precisions={**registry.precisions},
        warnings=registry.warnings,
        jobs=services.jobs.failure,
        data=await asyncio.to_thread(why_unwritable, services.settings.data),
    )


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    dependencies=[needs("admin")],
    responses=REFUSALS,
)
def get_metrics(services: ServicesDep) -> Response:
    """Requests, queue, batches, time on the device, voxels and errors, in Prometheus's text format."""
    return Response(generate_latest(services.metrics.registry), media_type=CONTENT_TYPE_LATEST)
