"""Commands about jobs."""

from typing import Annotated

import typer

from eddylift import _display
from eddylift.cli import _completion
from eddylift.cli._session import (
    LOCAL,
    PATIENCE,
    Boundary,
    Error,
    Json,
    Model,
    Names,
    Timeout,
    Token,
    Url,
    parse_names,
    session,
    show,
)


def submit(  # noqa: PLR0913 one an option
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Volume to read: a stored one, or s3://bucket/path.")],
    target: Annotated[
        str | None, typer.Argument(metavar="TARGET", help="Volume to write; optional with --reference.")
    ] = None,
    *,
    model: Model = None,
    boundary: Boundary = None,
    reference: Annotated[
        str | None, typer.Option("--reference", "-r", help="True fine volume, to compare the answer with.")
    ] = None,
    names: Names = None,
    error: Error = False,
    url: Url = LOCAL,
    token: Token = None,
    timeout: Timeout = PATIENCE,
    as_json: Json = False,
) -> None:
    """Submit a job: make a whole volume finer in the background, or compare the answer with the true volume."""
    with session(url, token, timeout, as_json=as_json) as (client, _):
        called = parse_names(names)
        job = client.submit(
            source, target, model=model, boundary=boundary, reference=reference, names=called, error=error
        )
    show(job.status, _display.jobs_table([job.status]), as_json=as_json)


def jobs(*, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False) -> None:
    """List the jobs of the service."""
    with session(url, token, timeout, as_json=as_json) as (client, _):
        found = [job.status for job in client.jobs()]
    show(found, _display.jobs_table(found), as_json=as_json)


JobId = Annotated[
    str,
    typer.Argument(metavar="JOB", autocompletion=_completion.jobs, help="Id of the job, as `eddylift jobs` lists it."),
]


def watch(
    job: JobId, *, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False
) -> None:
    """Wait until a job is done, and show its progress. Exit code 1 if it fails; Ctrl-C leaves it running."""
    with session(url, token, timeout, as_json=as_json) as (client, bars), bars:
        status = client.job(job).wait(progress=bars)
    show(status, _display.job_result(status), as_json=as_json)


def cancel(
    job: JobId, *, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False
) -> None:
    """Cancel a job. Blocks that are done are kept."""
    with session(url, token, timeout, as_json=as_json) as (client, _):
        status = client.job(job).cancel()
    show(status, _display.jobs_table([status]), as_json=as_json)


def resume(
    job: JobId, *, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False
) -> None:
    """Resume a job that failed or was cancelled."""
    with session(url, token, timeout, as_json=as_json) as (client, _):
        status = client.job(job).resume()
    show(status, _display.jobs_table([status]), as_json=as_json)
