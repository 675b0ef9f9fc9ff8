"""Manages jobs: submits, cancels and resumes them, and takes over those of replicas that died."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from service.jobs.progress import Progress
from service.jobs.repository import ENDED
from service.problems import Problem, busy, invalid_field
from service.volumes.storage import inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from service.jobs.lease import ReplicaLease
    from service.jobs.repository import Job, JobRepository
    from service.jobs.runner import JobRunner
    from service.jobs.spec import JobSpec
    from service.jobs.tidying import Tidier
    from service.runtime.lifecycle import Lifecycle
    from service.runtime.threads import Threads
    from service.volumes.storages import Storages


logger = logging.getLogger("service.jobs")
# Seconds between two readings of the list of jobs.
POLL_S: Final = 1.0
RESUMABLE: Final = ENDED - {"done"}
# A job fails after this number of services in a row have died while they did it.
MOST_DEATHS: Final = 3


class _Running(NamedTuple):
    """A job that this replica does."""

    task: asyncio.Task[None]
    progress: Progress


class JobManager:
    """Starts the jobs of this replica, and lets clients and other replicas change them.

    Each job of the shared list has one replica as its owner; a job whose owner died is picked up by another one.

    Args:
        repository: the list of jobs.
        lease: of this replica.
        runner: does jobs.
        tidier: runs beside the jobs, which do not wait for it, as it may take long.
        storages: of volumes.
        lifecycle: no jobs are taken while it shuts down.
        threads: for reading and writing.
        most: jobs of all replicas that may run or wait.

    Attributes:
        failure: why the list of jobs cannot be read or written at the moment.
    """

    def __init__(
        self,
        repository: JobRepository,
        lease: ReplicaLease,
        runner: JobRunner,
        tidier: Tidier,
        *,
        storages: Storages,
        lifecycle: Lifecycle,
        threads: Threads,
        most: int,
    ) -> None:
        self.repository = repository
        self.lease = lease
        self.runner = runner
        self.failure: str | None = None
        self._most = most
        self._tidier = tidier
        self._storages = storages
        self._lifecycle = lifecycle
        self._threads = threads
        self._claiming = asyncio.Lock()
        self._running: dict[str, _Running] = {}
        self._watchers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to take up jobs without an owner, and to tidy the data folder; call it in the event loop."""
        self._watchers = [asyncio.create_task(each, name="jobs") for each in (self._watch(), self._tidier.run())]

    async def close(self) -> None:
        """Stop; jobs that have not ended are free for other replicas, or for the next start.

        If the device has failed, each keeps its owner, so that it counts as one that the service died of.
        """
        if not self._watchers:
            return
        running = dict(self._running)
        watcher, tidier = self._watchers
        tasks = [watcher, *(mine.task for mine in running.values())]
        for task in (*tasks, tidier):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watchers = []
        await asyncio.to_thread(self._hand_back, list(running) if self._lifecycle.alive() else [])
        await asyncio.wait({tidier})

    def _hand_back(self, names: list[str]) -> None:
        try:
            for name in names:
                self.repository.assign(name, None)
        except (OSError, sqlite3.Error):
            logger.exception("jobs cannot be handed back one by one")  # ending the lease frees them, too
        finally:
            self.lease.end()

    def progress_of(self, job: Job) -> dict[str, Any]:
        """How far a job is."""
        if mine := self._running.get(job.id):
            return mine.progress.as_dict()
        saved = job.progress or {}  # perhaps by a service of another version
        return {name: saved.get(name, value) for name, value in Progress().as_dict().items()}

    async def _watch(self) -> None:
        """Again and again, save progress, cancel jobs on request, and take up jobs without an owner."""
        while True:
            try:
                await self._poll()
            except Exception as error:  # of any kind: the next round may succeed
                if str(error) != self.failure:
                    logger.exception("the list of jobs cannot be used")
                self.failure = str(error)
            else:
                self.failure = None
            await asyncio.sleep(POLL_S)

    async def _poll(self) -> None:
        async with self._claiming:  # a job that is being added is not taken for a lost one
            running = dict(self._running)
            taken, stopping = await self._threads.run(self._claim, running)
            for job in taken:
                self._launch(job)
            for name in stopping:
                if not running[name].task.cancelling():
                    running[name].task.cancel()  # once it has ended, the next round finds a job that nobody does

    def _claim(self, running: Mapping[str, _Running]) -> tuple[list[Job], set[str]]:
        """Jobs that this replica takes up, and the ids of those running here that are to stop."""
        if not self.repository.path.exists():
            return [], set()
        taken = []
        with self.lease.exclusive():
            # Those that another replica took up when this one was cut off from the list stop, too.
            stopping = self.repository.lost(running, self.lease.id)
            for job in self.repository.unfinished():
                if job.id in stopping:
                    continue
                if mine := running.get(job.id):
                    if (progress := mine.progress.as_dict()) != job.progress:
                        self.repository.save_progress(job.id, progress, self.lease.id)
                    if job.stopping:
                        stopping.add(job.id)
                elif not self._is_alive(job.owner):
                    if job.stopping:
                        self.repository.mark(job.id, "cancelled")
                        continue
                    deaths = job.deaths + (job.owner is not None and job.state == "running")
                    if deaths >= MOST_DEATHS:
                        detail = f"the service stopped {deaths} times during this job, without a further block done"
                        self.repository.mark(job.id, "failed", detail)
                        continue
                    self.repository.take_up(job.id, self.lease.id, deaths)
                    taken.append(job)
        return taken, stopping

    def _is_alive(self, owner: str | None) -> bool:
        """Whether the owner of a job that does not run here is another replica that is alive.

        One that this replica owns but does not run was lost when the list could not be written.
        """
        return owner is not None and owner != self.lease.id and self.lease.is_alive(owner)

    def uses(self, volume: str) -> bool:
        """Whether a job reads or writes a volume, or another one inside or around it.

        A file that is no list of jobs counts as an empty one, unless jobs run here.

        Raises:
            sqlite3.Error: if the list cannot be read at the moment.
        """
        try:
            used = self.repository.volumes_in_use(self._is_alive)
        except sqlite3.Error as error:
            if self._running or isinstance(error, sqlite3.OperationalError):  # such as a lock
                raise
            logger.exception("the list of jobs cannot be read")
            return False
        return any(inside(volume, name) or inside(name, volume) for name in used)

    async def submit(self, spec: JobSpec, key: str | None = None) -> Job:
        """Queue a job; the same spec under the same key is the same job.

        Raises:
            Problem: 404, 400 or 422 if it cannot be done, 403 if it must not be, 409 if the target is another volume,
                422 if the key is that of another spec, 429 if too many jobs wait, 503 during shutdown.
        """

        def add() -> tuple[Job, bool]:
            with self.lease.exclusive():
                if known := self._keyed(spec, key):
                    return known, False
                with self._claimed(spec):
                    return self.repository.add(spec, self.lease.id, key), True

        self._lifecycle.require_staying()
        # Before others are kept waiting, as it may take long.
        warnings = await self._threads.run(lambda: () if self._keyed(spec, key) else self.runner.check(spec))
        async with self._claiming:
            job, new = await self._threads.run(add)
            if new:
                self._launch(job, warnings)
        return job

    def _keyed(self, spec: JobSpec, key: str | None) -> Job | None:
        """The job that was submitted under a key; refuses (422) another spec under it."""
        job = None if key is None else self.repository.keyed(key)
        if job and job.spec != spec:
            expected = f"a new key, as job {job.id} used this one with other options"
            raise invalid_field(field="Idempotency-Key", value="used", expected=expected)
        return job

    async def resume(self, job: Job) -> None:
        """Queue a job again that failed or was cancelled; see ``submit`` for errors."""

        def queue() -> bool:
            with self.lease.exclusive():
                now = self.repository.get(job.id)
                if now is None or now.state not in RESUMABLE:
                    return False
                with self._claimed(job.spec):
                    self.repository.mark(job.id, "queued")
                    self.repository.take_up(job.id, self.lease.id, 0)
                    return True

        self._lifecycle.require_staying()
        if job.state not in RESUMABLE:
            return
        await self._threads.run(self.runner.check, job.spec)
        async with self._claiming:
            if await self._threads.run(queue):
                self._launch(job)

    async def cancel(self, job: Job) -> None:
        """Stop a job; blocks that are done stay."""
        await self._threads.run(self.repository.stop, job.id)
        if mine := self._running.get(job.id):
            mine.task.cancel()
            await asyncio.wait({mine.task})
        # Another replica cancels a job of its own soon, unless it has died.
        while not await self._has_stopped(job):  # noqa: ASYNC110 no event tells
            await asyncio.sleep(POLL_S / 4)

    async def _has_stopped(self, job: Job) -> bool:
        """Whether a job has ended; one that nobody does is cancelled here."""

        def stop() -> bool:
            with self.lease.exclusive():  # no replica takes it up meanwhile
                now = self.repository.get(job.id)
                if now and now.state not in ENDED:
                    if running or self._is_alive(now.owner):
                        return False
                    self.repository.mark(job.id, "cancelled")
            return True

        async with self._claiming:
            running = job.id in self._running
            return await self._threads.run(stop)

    @contextmanager
    def _claimed(self, spec: JobSpec) -> Iterator[None]:
        """Queue a job while nobody changes its target.

        Raises:
            Problem: 429 if too many jobs wait, 409 if another job uses the target.
        """
        if len(self.repository.unfinished()) >= self._most:
            detail = f"{self._most} jobs run or wait, which is the limit"
            raise busy(detail, 60)
        if spec.target is None:
            yield
            return
        target = spec.target.rstrip("/")
        if self.uses(target):
            raise Problem("taken", f"another job uses {spec.target}")
        with self._storages.changing(target):
            yield

    def _launch(self, job: Job, warnings: tuple[str, ...] = ()) -> None:
        progress = Progress(warnings=warnings)
        mine = replace(job, owner=self.lease.id)
        task = asyncio.create_task(self.runner.run(mine, progress), name=f"job {job.id}")
        self._running[job.id] = _Running(task, progress)
        task.add_done_callback(lambda _: self._forget(job, task))

    def _forget(self, job: Job, task: asyncio.Task[None]) -> None:
        if (mine := self._running.get(job.id)) and mine.task is task:
            del self._running[job.id]
