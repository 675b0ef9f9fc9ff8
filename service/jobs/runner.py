"""Runs a job: fills its target, compares it with a reference, or discovers; and records how it ended."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from service.jobs.checks import check, open_reference, open_view
from service.jobs.compare import compare
from service.jobs.discover import discover_stored
from service.jobs.fill import fill
from service.problems import OF_DISK, Problem, is_out_of_descriptors, problem_of_host
from service.runtime.threads import Threads

if TYPE_CHECKING:
    from service.engine.registry import ModelRegistry
    from service.jobs.executor import Executor
    from service.jobs.progress import Progress
    from service.jobs.repository import Job, JobRepository, State
    from service.jobs.spec import JobSpec
    from service.runtime.lifecycle import Lifecycle
    from service.runtime.metrics import Metrics
    from service.settings import Settings
    from service.volumes.opener import VolumeOpener


logger = logging.getLogger("service.jobs")
# Seconds between two tries to record how a job ended.
RETRY_S: Final = 0.5


class JobRunner:
    """Does jobs, up to ``max_jobs`` at a time.

    Args:
        settings: for limits.
        repository: the list of jobs.
        registry: models.
        opener: volumes.
        executor: computes blocks.
        lifecycle: jobs begin once the service is ready.
        threads: for reading and writing.
        metrics: count failures.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        repository: JobRepository,
        registry: ModelRegistry,
        opener: VolumeOpener,
        executor: Executor,
        lifecycle: Lifecycle,
        threads: Threads,
        metrics: Metrics,
    ) -> None:
        self.executor = executor
        self._settings = settings
        self._repository = repository
        self._registry = registry
        self._opener = opener
        self._lifecycle = lifecycle
        self._threads = threads
        self._metrics = metrics
        self._measuring = Threads(settings.max_jobs)
        self._slots = asyncio.Semaphore(settings.max_jobs)

    def check(self, spec: JobSpec) -> tuple[str, ...]:
        """Refuse jobs that cannot be done; see [`check`][service.jobs.checks.check]."""
        return check(spec, self._registry, self._opener)

    async def run(self, job: Job, progress: Progress) -> None:
        """Do a job of this replica.

        It raises nothing but ``CancelledError``: a job that fails is recorded as failed. Nothing is recorded of a job
        that another replica took up meanwhile.
        """
        async with self._slots:
            try:
                while not self._lifecycle.ready:  # noqa: ASYNC110 no event tells
                    await asyncio.sleep(RETRY_S / 10)
                report = await self._do_patiently(job, progress)
            except asyncio.CancelledError:
                with suppress(OSError, sqlite3.Error):
                    await self._threads.run(self._save, job, progress)
                raise
            except Exception as error:  # of any kind: only the job fails
                cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                problem = cause if isinstance(cause, Problem) else problem_of_host(cause, "the job cannot go on")
                if problem is None or problem.kind in OF_DISK:
                    logger.exception("job %s failed", job.id)
                if problem is None:
                    problem = Problem("internal", f"{type(cause).__name__}: {cause}")
                self._metrics.job_failures.labels(problem.kind).inc()
                await self._settle(job, progress, "failed", problem.detail)
            else:
                if await self._settle(job, progress, "done", report=report):
                    await self._threads.run(self._opener.storages.scratch(job.id).drop)

    async def _do_patiently(self, job: Job, progress: Progress) -> dict[str, Any] | None:
        """Do a job; wait while the list of jobs cannot be written, or the process can open no more files.

        It continues with the missing blocks.
        """
        while True:
            try:
                await self._threads.run(lambda: self._repository.mark(job.id, "running", owner=job.owner))
                return await self._do(job, progress)
            except Exception as error:
                locked = isinstance(error, sqlite3.OperationalError)
                if not locked and not is_out_of_descriptors(error):
                    raise
                logger.warning("job %s waits: %s", job.id, error if locked else "too many files are open")
                await asyncio.sleep(RETRY_S)

    async def _do(self, job: Job, progress: Progress) -> dict[str, Any] | None:
        """Fill the target, and compare it with the reference, if there is one; or discover."""
        spec, storages = job.spec, self._opener.storages

        def advanced() -> None:
            try:
                self._repository.has_advanced(job.id)
            except sqlite3.OperationalError as error:  # it only counts if services die over this job
                logger.warning("that job %s has advanced is not recorded: %s", job.id, error)

        if spec.task == "discover":
            scratch = storages.scratch(job.id)
            return await discover_stored(
                spec, scratch, progress, opener=self._opener, threads=self._measuring, advanced=advanced
            )
        view = await self._threads.run(open_view, spec, self._registry, self._opener)
        progress.warnings = progress.warnings or view.warnings
        target = storages.scratch(job.id) if spec.target is None else storages.find(spec.target)
        await fill(
            view,
            target,
            executor=self.executor,
            threads=self._threads,
            progress=progress,
            edge=self._settings.region,
            advanced=advanced,
        )
        if spec.reference is None:
            return None
        reference = await self._threads.run(open_reference, spec, view.card.factor, self._opener)
        report = await compare(
            view,
            target,
            reference,
            progress,
            settings=self._settings,
            scratch=storages.scratch_folder,
            threads=self._measuring,
        )
        for source in (view.source, reference):
            await self._threads.run(partial(source.require_unchanged, fresh=True))
        return report

    async def _settle(
        self,
        job: Job,
        progress: Progress,
        state: State,
        detail: str | None = None,
        report: dict[str, Any] | None = None,
    ) -> bool:
        """Record how a job ended, if it is still this replica's.

        Tries again while the disk is full, as the job would otherwise run for ever.
        """
        while True:
            try:
                return await self._threads.run(self._end, job, progress, state, detail, report)
            except (OSError, sqlite3.Error):
                logger.exception("job %s is %s, which cannot be recorded", job.id, state)
                await asyncio.sleep(RETRY_S)

    def _end(
        self, job: Job, progress: Progress, state: State, detail: str | None, report: dict[str, Any] | None
    ) -> bool:
        self._save(job, progress)
        return self._repository.mark(job.id, state, detail, report, job.owner)

    def _save(self, job: Job, progress: Progress) -> None:
        self._repository.save_progress(job.id, progress.as_dict(), job.owner)
