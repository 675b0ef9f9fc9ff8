"""Whole volumes, super-resolved in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator  # noqa: TC003 FastAPI reads annotations
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse

from service.api.auth import REFUSALS, Token, needs
from service.api.dependencies import (
    Service,  # noqa: TC001 FastAPI reads annotations
    ServiceDep,  # noqa: TC001 FastAPI reads annotations
)
from service.api.errors import responses
from service.api.routing import CheckedRoute
from service.api.schemas import Job, Jobs, Order, Report
from service.jobs import repository
from service.problems import Problem

WRITE = [needs("write")]
router = APIRouter(
    prefix="/v1/jobs", tags=["jobs"], dependencies=[needs("read")], responses=REFUSALS, route_class=CheckedRoute
)
# Seconds between two events.
POLL_S = 0.5


async def _find(service: ServiceDep, job: str) -> repository.Job:
    found = await service.in_thread(lambda: service.jobs.repository.get(job))
    if found is None:
        raise Problem("unknown-job", f"there is no job {job}")
    return found


JobDep = Annotated[repository.Job, Depends(_find)]
KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Of the client's own making, new for each order: sent again under its key, an order gives the job "
        "that it gave before.",
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
    ),
]


def _describe(service: Service, job: repository.Job) -> Job:
    progress = service.jobs.as_dict(job)
    if job.state != "running":
        progress = {**progress, "voxels_per_second": None, "seconds_left": None}
    return Job(
        **asdict(job.order),
        **progress,
        id=job.id,
        state=job.state,
        detail=job.detail,
        created=job.created,
        report=None if job.report is None else Report(**job.report),
    )


async def _look(service: Service, job: repository.Job) -> Job:
    now = await service.in_thread(lambda: service.jobs.repository.get(job.id))
    return _describe(service, now or job)


@router.post(
    "",
    status_code=202,
    summary="Order a job",
    responses=responses(400, 403, 404, 409, 422, 502),
)
async def post_jobs(
    service: ServiceDep, order: Order, token: Annotated[Token, needs("write")], key: KeyHeader = None
) -> Job:
    """Super-resolve a volume into another one, in the background; the target can be read while it fills.

    Volumes are stored ones by name, or `s3://bucket/path` in buckets that the service may use. A target that is this
    very volume, begun by an earlier job, is completed; nothing else is overwritten. With a `reference`, the answer is
    compared with it block by block, as `POST /v1/validate` does it for volumes that fit into memory; the job's `report`
    has the metrics, and without a `target` nothing else is kept.
    """
    # Keys of one client are none of another.
    own = None if key is None else f"{token.name} {key}"
    job = await service.jobs.submit(service, repository.JobSpec(**order.model_dump()), own)
    return _describe(service, job)


@router.get("", summary="List the jobs")
async def get_jobs(service: ServiceDep) -> Jobs:
    """All jobs, the newest first."""
    jobs = await service.in_thread(service.jobs.repository.all)
    return Jobs(jobs=[_describe(service, job) for job in jobs])


@router.get("/{job}", summary="Tell how far a job is", responses=responses(404, 422))
async def get_job(service: ServiceDep, job: JobDep) -> Job:
    """How far a job is, how fast, and how long it still takes."""
    return _describe(service, job)


@router.get(
    "/{job}/events",
    summary="Watch a job",
    response_class=EventSourceResponse,
    responses=responses(404, 422),
)
async def get_events(service: ServiceDep, job: JobDep) -> AsyncIterator[Job]:
    """The job twice a second as server-sent events, the last when it has ended."""
    while True:
        now = await _look(service, job)
        yield now
        if now.state in repository.ENDED or service.leaving:
            return
        await asyncio.sleep(POLL_S)


@router.post("/{job}/cancel", summary="Cancel a job", dependencies=WRITE, responses=responses(404, 422))
async def post_cancel(service: ServiceDep, job: JobDep) -> Job:
    """Stop a job; what is done stays, and the job can be resumed."""
    await service.jobs.cancel(service, job)
    return await _look(service, job)


@router.post(
    "/{job}/resume",
    status_code=202,
    summary="Resume a job",
    dependencies=WRITE,
    responses=responses(404, 409, 422),
)
async def post_resume(service: ServiceDep, job: JobDep) -> Job:
    """Go on with a job that failed or was cancelled; blocks that are done are not computed again."""
    await service.jobs.resume(service, job)
    return await _look(service, job)
