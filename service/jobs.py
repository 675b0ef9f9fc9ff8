"""Jobs: a stored volume super-resolved into another one, block by block, whatever happens in between.

A block is done if its chunks are there: each is written whole, under another name first. A job that was stopped, by
whatever it was, goes on with what is missing, and computes nothing twice.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import math
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from models.blocks import parse_boundary
from service.errors import Problem, storing, unfit
from service.superresolved import DOCUMENT, Place
from service.volumes import PART, checked_name, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from service.dependencies import Service
    from service.ledger import Job, Ledger
    from service.superresolved import SuperResolved

logger = logging.getLogger("service.jobs")
# Seconds between two looks at a device that has no place, or is not ready.
PATIENCE: Final = 0.5
# Blocks that are looked for at a time.
LOOKED_AT: Final = 1000
FINGERPRINT: Final = "eddylift_fingerprint"


@dataclass
class Progress:
    """How far a job is.

    Attributes:
        blocks: in all; None until they were counted.
        done: of them.
        computed: of these, since it was taken up.
        cells: fine cells of a block.
        began: when it was taken up, by the monotonic clock.
    """

    blocks: int | None = None
    done: int = 0
    computed: int = 0
    cells: int = 0
    began: float = 0.0

    @property
    def rate(self) -> float | None:
        """Fine cells a second since it was taken up; None before the first."""
        seconds = time.monotonic() - self.began
        return self.cells * self.computed / seconds if self.computed and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Time that the rest takes at this rate; None where there is none yet."""
        return None if self.blocks is None or not self.rate else (self.blocks - self.done) * self.cells / self.rate


