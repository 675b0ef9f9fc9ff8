"""Jobs: whole volumes, super-resolved in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator  # noqa: TC003 FastAPI reads annotations
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.sse import EventSourceResponse
from pydantic import ValidationError

from service.api.auth import REFUSALS, Token, needs
from service.api.dependencies import Services, ServicesDep, admit_stream
from service.api.discovery_schemas import Discovery
from service.api.errors import responses
from service.api.routing import CheckedRoute
from service.api.schemas import Job, Jobs, Report
from service.jobs import repository
from service.jobs.spec import JobSpec  # noqa: TC001 FastAPI reads annotations
from service.problems import Problem

WRITE = [needs("write")]
router = APIRouter(
    prefix="/v1/jobs", tags=["jobs"], dependencies=[needs("read")], responses=REFUSALS, route_class=CheckedRoute
)
# Most jobs that a list can be limited to.
MOST_LISTED = 1_000_000
# Seconds between two events.
POLL_S = 0.5


async def _find(services: ServicesDep, job: str) -> repository.Job:
    found = await services.threads.run(services.jobs.repository.get, job)
    if found is None:
        raise Problem("unknown-job", f"there is no job {job}")
    return found


JobDep = Annotated[repository.Job, Depends(_find)]
KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Chosen by the client, new for each job: the same request with the same key gives the same job.",
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
    ),
]


def _describe(services: Services, job: repository.Job) -> Job:
    progress = services.jobs.progress_of(job)
    if job.state != "running":
        progress = {**progress, "voxels_per_second": None, "seconds_left": None}
    return Job(
        **job.spec.model_dump(),
        **progress,
        id=job.id,
        state=job.state,
        detail=job.detail,
        created=job.created,
        report=_report(job),
    )


def _report(job: repository.Job) -> Report | Discovery | None:
    """The report of a job; None before it has one, or if a service of another version wrote it."""
    kind = Discovery if job.spec.task == "discover" else Report
    with suppress(ValidationError):
        return kind.model_validate(job.report)
    return None


async def _current(services: Services, job: repository.Job) -> Job:
    now = await services.threads.run(services.jobs.repository.get, job.id)
    return _describe(services, now or job)


@router.post(
    "",
    status_code=202,
    summary="Submit a job",
    responses=responses(400, 403, 404, 409, 413, 422, 502),
)
async def post_jobs(
    services: ServicesDep, spec: JobSpec, token: Annotated[Token, needs("write")], key: KeyHeader = None
) -> Job:
    """Super-resolve a volume into another one, in the background; the target can be read while it fills.

    Volumes are stored ones by name, or `s3://bucket/path` in buckets that the service may use. A target that is this
    very volume, begun by an earlier job, is completed; nothing else is overwritten. With a `reference`, the answer is
    compared with it block by block, as `POST /v1/validate` does it for volumes that fit into memory; the job's `report`
    has the metrics, and without a `target` nothing else is kept, unless the job fails or is cancelled: then what it has
    computed stays for as long as it can be resumed.

    With the task `discover`, the `report` has the symmetries that the map from `source` to `reference` keeps, as
    `POST /v1/discover` finds them: each time of the two is a pair (X, Y) of velocities or, by `x_kind` and `y_kind`, of
    scalars. A stopped job continues after its last step.
    """
    if spec.model is None and spec.task == "upscale":
        name = await services.threads.run(lambda: services.engine.registry.default_name)
        spec = spec.model_copy(update={"model": name})
    # Each client has keys of its own.
    job = await services.jobs.submit(spec, f"{token.name} {key}" if key else None)
    return _describe(services, job)


@router.get("", summary="List the jobs", response_model=Jobs, responses=responses(422))
async def get_jobs(
    services: ServicesDep,
    limit: Annotated[
        int | None, Query(description="Number of the newest jobs; all if left out.", ge=1, le=MOST_LISTED)
    ] = None,
) -> Response:
    """Jobs, the newest first. With a limit, those that have not ended are also told if they are older."""

    def describe() -> str:
        return Jobs(jobs=[_describe(services, job) for job in services.jobs.repository.all(limit)]).model_dump_json()

    # FastAPI would write thousands of reports in the event loop.
    return Response(await services.threads.run(describe), media_type="application/json")


@router.get("/{job}", summary="Show the progress of a job", responses=responses(404, 422))
async def get_job(services: ServicesDep, job: JobDep) -> Job:
    """A job, its progress, its speed and the time that is left."""
    return _describe(services, job)


@router.get(
    "/{job}/events",
    summary="Watch a job",
    response_class=EventSourceResponse,
    dependencies=[Depends(admit_stream)],
    responses=responses(404, 422),
)
async def get_events(services: ServicesDep, job: JobDep) -> AsyncIterator[Job]:
    """The job twice a second as server-sent events; the last one is sent when it has ended."""
    while True:
        now = await _current(services, job)
        yield now
        if now.state in repository.ENDED or services.lifecycle.leaving:
            return
        await asyncio.sleep(POLL_S)


@router.post("/{job}/cancel", summary="Cancel a job", dependencies=WRITE, responses=responses(404, 422))
async def post_cancel(services: ServicesDep, job: JobDep) -> Job:
    """Stop a job; what is done stays, and the job can be resumed."""
    await services.jobs.cancel(job)
    return await _current(services, job)


@router.post(
    "/{job}/resume",
    status_code=202,
    summary="Resume a job",
    dependencies=WRITE,
    responses=responses(404, 409, 413, 422),
)
async def post_resume(services: ServicesDep, job: JobDep) -> Job:
    """Go on with a job that failed or was cancelled; blocks that are done are not computed again."""
    await services.jobs.resume(job)
    return await _current(services, job)
