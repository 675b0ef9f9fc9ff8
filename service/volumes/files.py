"""Writes files whole, while the disk has room."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from models.replacing import PART, replacing

if TYPE_CHECKING:
    import threading

# From linux/fcntl.h and linux/fs.h.
AT_FDCWD: Final = -100
RENAME_EXCHANGE: Final = 2
# Seconds after which an unchanged partial file counts as abandoned; pauses in a body are shorter.
STALE_AFTER_S: Final = 3600.0


def why_unwritable(folder: Path) -> str | None:
    """Why nothing can be written to a folder, which is made if it is missing; None if something can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror


def room(folder: Path, spare: int) -> int:
    """Bytes that can be written to the disk of a folder while some stay free."""
    return shutil.disk_usage(folder).free - spare


def require_room(folder: Path, spare: int, size: int = 0) -> None:
    """Check that writing leaves enough of a disk free.

    Args:
        folder: on the disk.
        spare: bytes that stay free.
        size: bytes that are about to be written.

    Raises:
        OSError: ENOSPC if it does not, as if the disk were full.
    """
    if spare and room(folder, spare) < size:
        raise OSError(errno.ENOSPC, f"less than {spare} bytes of the disk are free, the reserve of this service")


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
    with replacing(path) as part:
        part.write_bytes(content)


def exchange(one: Path, other: Path) -> None:
    """Swap two paths, in one step where the file system can; Python has no call for it.

    Raises:
        OSError: if they cannot.
    """
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if swap and swap(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE) == 0:
        return
    # NFS cannot, and not every system has this call. The folder aside must not look abandoned.
    os.utime(other)
    aside = other.with_name(f"{PART}-{uuid.uuid4().hex}")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def remove(path: Path, stopped: threading.Event | None = None) -> None:
    """Remove a file or a folder, file by file, until it is stopped; what cannot be removed stays."""
    if not path.is_dir() or path.is_symlink():
        with suppress(OSError):
            path.unlink()
        return
    for folder, _, files in os.walk(path, topdown=False):
        for file in files:
            if stopped and stopped.is_set():
                return
            with suppress(OSError):
                Path(folder, file).unlink()
        shutil.rmtree(folder, ignore_errors=True)


def is_stale(path: Path, after_s: float = STALE_AFTER_S) -> bool:
    """Whether a partial file was abandoned: it has not changed for some seconds."""
    try:
        return time.time() - path.stat().st_mtime > after_s
    except FileNotFoundError:
        return False
