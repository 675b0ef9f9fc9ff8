"""Telling how far a call has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from eddylift._codecs import Body

Stage = Literal["upload", "wait", "download", "compute", "compare"]


@dataclass(frozen=True)
class Progress:
    """Where a call is.

    Attributes:
        stage: ``upload``, then ``wait`` (queued or computed), then ``download``. A repeated call starts again. Of a job
            it is ``compute``, then ``compare`` if there is a reference.
        done: bytes sent or received; blocks or slabs of a job.
        total: the same in all, where known.
    """

    stage: Stage
    done: int
    total: int | None


ProgressCallback = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Tell nobody."""


def upload(body: Body, report: ProgressCallback) -> Iterator[bytes]:
    """Hand out a body piece by piece, reporting what was taken."""
    done = 0
    report(Progress("upload", done, body.size))
    for piece in body.pieces():
        yield piece
        done += len(piece)
        report(Progress("upload", done, body.size))
    report(Progress("wait", 0, None))


async def aupload(body: Body, report: ProgressCallback) -> AsyncIterator[bytes]:
    """Do as `upload`, for an asynchronous transport."""
    for piece in upload(body, report):
        yield piece
