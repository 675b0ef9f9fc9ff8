"""Choosing where progress is reported: to a callback, to bars on standard error, or nowhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eddylift._progress import Progress, ProgressCallback


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
