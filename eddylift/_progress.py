"""The progress of a call."""

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


WAITING = Progress("wait", 0, None)
ProgressCallback = Callable[[Progress], None]


def upload(body: Body | None, report: ProgressCallback) -> Iterator[bytes] | None:
    """Hand out what a call carries, if anything, piece by piece, reporting what was taken."""
    if body is None:
        report(WAITING)
        return None
    return _pieces(body, report)


def _pieces(body: Body, report: ProgressCallback) -> Iterator[bytes]:
    done = 0
    report(Progress("upload", done, body.size))
    for piece in body.pieces():
        yield piece
        done += len(piece)
        report(Progress("upload", done, body.size))
    report(WAITING)


def aupload(body: Body | None, report: ProgressCallback) -> AsyncIterator[bytes] | None:
    """Do as `upload`, for an asynchronous transport."""
    pieces = upload(body, report)
    return None if pieces is None else _awaited(pieces)


async def _awaited(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
