"""Computing one block of a job and storing it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from service.problems import Problem

if TYPE_CHECKING:
    from service.api.dependencies import Service
    from service.volumes.source import OpenVolume
    from service.volumes.storage import Storage
    from service.volumes.view import BlockIndex, View


# Seconds between two looks at a device that has no place, or is not ready.
RETRY_S: Final = 0.5


async def _fill_block(service: Service, view: View, target: Storage, place: BlockIndex) -> None:
    while True:
        try:
            if service.cluster:
                scale = await service.views.scale(service, view.source, view.span(place))
                await service.cluster.fill(view, target, place, scale)
                return
            chunks = await service.views.compute(service, view, place, background=True)
            break
        except Problem as problem:
            # A device that is full, or not ready for the moment, is waited for.
            if problem.kind not in {"busy", "unready"}:
                raise
            await asyncio.sleep(RETRY_S)
    service.jobs.computed += 1
    await service.in_thread(lambda: keep(view, target, chunks, service.opener.storages.find(view.source.name)))


def keep(view: View, target: Storage, chunks: dict[str, bytes], source: Storage) -> None:
    """Store a block, if its source is still what it was made from."""
    require_unchanged(source, view.source)
    for key, content in chunks.items():
        target.put(key, content)


def require_unchanged(storage: Storage, source: OpenVolume) -> None:
    """Refuse (409) to go on with a source that is another one by now."""
    if storage.tag().digest != source.tag:
        raise Problem("changed", f"{source.name} has changed since the job began")


def there(view: View, target: Storage, place: BlockIndex) -> bool:
    """Whether a block is done: chunks are of one size, and one that a power failure cut short is not."""
    return all(target.size(key) == view.chunk_bytes for key in view.keys(place))
