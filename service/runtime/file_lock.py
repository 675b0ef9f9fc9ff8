"""Short locks on files, for processes that share a folder."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from service.problems import GONE, unready

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# Seconds to wait for a lock.
PATIENCE_S: Final = 10.0
POLL_S: Final = 0.002


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[BinaryIO]:
    """Lock a file, and give it opened.

    Shared locks of the `filelock` package are SQLite databases; this locks the very file that is read or written. The
    system releases a lock when its process ends, in whatever way.

    Args:
        path: of the file; an exclusive lock makes it.
        shared: whether others may share the lock; otherwise it is exclusive.

    Raises:
        FileNotFoundError: if the lock is shared and there is no file.
        Problem: 503 if another process holds the lock for too long.
    """
    file: BinaryIO
    deadline = time.monotonic() + PATIENCE_S
    while True:
        if shared:
            file = path.open("rb")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        with file:
            if _lock(file, path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
                yield file
                return
        if time.monotonic() > deadline:
            detail = f"another service holds {path.name} for more than {PATIENCE_S:g} s"
            raise unready(detail)
        time.sleep(POLL_S)


def _lock(file: BinaryIO, path: Path, kind: int) -> bool:
    """Lock an open file, unless another process holds it, or has removed or replaced it since it was opened."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in GONE:
            return False
        raise
    return is_at(path, file)


def is_at(path: Path, file: BinaryIO) -> bool:
    """Whether an open file is still at its path, so that a lock on it counts."""
    try:
        # Not by the number of its links: NFS keeps one to a file that is removed while it is open.
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError as error:
        if error.errno in GONE:
            return False
        raise
