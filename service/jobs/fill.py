"""A super-resolved volume made whole: all blocks that are not there are computed, here or by a cluster.

A block is done if its chunks are there: each is written whole. What was stopped, by whatever it was, goes on with what
is missing.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import TYPE_CHECKING, Final

from service.jobs.executor import _fill_block, require_unchanged, there
from service.volumes.view import BlockIndex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.api.dependencies import Service
    from service.jobs.progress import Progress
    from service.volumes.source import OpenVolume
    from service.volumes.storage import Storage
    from service.volumes.view import View

# Blocks that are looked for at a time.
LOOKED_AT: Final = 1000


async def fill(service: Service, view: View, target: Storage, progress: Progress, ahead: int) -> None:
    """Compute all blocks of a target that are not there.

    Args:
        service: what computes.
        view: what the target is to be.
        target: where it is, begun or not.
        progress: to keep.
        ahead: blocks that each worker reads, computes and writes at a time.

    Raises:
        Problem: as computing, reading and writing do; 409 if the source is another one by now.
    """
    progress.begin("computing", view.levels * math.prod(view.layout.counts), math.prod(view.chunk))
    await service.in_thread(lambda: target.begin(view.documents))
    running: set[asyncio.Task[None]] = set()

    async def block(place: BlockIndex) -> None:
        await _fill_block(service, view, target, place)
        progress.done += 1
        progress.computed += 1

    rest = places(view)
    async with asyncio.TaskGroup() as group:
        while batch := list(itertools.islice(rest, LOOKED_AT)):
            missing = await service.in_thread(
                lambda batch=batch: [place for place in batch if not there(view, target, place)]  # type: ignore[misc]
            )
            progress.done += len(batch) - len(missing)
            for place in missing:
                while len(running) >= ahead * (service.cluster.workers if service.cluster else 1):
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                task = group.create_task(block(place))
                running.add(task)
                task.add_done_callback(running.discard)
    await service.in_thread(lambda: require_still(service.opener.storages.find(view.source.name), view.source))
    await service.in_thread(target.tidy)
    target.forget()


def require_still(storage: Storage, source: OpenVolume) -> None:
    """The same, looked at anew."""
    storage.forget()
    require_unchanged(storage, source)


def places(view: View) -> Iterator[BlockIndex]:
    """All blocks, x fastest."""
    for level in range(view.levels):
        for z, y, x in itertools.product(*map(range, view.layout.counts)):
            yield BlockIndex(level, (z, y, x))
