"""Jobs: stored volumes super-resolved into others, or compared with what is true, whatever happens in between."""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from service.jobs.compare import compare
from service.jobs.executor import RETRY_S
from service.jobs.fill import fill, require_still
from service.jobs.orders import check, look, reference_of
from service.jobs.progress import Progress
from service.problems import Problem, invalid_field
from service.volumes.files import PART, is_stale
from service.volumes.storage import inside

if TYPE_CHECKING:
    from service.api.dependencies import Service
    from service.jobs.lease import ReplicaLease
    from service.jobs.repository import Job, JobRepository, JobSpec, State
    from service.volumes.storage import Storage, Storages


logger = logging.getLogger("service.jobs")
# Seconds between two looks at the list of jobs.
POLL_S: Final = 1.0
TIDY_S: Final = 3600.0


class JobManager:
    """What runs, and what waits to.

    Services that share the list do a job each, and what one leaves another takes up.

    Args:
        repository: the list of jobs.
        lease: this service among those that share the list.
        limit: jobs that run at a time.
        ahead: blocks of a job that each worker reads, computes and writes at a time.
        keep_days: for which a job that has ended stays on the list.
    """

    def __init__(
        self, repository: JobRepository, lease: ReplicaLease, limit: int, ahead: int, keep_days: float
    ) -> None:
        self.repository = repository
        self.lease = lease
        self.ahead = ahead
        self.keep_s = keep_days * 86_400
        self.computed = 0
        self._places = asyncio.Semaphore(limit)
        self._claiming = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._progress: dict[str, Progress] = {}
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._watcher: asyncio.Task[None] | None = None

    def start(self, service: Service) -> None:
        """Take up what nobody does, now and from now on; call it in the event loop."""
        self._watcher = asyncio.create_task(self._watch(service), name="jobs")

    async def close(self) -> None:
        """Stop; what is not done is free for others, and taken up at the next start."""
        if self._watcher is None:
            return
        self._watcher.cancel()
        tasks = dict(self._tasks)
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(self._watcher, *tasks.values(), return_exceptions=True)
        self._watcher = None
        await asyncio.to_thread(self._hand_back, list(tasks))

    def _hand_back(self, names: list[str]) -> None:
        try:
            for name in names:
                self.repository.assign(name, None)
        except (OSError, sqlite3.Error):
            logger.exception("jobs cannot be handed back one by one")  # they are nobody's all the same
        finally:
            self.lease.end()

    def as_dict(self, job: Job) -> dict[str, Any]:
        """How far a job is."""
        mine = self._progress.get(job.id)
        return mine.as_dict() if mine else job.progress or Progress().as_dict()

    async def _watch(self, service: Service) -> None:
        """Tell the others how far jobs are, do what they ask, and take up what nobody does."""
        tidied = -math.inf
        while True:
            try:
                if time.monotonic() - tidied > TIDY_S:
                    tidied = time.monotonic()
                    await service.in_thread(lambda: self._tidy(service.opener.storages))
                self._look_after(service, await service.in_thread(self._look))
            except Exception:  # whatever it is, jobs are looked after from then on
                logger.exception("the list of jobs cannot be looked after")
            await asyncio.sleep(POLL_S)

    def _tidy(self, storages: Storages) -> None:
        """Forget jobs that ended long ago, and drop answers that no job needs any more, left by a service's death."""
        if not self.repository.path.exists():
            return
        with self.lease.exclusive():
            self.repository.forget(time.time() - self.keep_s)
            for path in storages.scratch_folder.glob("*"):
                job = self.repository.get(path.name)
                unknown = is_stale(path) if path.name.startswith(PART) else job is None
                if unknown or (job and job.state == "done"):
                    storages.scratch(path.name).drop()

    def _look(self) -> list[Job]:
        """Own jobs that are to be cancelled, and jobs that were nobody's and are taken now."""
        if not self.repository.path.exists():
            return []
        found = []
        with self.lease.exclusive():
            for job in self.repository.unfinished():
                if mine := self._progress.get(job.id):
                    if (progress := mine.as_dict()) != job.progress:
                        self.repository.save_progress(job.id, progress)
                    found += [job] if job.stopping else []
                elif not self._is_alive(job):
                    if job.stopping:
                        self.repository.mark(job.id, "cancelled")
                        continue
                    self.repository.assign(job.id, self.lease.id)
                    found.append(job)
        return found

    def _is_alive(self, job: Job) -> bool:
        """Whether somebody does a job."""
        return job.owner is not None and self.lease.is_alive(job.owner)

    def _look_after(self, service: Service, jobs: list[Job]) -> None:
        for job in jobs:
            if not job.stopping:
                self._launch(service, job)
            elif job.id in self._tasks and job.id not in self._stopping:
                stopping = asyncio.create_task(self.cancel(service, job))
                self._stopping[job.id] = stopping
                stopping.add_done_callback(lambda _, name=job.id: self._stopping.pop(name))  # type: ignore[misc]

    def uses(self, volume: str) -> bool:
        """Whether a job reads or writes a volume, or what lies in it or around it."""
        used = (name for job in self.repository.unfinished() for name in job.order.volumes)
        return any(inside(volume, name) or inside(name, volume) for name in used)

    async def submit(self, service: Service, order: JobSpec, key: str | None = None) -> Job:
        """Put a job in line; an order that is repeated under its key is the job that it was.

        Raises:
            Problem: 404, 400 or 422 if it cannot be done, 403 if it may not be, 409 if the target is something else,
                422 if the key was that of another order, 503 if the service is about to end.
        """

        def prepare() -> tuple[Job, bool]:
            if not self._keyed(order, key):
                check(service, order)  # it may take long, so that others are not kept waiting
            with self.lease.exclusive():
                if known := self._keyed(order, key):
                    return known, False
                self._claim(order)
                return self.repository.add(order, self.lease.id, key), True

        service.require_staying()
        async with self._claiming:
            job, new = await service.in_thread(prepare)
            if new:
                self._launch(service, job)
        return job

    def _keyed(self, order: JobSpec, key: str | None) -> Job | None:
        """The job that was ordered under a key."""
        job = None if key is None else self.repository.keyed(key)
        if job and job.order != order:
            expected = f"another key than that of job {job.id}, which was another order"
            raise invalid_field(field="Idempotency-Key", value="used", expected=expected)
        return job

    async def resume(self, service: Service, job: Job) -> None:
        """Put a job that failed or was cancelled in line again; see ``submit`` for errors."""

        def prepare() -> bool:
            if not self._can_resume(job):
                return False
            check(service, job.order)
            with self.lease.exclusive():
                if not self._can_resume(job):
                    return False
                self._claim(job.order)
                self.repository.assign(job.id, self.lease.id)
                self.repository.mark(job.id, "queued")
                return True

        service.require_staying()
        async with self._claiming:
            if await service.in_thread(prepare):
                self._launch(service, job)

    def _can_resume(self, job: Job) -> bool:
        now = self.repository.get(job.id)
        return now is not None and now.state in {"failed", "cancelled"}

    async def cancel(self, service: Service, job: Job) -> None:
        """Stop a job; blocks that are done stay."""
        if task := self._tasks.get(job.id):
            progress = self._progress[job.id].as_dict()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await service.in_thread(lambda: self.repository.save_progress(job.id, progress))
            await service.in_thread(lambda: self._cancelled(job.id))
            return
        await service.in_thread(lambda: self.repository.stop(job.id))
        # Another replica's: it answers soon, unless it has died.
        while not await service.in_thread(lambda: self._has_stopped(job)):  # noqa: ASYNC110 no event tells
            await asyncio.sleep(POLL_S / 4)

    def _has_stopped(self, job: Job) -> bool:
        """Whether a job has ended; one that is nobody's ends here."""
        with self.lease.exclusive():  # nobody takes it up meanwhile
            now = self.repository.get(job.id)
            if now and not now.ended:
                if self._is_alive(now):
                    return False
                self.repository.mark(job.id, "cancelled")
        return True

    def _cancelled(self, name: str) -> None:
        now = self.repository.get(name)
        if now and not now.ended:
            self.repository.mark(name, "cancelled")

    def _claim(self, order: JobSpec) -> None:
        """See that no job uses the target."""
        if order.target is not None and self.uses(order.target.rstrip("/")):
            raise Problem("taken", f"another job uses {order.target}")

    def _launch(self, service: Service, job: Job) -> None:
        self._progress[job.id] = Progress()
        task = asyncio.create_task(self._run(service, job), name=f"job {job.id}")
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._forget(job, task))

    def _forget(self, job: Job, task: asyncio.Task[None]) -> None:
        if self._tasks.get(job.id) is task:
            del self._tasks[job.id], self._progress[job.id]

    async def _run(self, service: Service, job: Job) -> None:
        async with self._places:
            try:
                while not service.ready:  # noqa: ASYNC110 no event tells
                    await asyncio.sleep(RETRY_S / 10)
                await service.in_thread(lambda: self.repository.mark(job.id, "running"))
                report = await self._do(service, job)
            except Exception as error:  # whatever it is, the job fails and the service goes on
                problem = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                detail = problem.detail if isinstance(problem, Problem) else f"{type(problem).__name__}: {problem}"
                if not isinstance(problem, Problem):
                    logger.exception("job %s failed", job.id)
                await self._settle(service, job, "failed", detail)
            else:
                await self._settle(service, job, "done", report=report)
                await service.in_thread(service.opener.storages.scratch(job.id).drop)

    async def _settle(
        self, service: Service, job: Job, state: State, detail: str | None = None, report: dict[str, Any] | None = None
    ) -> None:
        """Write down how a job ended; a disk that is full is waited for, as a job that nobody ends would never end."""
        while True:
            try:
                await service.in_thread(lambda: self._end(job, state, detail, report))
            except (OSError, sqlite3.Error):
                logger.exception("job %s is %s, which cannot be written down", job.id, state)
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _end(self, job: Job, state: State, detail: str | None = None, report: dict[str, Any] | None = None) -> None:
        self.repository.save_progress(job.id, self._progress[job.id].as_dict())
        self.repository.mark(job.id, state, detail, report)

    async def _do(self, service: Service, job: Job) -> dict[str, Any] | None:
        order, progress = job.order, self._progress[job.id]
        view = await service.in_thread(lambda: look(service, order))
        storages = service.opener.storages
        target: Storage = storages.find(order.target) if order.target is not None else storages.scratch(job.id)
        await fill(service, view, target, progress, self.ahead)
        if order.reference is None:
            return None
        reference = order.reference
        true = await service.in_thread(lambda: reference_of(service, reference))
        report = await compare(service, view, target, true, progress)
        for source in (view.source, true):
            await service.in_thread(lambda source=source: require_still(storages.find(source.name), source))  # type: ignore[misc]
        return report
