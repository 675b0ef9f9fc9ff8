"""Chunks of views, which are computed when they are read, and kept on disk while there is room."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from models.replacing import PART
from service.problems import FULL, GONE
from service.volumes.files import is_stale, write_whole
from service.volumes.regions import region_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from service.runtime.threads import Threads
    from service.volumes.blocks import BlockComputer
    from service.volumes.regions import Blocks
    from service.volumes.view import BlockIndex, View


logger = logging.getLogger("service.volumes")
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
        found: list[tuple[float, int, str]] = []
        for path in sorted(root.rglob("*"), reverse=True):  # files before their folders
            with suppress(OSError):  # a folder is not empty, or services that share it write and drop
                status = path.stat()
                if stat.S_ISDIR(status.st_mode):
                    path.rmdir()
                elif not path.name.startswith(PART):
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
        except OSError as error:
            if error.errno in GONE:
                return None
            raise
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
                    if error.errno not in FULL or not self._sizes:
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


@dataclass
class _Computation:
    """A region that is being computed, and how many wait for it."""

    task: asyncio.Task[dict[str, bytes]]
    readers: int = 0


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
        self._running: dict[tuple[str, Blocks], _Computation] = {}

    async def chunk(self, view: View, key: str, index: BlockIndex) -> bytes:
        """A chunk, stored or computed now.

        Raises:
            Problem: as [`BlockComputer.compute`][service.volumes.blocks.BlockComputer.compute] does.
        """
        return (await self._chunks(view, [key], index))[0]

    async def block(self, view: View, index: BlockIndex) -> NDArray[np.float32]:
        """All chunks of a block as one array, (3 or 4, z, y, x); see ``chunk`` for errors."""
        chunks = await self._chunks(view, view.keys(index), index)
        return await self._threads.run(view.block, index, chunks)

    async def _chunks(self, view: View, keys: Sequence[str], index: BlockIndex) -> list[bytes]:
        """Chunks of one block."""

        def stored() -> dict[str, bytes]:
            found = {key: self.store.get(f"{view.fingerprint}/{key}", view.chunk_bytes(key)) for key in keys}
            return {key: content for key, content in found.items() if content is not None}

        chunks = await self._threads.run(stored)
        if len(chunks) < len(keys):
            chunks = await self._compute(view, index)
        return [chunks[key] for key in keys]

    async def _compute(self, view: View, index: BlockIndex) -> dict[str, bytes]:
        """All chunks of a region. Its readers share a computation, which ends with the last of them."""
        region = view.fingerprint, region_of(view, index, self._region)
        if region not in self._running:
            self._running[region] = _Computation(asyncio.create_task(self._fill(view, region[1])))
        computation = self._running[region]
        computation.readers += 1
        try:
            return await asyncio.shield(computation.task)
        finally:
            computation.readers -= 1
            if not computation.readers:
                computation.task.cancel()
                del self._running[region]

    async def _fill(self, view: View, blocks: Blocks) -> dict[str, bytes]:
        async with self._slots:
            chunks: dict[str, bytes] = {}
            async for _, found in self._blocks.compute(view, blocks):
                self.computed += 1
                chunks |= found

            def keep() -> None:
                try:
                    for key, content in chunks.items():
                        self.store.put(f"{view.fingerprint}/{key}", content)
                except OSError:
                    logger.exception("blocks of a view cannot be kept, and will be computed again")

            await self._threads.run(keep)
            return chunks
