"""A super-resolved volume made whole: all blocks that are not there are computed, here or by a cluster.

A block is done if its chunks are there: each is written whole. What was stopped, by whatever it was, goes on with what
is missing.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from service.errors import Problem
from service.superresolved import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.dependencies import Service
    from service.locations import Location
    from service.sources import Source
    from service.superresolved import SuperResolved

# Seconds between two looks at a device that has no place, or is not ready.
PATIENCE: Final = 0.5
# Blocks that are looked for at a time.
LOOKED_AT: Final = 1000


@dataclass
class Progress:
    """How far a job is.

    Attributes:
        stage: "computing" blocks, or "comparing" slabs.
        total: blocks or slabs in all; None until they were counted.
        done: of them.
        computed: of these, since it was taken up.
        cells: fine cells of a block.
        began: when it was taken up, by the monotonic clock.
    """

    stage: str = "computing"
    total: int | None = None
    done: int = 0
    computed: int = 0
    cells: int = 0
    began: float = 0.0

    def told(self) -> dict[str, Any]:
        """As others are told of it."""
        return {
            "stage": self.stage,
            "blocks": self.total,
            "blocks_done": self.done,
            "voxels_per_second": self.rate,
            "seconds_left": self.seconds_left,
        }

    def begin(self, stage: str, total: int, cells: int) -> None:
        """Go on to a stage."""
        self.stage, self.total, self.done, self.computed, self.cells = stage, total, 0, 0, cells
        self.began = time.monotonic()

    @property
    def rate(self) -> float | None:
        """Fine cells a second since it was taken up; None before the first."""
        seconds = time.monotonic() - self.began
        return self.cells * self.computed / seconds if self.computed and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Time that the rest takes at this rate; None where there is none yet."""
        return None if self.total is None or not self.rate else (self.total - self.done) * self.cells / self.rate


async def fill(service: Service, view: SuperResolved, target: Location, progress: Progress, ahead: int) -> None:
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

    async def block(place: Place) -> None:
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
    await service.in_thread(lambda: require_still(service.library.locations.find(view.source.name), view.source))
    await service.in_thread(target.tidy)
    target.forget()


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


def require_still(location: Location, source: Source) -> None:
    """The same, looked at anew."""
    location.forget()
    require_unchanged(location, source)


def places(view: SuperResolved) -> Iterator[Place]:
    """All blocks, x fastest."""
    for level in range(view.levels):
        for z, y, x in itertools.product(*map(range, view.layout.counts)):
            yield Place(level, (z, y, x))


def there(view: SuperResolved, target: Location, place: Place) -> bool:
    """Whether a block is done: chunks are of one size, and one that a power failure cut short is not."""
    return all(target.size(key) == view.chunk_bytes for key in view.keys(place))
