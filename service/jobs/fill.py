"""Fills a target volume: computes every block that is missing.

A block is done if its chunks exist, because each is written whole. So a stopped job continues with the missing blocks.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from typing import TYPE_CHECKING, Final

from service.jobs.executor import is_stored
from service.problems import Problem
from service.volumes.regions import regions
from service.volumes.storage import require_same
from service.volumes.view import BlockIndex

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from service.jobs.executor import Executor
    from service.jobs.progress import Progress
    from service.runtime.threads import Threads
    from service.volumes.regions import Blocks
    from service.volumes.storage import Storage
    from service.volumes.view import View

# Regions that are looked up in the target at once.
LOOKUP: Final = 50
# Blocks that each worker reads, computes and writes at a time; two regions at least.
AHEAD: Final = 4
# Seconds between two tries while the device is busy or not ready.
RETRY_S: Final = 0.5


async def fill(
    view: View,
    target: Storage,
    *,
    executor: Executor,
    threads: Threads,
    progress: Progress,
    edge: int,
    advanced: Callable[[], None],
) -> None:
    """Compute all missing blocks of a target.

    Args:
        view: that the target stores.
        target: where the blocks are stored, begun or not.
        executor: computes blocks.
        threads: for looking up blocks.
        progress: is kept up to date.
        edge: longest edge of a region, in coarse cells; see [`regions`][service.volumes.regions.regions].
        advanced: called when the first block is done.

    Raises:
        Problem: as computing, reading and writing do; "changed" if the source has changed, "taken" if the target was
            replaced.
    """
    progress.begin("computing", view.levels * math.prod(view.layout.counts), math.prod(view.chunk))
    await threads.run(lambda: target.begin(view.documents))
    running: set[asyncio.Task[None]] = set()
    stopped = threading.Event()

    def is_missing(index: BlockIndex) -> bool:
        return not stopped.is_set() and not is_stored(view, target, index)

    def look_up(batch: list[Blocks]) -> list[Blocks]:
        return [tuple(filter(is_missing, blocks)) for blocks in batch]

    async def compute(blocks: Blocks) -> None:
        async for _ in _fill_region(executor, view, target, blocks):
            progress.done += 1
            progress.computed += 1
            if progress.computed == 1:
                await threads.run(advanced)

    rest = regions(view, edge, executor.workers)
    async with asyncio.TaskGroup() as group:
        while batch := list(itertools.islice(rest, LOOKUP)):
            missing = await threads.run(look_up, batch, stopped=stopped)
            progress.done += sum(map(len, batch)) - sum(map(len, missing))
            for blocks in filter(None, missing):
                while len(running) >= max(2, AHEAD // len(blocks)) * executor.workers:
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                task = group.create_task(compute(blocks))
                running.add(task)
                task.add_done_callback(running.discard)

    def finish() -> None:
        view.source.require_unchanged(fresh=True)
        require_same(target, view.documents)
        target.finish()

    await threads.run(finish)


async def _fill_region(executor: Executor, view: View, target: Storage, blocks: Blocks) -> AsyncIterator[BlockIndex]:
    """Have blocks computed, one by one if they do not fit together; try again while the device is busy or not ready."""
    missing, most = list(blocks), len(blocks)
    while missing:
        try:
            async for index in executor.fill(view, target, tuple(missing[:most])):
                missing.remove(index)
                yield index
        except Problem as problem:
            if problem.kind == "out-of-memory" and most > 1:
                most = 1
            elif problem.kind in {"busy", "unready"}:
                await asyncio.sleep(RETRY_S)
            else:
                raise


def block_indices(view: View) -> Iterator[BlockIndex]:
    """All blocks, x fastest."""
    for level in range(view.levels):
        for z, y, x in itertools.product(*map(range, view.layout.counts)):
            yield BlockIndex(level, (z, y, x))
