"""Chunks of views, which are computed when they are read, and kept on disk while there is room."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from models.replacing import PART
from service.problems import storing
from service.volumes.files import is_stale, write_whole
from service.volumes.regions import region_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from service.runtime.threads import Threads
    from service.volumes.blocks import BlockComputer
    from service.volumes.regions import Blocks
    from service.volumes.view import BlockIndex, View


# Regions that are read and computed at a time.
SLOTS: Final = 16


class DiskCache:
    """Files in a folder up to a total size; the least recently used are dropped first.

    The package `diskcache` keeps an SQLite index of its own, and trusts pickles in it; here the folder itself says what
    is kept.

    Args:
        root: the folder.
        budget: largest number of bytes of all files.
        spare: see [`require_room`][service.volumes.files.require_room].
    """

    def __init__(self, root: Path, budget: int, spare: int = 0) -> None:
        self.root = root
        self.budget = budget
        self.spare = spare
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._total = 0
        self._changing = threading.Lock()
        if root.exists():
            found: list[tuple[float, int, str]] = []
            for path in root.rglob("*"):
                with suppress(FileNotFoundError):  # services that share the folder write and drop
                    if not path.name.startswith(PART):
                        status = path.stat()
                        if stat.S_ISREG(status.st_mode):
                            found.append((status.st_mtime, status.st_size, str(path.relative_to(root))))
                    elif is_stale(path):
                        path.unlink()
            for _, size, name in sorted(found):
                self._note(name, size)

    def _note(self, name: str, size: int) -> None:
        self._total += size - self._sizes.pop(name, 0)
        self._sizes[name] = size

    def get(self, name: str, size: int) -> bytes | None:
        """Content of a file; None if it is missing, or was cut short by a power failure."""
        path = self.root / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        with suppress(OSError):  # dropped meanwhile, or on a disk that can only be read
            os.utime(path)
        if len(content) != size:
            return None
        with self._changing:
            if name in self._sizes:
                self._sizes.move_to_end(name)
        return content

    def put(self, name: str, content: bytes) -> None:
        """Store a file, whole or not at all, and make room for it.

        Raises:
            OSError: if there is no room on the disk without all the others.
        """
        while True:
            try:
                write_whole(self.root / name, content, self.spare)
                break
            except OSError as error:
                with self._changing:
                    if error.errno != errno.ENOSPC or not self._sizes:
                        raise
                    self._drop_oldest()
        with self._changing:
            self._note(name, len(content))
            while self._total > self.budget and len(self._sizes) > 1:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest, size = self._sizes.popitem(last=False)
        self._total -= size
        (self.root / oldest).unlink(missing_ok=True)


class ChunkCache:
    """Chunks of views: computed when somebody reads them, and kept while there is room.

    Args:
        blocks: computes them.
        store: keeps them.
        threads: for reading and writing.
        region: longest edge of a region, in coarse cells; see [`region_of`][service.volumes.regions.region_of].

    Attributes:
        computed: blocks that were computed.
    """

    def __init__(self, blocks: BlockComputer, store: DiskCache, threads: Threads, region: int) -> None:
        self.store = store
        self.computed = 0
        self._region = region
        self._blocks = blocks
        self._threads = threads
        self._slots = asyncio.Semaphore(SLOTS)
        self._running: dict[tuple[str, Blocks], asyncio.Task[dict[str, bytes]]] = {}
        self._waiting: dict[tuple[str, Blocks], int] = {}

    async def chunk(self, view: View, key: str, index: BlockIndex) -> bytes:
        """A chunk, stored or computed now. Readers of one region share a computation, which ends with the last of them.

        Raises:
            Problem: as [`BlockComputer.compute`][service.volumes.blocks.BlockComputer.compute] does, and if the disk
                has no room.
        """
        stored = await self._threads.run(lambda: self.store.get(f"{view.fingerprint}/{key}", view.chunk_bytes(key)))
        if stored is not None:
            return stored
        region = view.fingerprint, region_of(view, index, self._region)
        if region not in self._running:
            self._running[region] = asyncio.create_task(self._fill(view, region[1]))
            self._running[region].add_done_callback(lambda task: self._forget(region, task))
        task = self._running[region]
        self._waiting[region] = self._waiting.get(region, 0) + 1
        try:
            chunks = await asyncio.shield(task)
        finally:
            self._waiting[region] -= 1
            if not self._waiting[region]:
                del self._waiting[region]
                task.cancel()
                self._forget(region, task)
        return chunks[key]

    async def block(self, view: View, index: BlockIndex) -> NDArray[np.float32]:
        """All chunks of a block as one array, (3 or 4, z, y, x); see ``chunk`` for errors."""
        # One after the other: the first computes the block, and the others find theirs stored.
        chunks = [await self.chunk(view, key, index) for key in view.keys(index)]
        return await self._threads.run(lambda: view.block(index, chunks))

    def _forget(self, region: tuple[str, Blocks], task: asyncio.Task[dict[str, bytes]]) -> None:
        """Let the next reader of a region start another computation, unless one has."""
        if self._running.get(region) is task:
            del self._running[region]

    async def _fill(self, view: View, blocks: Blocks) -> dict[str, bytes]:
        async with self._slots:
            chunks: dict[str, bytes] = {}
            async for _, found in self._blocks.compute(view, blocks):
                self.computed += 1
                chunks |= found

            def keep() -> None:
                with storing("a block"):
                    for key, content in chunks.items():
                        self.store.put(f"{view.fingerprint}/{key}", content)

            await self._threads.run(keep)
            return chunks
