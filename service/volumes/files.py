"""Writing files whole, while the disk has room."""

from __future__ import annotations

import errno
import shutil
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

PART: Final = ".part"
# Seconds after which what is being written has been left; pauses in a body are shorter.
STALE_AFTER_S: Final = 3600.0


def require_room(folder: Path, spare: int) -> None:
    """See that a disk still has bytes to spare.

    Raises:
        OSError: if it has not: ENOSPC, as if it were full.
    """
    if spare and shutil.disk_usage(folder).free < spare:
        raise OSError(errno.ENOSPC, f"less than {spare} bytes of the disk are free, which are spared")


def write_whole(path: Path, content: bytes, spare: int = 0) -> None:
    """Write a file, whole or not at all.

    Args:
        path: of the file.
        content: of it.
        spare: see [`require_room`][service.volumes.files.require_room].

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    require_room(path.parent, spare)
    part = path.with_name(f"{PART}-{uuid.uuid4().hex}")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


def is_stale(path: Path) -> bool:
    """Whether nobody has been writing there for long."""
    try:
        return time.time() - path.stat().st_mtime > STALE_AFTER_S
    except FileNotFoundError:
        return False
