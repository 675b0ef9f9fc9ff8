"""Jobs of the service, as objects."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from anyio import sleep

from eddylift import _calls
from eddylift._errors import JobError, warn
from eddylift._progress import Progress
from eddylift._reporting import reporting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    from eddylift._calls import Call
    from eddylift._job_status import JobStatus
    from eddylift._progress import ProgressCallback, Stage

# Seconds between two requests for a job's status.
POLL_S = 0.5
STAGES: dict[str, Stage] = {"computing": "compute", "comparing": "compare", "discovering": "discover"}


def _is_done(status: JobStatus, report: ProgressCallback) -> bool:
    """Report the progress of a job, and return whether it is done.

    Raises:
        JobError: if it failed or was cancelled.
    """
    if status.blocks is not None:
        report(Progress(STAGES[status.stage], status.blocks_done, status.blocks))
    if status.state in {"failed", "cancelled"}:
        detail = status.detail or "it was cancelled"
        message = f"job {status.id} {status.state}: {detail}"
        raise JobError(message, status)
    return status.state == "done"


class _Job:
    """What `Job` and `AsyncJob` share."""

    def __init__(self, status: JobStatus, *, quiet: bool) -> None:
        self._told: set[str] = set()
        self.status = status
        if not quiet:
            self._update(status)

    def _update(self, status: JobStatus) -> JobStatus:
        """Keep a status, and issue its warnings, each once."""
        self.status = status
        report: Mapping[str, Any] = status.report or {}
        for message in (*status.get("warnings", ()), *report.get("warnings", ())):
            if message not in self._told:
                self._told.add(message)
                warn(message)
        return status

    def __repr__(self) -> str:
        """Show the job and its latest status."""
        status = self.status
        blocks = "" if status.blocks is None else f", {status.blocks_done} of {status.blocks} blocks"
        what = f"{status.source} to {status.target} by {status.model}"
        if status.task == "discover":
            what = f"symmetries of {status.source} to {status.reference}"
        return f"{type(self).__name__}({status.id!r}: {what}, {status.state}{blocks})"

    def _repr_html_(self) -> str:
        return self.status._repr_html_()

    @property
    def id(self) -> str:
        """Id of the job."""
        return self.status.id


class Job(_Job):
    """A job, as `Client.submit` and `Client.job` return it.

    Args:
        send: sends a call to the service and returns its result.
        status: status of the job.
        quiet: whether to keep its warnings until it is asked for again.

    Attributes:
        id: id of the job.
        status: latest status that the service sent.
    """

    def __init__(self, send: Callable[[Call[JobStatus]], JobStatus], status: JobStatus, *, quiet: bool = False) -> None:
        super().__init__(status, quiet=quiet)
        self._send = send

    def refresh(self) -> JobStatus:
        """Ask the service for the status."""
        return self._update(self._send(_calls.job(self.id)))

    def wait(self, *, progress: ProgressCallback | bool | None = None) -> JobStatus:
        """Wait until it is done. Interrupting the wait leaves the job running.

        Args:
            progress: called as blocks are done; True shows a bar.

        Raises:
            JobError: if it failed or was cancelled.
        """
        with reporting(progress) as report:
            while not _is_done(self.refresh(), report):
                time.sleep(POLL_S)
        return self.status

    def cancel(self) -> JobStatus:
        """Cancel the job. Blocks that are done are kept."""
        return self._update(self._send(_calls.cancel(self.id)))

    def resume(self) -> JobStatus:
        """Resume the job after a failure or a cancellation."""
        return self._update(self._send(_calls.resume(self.id)))


class AsyncJob(_Job):
    """A job, for asynchronous programs; see `Job`.

    Args:
        send: as for `Job`, but awaited.
        status: as for `Job`.
        quiet: as for `Job`.
    """

    def __init__(
        self, send: Callable[[Call[JobStatus]], Awaitable[JobStatus]], status: JobStatus, *, quiet: bool = False
    ) -> None:
        super().__init__(status, quiet=quiet)
        self._send = send

    async def refresh(self) -> JobStatus:
        """See `Job.refresh`."""
        return self._update(await self._send(_calls.job(self.id)))

    async def wait(self, *, progress: ProgressCallback | bool | None = None) -> JobStatus:
        """See `Job.wait`."""
        with reporting(progress) as report:
            while not _is_done(await self.refresh(), report):  # noqa: ASYNC110 the event is elsewhere
                await sleep(POLL_S)
        return self.status

    async def cancel(self) -> JobStatus:
        """See `Job.cancel`."""
        return self._update(await self._send(_calls.cancel(self.id)))

    async def resume(self) -> JobStatus:
        """See `Job.resume`."""
        return self._update(await self._send(_calls.resume(self.id)))
