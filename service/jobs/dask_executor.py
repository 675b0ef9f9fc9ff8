"""Blocks computed by the workers of a Dask cluster: each opens the source, computes, and writes what it has made."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import CancelledError as LostError
from typing import TYPE_CHECKING, Final

from distributed import Client
from distributed.scheduler import KilledWorker

from service.jobs.dask_worker import Task, fill_block
from service.problems import Problem, unready

if TYPE_CHECKING:
    from service.volumes.storage import Storage
    from service.volumes.view import BlockIndex, View


logger = logging.getLogger("service.dask")
# Seconds that a scheduler has to answer in.
CONNECT_S: Final = 10
# A block that workers die over is given up after so many rounds; in each, Dask tries several workers.
ROUNDS: Final = 5


class DaskExecutor:
    """Has blocks computed by a cluster; the connection to its scheduler is made when it is needed.

    Args:
        scheduler: its address.

    Attributes:
        computed: blocks computed in this process: none.
    """

    computed = 0

    def __init__(self, scheduler: str) -> None:
        self.scheduler = scheduler
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        """End the connection; the workers stay."""
        if self._client:
            await self._client.close()
            self._client = None

    @property
    def workers(self) -> int:
        """How many compute, as it was last heard; 1 if that is not known."""
        if not self._client or self._client.status != "running":
            return 1
        return max(1, int(self._client.scheduler_info().get("n_workers", 1)))

    async def _connect(self) -> Client:
        async with self._connecting:
            if self._client is None or self._client.status != "running":
                await self.close()
                try:
                    self._client = await Client(
                        self.scheduler, asynchronous=True, timeout=CONNECT_S, set_as_default=False
                    )
                except (OSError, TimeoutError) as error:
                    detail = f"the scheduler {self.scheduler} does not answer"
                    logger.warning("%s: %s", detail, error)
                    raise unready(detail) from error
            return self._client

    async def fill(self, view: View, target: Storage, index: BlockIndex) -> None:
        """Have a block computed and stored. If this is cancelled, a worker that has begun still ends it.

        Raises:
            Problem: what the worker raises; 503 if the scheduler is lost, or workers die over the block.
        """
        task = Task.of(view, target)
        for _ in range(ROUNDS):
            client = await self._connect()
            future = client.submit(fill_block, task, index, pure=False)
            try:
                await future
            except KilledWorker as error:
                logger.warning("workers died while they computed %s of %s: %s", index, target.name, error)
            except LostError as error:
                detail = f"the scheduler {self.scheduler} was lost"
                raise unready(detail) from error
            except asyncio.CancelledError:
                await asyncio.shield(future.cancel())
                raise
            else:
                return
        raise Problem("workers-lost", f"workers die over block {tuple(index.block)} of {target.name}")
