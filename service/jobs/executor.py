"""Executors, which compute the blocks of a job and store them: in this process, or on a Dask cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from service.volumes.storage import require_same

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from service.runtime.threads import Threads
    from service.volumes.blocks import BlockComputer
    from service.volumes.regions import Blocks
    from service.volumes.storage import Storage
    from service.volumes.view import BlockIndex, View


class Executor(Protocol):
    """Computes blocks and stores them."""

    @property
    def workers(self) -> int:
        """How many compute blocks side by side."""

    @property
    def computed(self) -> int:
        """Blocks computed in this process."""

    def fill(self, view: View, target: Storage, blocks: Blocks) -> AsyncIterator[BlockIndex]:
        """Compute blocks together and store them.

        Args:
            view: that the blocks are of.
            target: where they are stored.
            blocks: of one level, x fastest.

        Yields:
            Each block once it is stored.

        Raises:
            Problem: as reading, computing and writing do; "changed" if the source has changed; "busy" or "unready" if
                another try may succeed.
        """

    async def close(self) -> None:
        """Free what it holds."""


class LocalExecutor:
    """Computes blocks in this process.

    Args:
        blocks: computes them.
        threads: for writing.

    Attributes:
        workers: one; its device batches blocks.
        computed: blocks so far.
    """

    workers = 1

    def __init__(self, blocks: BlockComputer, threads: Threads) -> None:
        self.computed = 0
        self._blocks = blocks
        self._threads = threads

    async def fill(self, view: View, target: Storage, blocks: Blocks) -> AsyncIterator[BlockIndex]:
        """See [`Executor`][service.jobs.executor.Executor]."""
        async for index, chunks in self._blocks.compute(view, blocks, background=True):
            self.computed += 1
            await self._threads.run(store_block, view, target, chunks)
            yield index

    async def close(self) -> None:
        """It holds nothing."""


def store_block(view: View, target: Storage, chunks: dict[str, bytes]) -> None:
    """Store a block; refuses (409) a target that was replaced since the job began."""
    require_same(target, view.documents)
    for key, content in chunks.items():
        target.put(key, content)


def is_stored(view: View, target: Storage, index: BlockIndex) -> bool:
    """Whether a block is done: chunks are of one size, and one that a power failure cut short is not."""
    return all(target.size(key) == view.chunk_bytes(key) for key in view.keys(index))
