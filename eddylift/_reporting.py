"""Reports progress to a callback or to bars on standard error, also while a body is sent."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from eddylift._progress import WAITING, Progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from eddylift._codecs import Body
    from eddylift._progress import ProgressCallback


@contextmanager
def reporting(progress: ProgressCallback | bool | None) -> Iterator[ProgressCallback]:  # noqa: FBT001 as callers write it
    """Give the callback to report progress to; True shows bars, False and None ignore it."""
    if progress is not True:
        yield progress or _ignore
        return
    from rich.console import Console  # noqa: PLC0415 slow

    from eddylift._display import Bars  # noqa: PLC0415

    with Bars(Console(stderr=True)) as bars:
        yield bars


def _ignore(progress: Progress) -> None:
    """Report to nobody."""


def body_pieces(body: Body | None, report: ProgressCallback) -> Iterator[bytes] | None:
    """Give the body of a call piece by piece, and report what was taken; None if there is no body."""
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


def async_body_pieces(body: Body | None, report: ProgressCallback) -> AsyncIterator[bytes] | None:
    """Do as `body_pieces`, for an asynchronous transport."""
    pieces = body_pieces(body, report)
    return None if pieces is None else _awaited(pieces)


async def _awaited(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
