"""Files from which an interrupted command continues."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def readable_checkpoint(path: Path) -> Iterator[None]:
    """Refuse a file of an interrupted command that cannot be read, such as one by another version.

    Raises:
        ValueError: in the place of any exception.
    """
    try:
        yield
    except Exception as error:  # whatever torch and NumPy make of it
        message = f"{path}: {type(error).__name__}; expected what this version of eddylift writes. Use another --out"
        raise ValueError(message) from error
