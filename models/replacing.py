"""Files that are replaced whole: whoever reads one, or stops the program, never finds half of it."""

from __future__ import annotations

import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PART: Final = ".part"


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path that replaces a file once it is complete; atomicwrites, which does it, is not maintained."""
    part = target.with_name(f"{PART}-{uuid.uuid4().hex}{target.suffix}")  # numpy adds a missing suffix
    try:
        yield part
        part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink()
