"""Computing one block of a job and storing it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from service.problems import Problem

if TYPE_CHECKING:
    from service.api.dependencies import Service
    from service.volumes.source import Source
    from service.volumes.storage import Location
    from service.volumes.view import Place, SuperResolved


# Seconds between two looks at a device that has no place, or is not ready.
PATIENCE: Final = 0.5


async def _fill_block(service: Service, view: SuperResolved, target: Location, place: Place) -> None:
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
            await asyncio.sleep(PATIENCE)
    service.jobs.computed += 1
    await service.in_thread(lambda: keep(view, target, chunks, service.library.locations.find(view.source.name)))


def keep(view: SuperResolved, target: Location, chunks: dict[str, bytes], source: Location) -> None:
    """Store a block, if its source is still what it was made from."""
    require_unchanged(source, view.source)
    for key, content in chunks.items():
        target.put(key, content)


def require_unchanged(location: Location, source: Source) -> None:
    """Refuse (409) to go on with a source that is another one by now."""
    if location.tag().digest != source.tag:
        raise Problem(409, "changed", f"{source.name} has changed since the job began")


def there(view: SuperResolved, target: Location, place: Place) -> bool:
    """Whether a block is done: chunks are of one size, and one that a power failure cut short is not."""
    return all(target.size(key) == view.chunk_bytes for key in view.keys(place))
