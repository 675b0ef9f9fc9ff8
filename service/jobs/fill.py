"""Filling a target volume: computing every block that is missing.

A block is done if its chunks are there, as each is written whole. So a stopped job goes on with the missing blocks.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import TYPE_CHECKING, Final

from service.jobs.executor import is_stored
from service.problems import Problem
from service.volumes.view import BlockIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service.jobs.executor import Executor
    from service.jobs.progress import Progress
    from service.runtime.threads import Threads
    from service.volumes.storage import Storage
    from service.volumes.view import View

# Blocks that are looked up in the target at once.
LOOKUP: Final = 1000
# Blocks that each worker reads, computes and writes at a time.
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
    advanced: Callable[[], None],
) -> None:
    """Compute all missing blocks of a target.

    Args:
        view: that the target stores.
        target: where the blocks are stored, begun or not.
        executor: computes blocks.
        threads: for looking up blocks.
        progress: is kept up to date.
        advanced: called when the first block is done.

    Raises:
        Problem: as computing, reading and writing do; "changed" if the source has changed.
    """
    progress.begin("computing", view.levels * math.prod(view.layout.counts), math.prod(view.chunk))
    await threads.run(lambda: target.begin(view.documents))
    running: set[asyncio.Task[None]] = set()

    async def compute(index: BlockIndex) -> None:
        await _fill_block(executor, view, target, index)
        progress.done += 1
        progress.computed += 1
        if progress.computed == 1:
            await threads.run(advanced)

    rest = block_indices(view)
    async with asyncio.TaskGroup() as group:
        while batch := list(itertools.islice(rest, LOOKUP)):
            missing = await threads.run(
                lambda batch=batch: [index for index in batch if not is_stored(view, target, index)]  # type: ignore[misc]
            )
            progress.done += len(batch) - len(missing)
            for index in missing:
                while len(running) >= AHEAD * executor.workers:
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                task = group.create_task(compute(index))
                running.add(task)
                task.add_done_callback(running.discard)
    await threads.run(lambda: view.source.require_unchanged(fresh=True))
    await threads.run(target.finish)


async def _fill_block(executor: Executor, view: View, target: Storage, index: BlockIndex) -> None:
    """Have a block computed; try again while the device is busy or not ready."""
    while True:
        try:
            await executor.fill(view, target, index)
        except Problem as problem:
            if problem.kind not in {"busy", "unready"}:
                raise
            await asyncio.sleep(RETRY_S)
        else:
            return


def block_indices(view: View) -> Iterator[BlockIndex]:
    """All blocks, x fastest."""
    for level in range(view.levels):
        for z, y, x in itertools.product(*map(range, view.layout.counts)):
            yield BlockIndex(level, (z, y, x))