class Jobs:
    """What runs, and what waits to.

    Args:
        ledger: the list of jobs.
        limit: jobs that run at a time.
        ahead: blocks of a job that are read, computed and written at a time.
    """

    def __init__(self, ledger: Ledger, limit: int, ahead: int) -> None:
        self.ledger = ledger
        self.ahead = ahead
        self.computed = 0
        self._places = asyncio.Semaphore(limit)
        self._claiming = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._progress: dict[str, Progress] = {}

    def start(self, service: Service) -> None:
        """Take up what was not ended when the service was; call it in the event loop."""
        for job in reversed(self.ledger.all()):
            if not job.ended:
                self._launch(service, job)

    async def close(self) -> None:
        """Stop; what is not done is taken up at the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def progress(self, job: Job) -> Progress:
        """How far a job is; nothing is known of one that ended before the service was started."""
        return self._progress.get(job.id, Progress())

    def uses(self, volume: str) -> bool:
        """Whether a job reads or writes a volume."""
        return any(volume in (job.source, job.target) for job in self.ledger.all() if not job.ended)

    async def submit(self, service: Service, source: str, target: str, model: str, boundary: str | None) -> Job:
        """Put a job in line.

        Raises:
            Problem: 404, 400 or 422 if it cannot be done, 409 if the target is something else.
        """

        def prepare() -> Job:
            self._claim(service, look(service, source, model, boundary), target)
            return self.ledger.add(source, target, model, boundary)

        async with self._claiming:
            job = await service.in_thread(prepare)
            self._launch(service, job)
        return job

    async def resume(self, service: Service, job: Job) -> None:
        """Put a job that failed or was cancelled in line again; see ``submit`` for errors."""

        def prepare() -> bool:
            now = self.ledger.get(job.id)
            if now is None or not now.ended or now.state == "done":
                return False
            self._claim(service, look(service, job.source, job.model, job.boundary), job.target)
            self.ledger.mark(job.id, "queued")
            return True

        async with self._claiming:
            if await service.in_thread(prepare):
                self._launch(service, job)

    async def cancel(self, service: Service, job: Job) -> None:
        """Stop a job; blocks that are done stay."""
        if task := self._tasks.get(job.id):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        def mark() -> None:
            now = self.ledger.get(job.id)
            if now and not now.ended:
                self.ledger.mark(job.id, "cancelled")

        await service.in_thread(mark)

    def _claim(self, service: Service, view: SuperResolved, target: str) -> None:
        """See that a target is free, or this very volume begun."""
        if target == view.source.name:
            raise unfit(field="target", value=target, expected="another volume than the source")
        require_own(view, service.volumes.root / checked_name(target))
        if self.uses(target):
            raise Problem(409, "taken", f"another job uses {target}")

    def _launch(self, service: Service, job: Job) -> None:
        self._progress[job.id] = Progress()
        task = asyncio.create_task(self._run(service, job), name=f"job {job.id}")
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.id) if self._tasks.get(job.id) is task else None)

    async def _run(self, service: Service, job: Job) -> None:
        async with self._places:
            try:
                while not service.ready:  # noqa: ASYNC110 no event tells
                    await asyncio.sleep(PATIENCE)
                await service.in_thread(lambda: self.ledger.mark(job.id, "running"))
                await self._fill(service, job)
            except Exception as error:  # whatever it is, the job fails and the service goes on
                problem = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                detail = problem.detail if isinstance(problem, Problem) else f"{type(problem).__name__}: {problem}"
                if not isinstance(problem, Problem):
                    logger.exception("job %s failed", job.id)
                await service.in_thread(lambda: self.ledger.mark(job.id, "failed", detail))
            else:
                await service.in_thread(lambda: self.ledger.mark(job.id, "done"))

    async def _fill(self, service: Service, job: Job) -> None:
        """Compute all blocks of a target that are not there."""
        view = await service.in_thread(lambda: look(service, job.source, job.model, job.boundary))
        folder = service.volumes.root / job.target
        progress = self._progress[job.id]
        progress.blocks = view.levels * math.prod(view.layout.counts)
        progress.cells = math.prod(view.chunk)
        await service.in_thread(lambda: begin(view, folder))
        progress.began = time.monotonic()
        ahead = asyncio.Semaphore(self.ahead)

        async def fill(place: Place) -> None:
            try:
                await self._block(service, view, folder, place)
                progress.done += 1
                progress.computed += 1
            finally:
                ahead.release()

        rest = places(view)
        async with asyncio.TaskGroup() as group:
            while batch := list(itertools.islice(rest, LOOKED_AT)):
                missing = await service.in_thread(
                    lambda batch=batch: [place for place in batch if not there(view, folder, place)]  # type: ignore[misc]
                )
                progress.done += len(batch) - len(missing)
                for place in missing:
                    await ahead.acquire()
                    group.create_task(fill(place))
        service.volumes.forget(job.source)
        await self._require_same(service, view)
        service.volumes.forget(job.target)

    async def _require_same(self, service: Service, view: SuperResolved) -> None:
        """Refuse to go on with a source that is another one by now."""
        name = view.source.name
        if (await service.in_thread(lambda: service.volumes.tag(name))).digest != view.source.tag:
            raise Problem(409, "changed", f"{name} has changed since the job began")

    async def _block(self, service: Service, view: SuperResolved, folder: Path, place: Place) -> None:
        while True:
            try:
                chunks = await service.views.compute(service, view, place)
                break
            except Problem as problem:
                # A device that is full, or not ready for the moment, is waited for.
                if problem.kind not in {"busy", "unready"}:
                    raise
                await asyncio.sleep(PATIENCE)
        self.computed += 1
        await self._require_same(service, view)

        def keep() -> None:
            with storing("a block"):
                for key, content in chunks.items():
                    write_whole(folder / key, content)

        await service.in_thread(keep)


def look(service: Service, source: str, model: str, boundary: str | None) -> SuperResolved:
    """What a job is to make. See [`Views.open`][service.views.Views.open] for errors."""
    # Not at the top: dependencies know jobs.
    from service.dependencies import find_card  # noqa: PLC0415

    try:
        parsed = None if boundary is None else parse_boundary(boundary)
    except ValueError as error:
        raise unfit(field="boundary", value=boundary, expected="periodic, wall or open, or three of them") from error
    return service.views.open(service, source, find_card(model, service), parsed)


def require_own(view: SuperResolved, folder: Path) -> bool:
    """Whether a target has been begun; refuse (409) one that is something else."""
    if not folder.exists():
        return False
    try:
        begun = json.loads((folder / DOCUMENT).read_bytes())["attributes"][FINGERPRINT]
    except (OSError, ValueError, KeyError, TypeError):
        begun = None
    if begun != view.fingerprint:
        raise Problem(409, "taken", f"there is a volume {folder.name} already, and it is something else")
    return True


def begin(view: SuperResolved, folder: Path) -> None:
    """Make a target: its folder appears with all documents in it, or not at all."""
    if require_own(view, folder):
        for left in folder.rglob(f"{PART}-*"):  # of a service that was killed
            left.unlink(missing_ok=True)
        return
    documents = dict(view.documents)
    head = json.loads(documents[DOCUMENT])
    head["attributes"][FINGERPRINT] = view.fingerprint
    documents[DOCUMENT] = json.dumps(head).encode()
    part = folder.with_name(f"{PART}-{folder.name}-{view.fingerprint}")
    shutil.rmtree(part, ignore_errors=True)
    with storing(folder.name):
        for key, content in documents.items():
            write_whole(part / key, content)
        part.rename(folder)


def places(view: SuperResolved) -> Iterator[Place]:
    """All blocks, x fastest."""
    for level in range(view.levels):
        for z, y, x in itertools.product(*map(range, view.layout.counts)):
            yield Place(level, (z, y, x))


def there(view: SuperResolved, folder: Path, place: Place) -> bool:
    """Whether a block is done: chunks are of one size, and one that a power failure cut short is not."""
    try:
        return all((folder / key).stat().st_size == view.chunk_bytes for key in view.keys(place))
    except FileNotFoundError:
        return False
