"""Commands about jobs."""

from typing import Annotated

import typer

from eddylift import _display
from eddylift.cli import _completion
from eddylift.cli._session import Boundary, Drop, Error, Model, Names, Session, connected


@connected()
def submit(  # noqa: PLR0913 arguments are options
    session: Session,
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
    drop: Drop = None,
    error: Error = False,
) -> None:
    """Submit a job: make a whole volume finer in the background, or compare the answer with the true volume."""
    job = session.client.submit(
        source, target, model=model, boundary=boundary, reference=reference, names=names, drop=drop, error=error
    )
    session.show(job.status, _display.jobs_table([job.status]))


@connected()
def jobs(session: Session) -> None:
    """List the jobs of the service."""
    found = [job.status for job in session.client.jobs()]
    session.show(found, _display.jobs_table(found))


JobId = Annotated[
    str,
    typer.Argument(metavar="JOB", autocompletion=_completion.jobs, help="Id of the job, as `eddylift jobs` lists it."),
]


@connected()
def watch(session: Session, job: JobId) -> None:
    """Wait until a job is done, and show its progress. Exit code 1 if it fails; Ctrl-C leaves it running."""
    with session.bars as bars:
        status = session.client.job(job).wait(progress=bars)
    session.show(status, _display.job_result(status))


@connected()
def cancel(session: Session, job: JobId) -> None:
    """Cancel a job. Blocks that are done are kept."""
    status = session.client.job(job).cancel()
    session.show(status, _display.jobs_table([status]))


@connected()
def resume(session: Session, job: JobId) -> None:
    """Resume a job that failed or was cancelled."""
    status = session.client.job(job).resume()
    session.show(status, _display.jobs_table([status]))
