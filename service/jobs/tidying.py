"""Removes what killed services left, and jobs that ended long ago."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from models.replacing import PART
from service.runtime.threads import Threads
from service.volumes.files import is_stale

if TYPE_CHECKING:
    from service.jobs.lease import ReplicaLease
    from service.jobs.repository import JobRepository
    from service.volumes.storages import Storages

logger = logging.getLogger("service.jobs")
# Seconds between two removals.
TIDY_S: Final = 3600.0


class Tidier:
    """Tidies the data folder.

    Args:
        repository: the list of jobs.
        lease: of this replica.
        storages: of volumes and temporary answers.
        keep_days: how long a job that has ended stays on the list.
    """

    def __init__(self, repository: JobRepository, lease: ReplicaLease, storages: Storages, keep_days: float) -> None:
        self._repository = repository
        self._lease = lease
        self._storages = storages
        self._keep_s = keep_days * 86_400
        self._threads = Threads(1)  # of its own, as jobs would wait for it

    async def run(self) -> None:
        """Tidy again and again."""
        while True:
            for tidy in (self._tidy_jobs, self._storages.volumes.tidy):
                stopped = threading.Event()
                try:
                    await self._threads.run(tidy, stopped, stopped=stopped)
                except Exception:  # of any kind: the next round may succeed
                    logger.exception("the data folder cannot be tidied")
            await asyncio.sleep(TIDY_S)

    def _tidy_jobs(self, stopped: threading.Event) -> None:
        """Forget jobs that ended long ago, and drop temporary answers that killed services left, until stopped."""
        if not self._repository.path.exists():
            return
        with self._lease.exclusive():
            self._repository.forget(time.time() - self._keep_s)
            used = self._repository.not_done()
            left = [
                path.name
                for path in self._storages.scratch_folder.glob("*")
                if (is_stale(path) if path.name.startswith(PART) else path.name not in used)
            ]
        for name in left:  # this may take long, and nobody else needs them
            self._storages.scratch(name).drop(stopped)
