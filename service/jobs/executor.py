"""Who computes the blocks of a job and stores them: this process, or the workers of a Dask cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from service.problems import Problem

if TYPE_CHECKING:
    from service.runtime.threads import Threads
    from service.volumes.blocks import BlockComputer
    from service.volumes.opener import VolumeOpener
    from service.volumes.source import OpenVolume
    from service.volumes.storage import Storage
    from service.volumes.view import BlockIndex, View


class Executor(Protocol):
    """Computes blocks and stores them."""

    @property
    def workers(self) -> int:
        """How many compute at a time."""

    @property
    def computed(self) -> int:
        """Blocks computed in this process."""

    async def fill(self, view: View, target: Storage, index: BlockIndex) -> None:
        """Compute a block and store it.

        Raises:
            Problem: as reading, computing and writing do; "changed" if the source is another one by now; "busy" or
                "unready" if it is worth another try.
        """

    async def close(self) -> None:
        """Let go of what it holds."""


class LocalExecutor:
    """Computes blocks in this process.

    Args:
        blocks: computes them.
        opener: finds their sources.
        threads: for writing.

    Attributes:
        workers: one, whose device batches what waits for it.
        computed: blocks so far.
    """

    workers = 1

    def __init__(self, blocks: BlockComputer, opener: VolumeOpener, threads: Threads) -> None:
        self.computed = 0
        self._blocks = blocks
        self._opener = opener
        self._threads = threads

    async def fill(self, view: View, target: Storage, index: BlockIndex) -> None:
        """See [`Executor`][service.jobs.executor.Executor]."""
        chunks = await self._blocks.compute(view, index, background=True)
        self.computed += 1
        source = self._opener.storages.find(view.source.name)
        await self._threads.run(lambda: store_block(view, target, chunks, source))

    async def close(self) -> None:
        """It holds nothing."""


def store_block(view: View, target: Storage, chunks: dict[str, bytes], source: Storage) -> None:
    """Store a block, if its source is still what it was made from."""
    require_unchanged(source, view.source)
    for key, content in chunks.items():
        target.put(key, content)


def require_unchanged(storage: Storage, source: OpenVolume) -> None:
    """Refuse to go on with a source that is another one by now."""
    if storage.tag().digest != source.tag:
        raise Problem("changed", f"{source.name} has changed since the job began")


def is_stored(view: View, target: Storage, index: BlockIndex) -> bool:
    """Whether a block is done: chunks are of one size, and one that a power failure cut short is not."""
    return all(target.size(key) == view.chunk_bytes for key in view.keys(index))
