"""Has the workers of a Dask cluster compute blocks: each opens the source, computes blocks, and writes them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from distributed import Client
from distributed.scheduler import KilledWorker

from service.jobs.dask_worker import Task, fill_blocks
from service.problems import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from service.volumes.regions import Blocks
    from service.volumes.storage import Storage
    from service.volumes.view import BlockIndex, View


logger = logging.getLogger("service.dask")
# Seconds within which a scheduler must answer.
CONNECT_S: Final = 10
# Seconds between two tries to reach one that is away, and between two looks at how many workers there are.
RETRY_S: Final = 0.5
LOOK_S: Final = 10.0
# Seconds without a scheduler, or without a worker, after which a job fails, to be resumed.
PATIENCE_S: Final = 600.0
# Number of workers that is assumed until the scheduler has answered.
UNHEARD: Final = 8
# Rounds after which a region is given up because workers die; in each, Dask tries several workers.
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
        """Number of workers, as the scheduler last said."""
        if not self._client or self._client.status != "running":
            return UNHEARD
        return max(1, int(self._client.scheduler_info().get("n_workers", 1)))

    async def _connect(self) -> Client:
        async with self._connecting:
            while self._client is None or self._client.status != "running":
                await self.close()
                try:
                    self._client = await Client(
                        self.scheduler, asynchronous=True, timeout=CONNECT_S, set_as_default=False
                    )
                except (OSError, TimeoutError) as error:
                    logger.warning("the scheduler %s does not answer: %s", self.scheduler, error)
                    await asyncio.sleep(RETRY_S)
            return self._client

    async def fill(self, view: View, target: Storage, blocks: Blocks) -> AsyncIterator[BlockIndex]:
        """Have a worker compute and store blocks. If this is cancelled, a worker that has begun still ends it.

        Yields:
            All of them at the end.

        Raises:
            Problem: what the worker raises; "workers-lost" if there is none for long, or they die over the region.
        """
        task = Task.of(view, target)
        named = f"the blocks from {tuple(blocks[0].block)} of {target.name}"
        for _ in range(ROUNDS):
            error = await self._outcome(task, blocks)
            if error is None:
                for index in blocks:
                    yield index
                return
            if not isinstance(error, KilledWorker):
                raise error
            logger.warning("workers died while they computed %s: %s", named, error)
        raise Problem("workers-lost", f"workers died while they computed {named}")

    async def _outcome(self, task: Task, blocks: Blocks) -> BaseException | None:
        """Why a worker could not store a region; None if it has.

        Nothing is fetched from the worker, which only reaches out to the scheduler and may be behind NAT.
        """
        try:
            async with asyncio.timeout(PATIENCE_S) as patience:
                while True:
                    client = await self._connect()
                    future = client.submit(fill_blocks, task, blocks, pure=False)
                    ended: asyncio.Future[BaseException | None] = asyncio.ensure_future(future.exception())
                    try:
                        while not (await asyncio.wait({ended}, timeout=LOOK_S))[0]:
                            if client.scheduler_info().get("n_workers"):
                                patience.reschedule(asyncio.get_running_loop().time() + PATIENCE_S)
                    except asyncio.CancelledError:
                        await asyncio.shield(future.cancel())
                        raise
                    if future.status in {"finished", "error"}:
                        return ended.result()
                    logger.warning("the scheduler %s was lost", self.scheduler)
                    await asyncio.sleep(RETRY_S)
        except TimeoutError as error:
            detail = f"for {PATIENCE_S:g} s there was no worker at {self.scheduler}; with one, the job can be resumed"
            raise Problem("workers-lost", detail) from error
