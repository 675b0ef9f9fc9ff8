"""Which of the replicas (services that share a data folder) are alive."""

from __future__ import annotations

import fcntl
import threading
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from service.problems import GONE, storing
from service.runtime.file_lock import is_at, locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ReplicaLease:
    """Shows other replicas that this one is alive: it locks a file, and the system releases the lock when it ends.

    The folder must be on a disk whose locks all replicas see: a local one, or NFS of version 4.

    Args:
        folder: of the files.

    Attributes:
        id: of this replica.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = uuid.uuid4().hex[:12]
        self._held: BinaryIO | None = None
        self._beginning = threading.Lock()

    def begin(self) -> None:
        """Show that this replica is alive, from now on.

        While it is cut off from NFS, the server gives up its locks, and other replicas remove its file: call this again
        and again.
        """
        path = self.folder / self.id
        with self._beginning:
            if self._held is None or not is_at(path, self._held):
                self.end()
                self.folder.mkdir(parents=True, exist_ok=True)
                held = path.open("wb")
                fcntl.flock(held, fcntl.LOCK_EX)
                self._held = held

    def end(self) -> None:
        """Show that it no longer is."""
        held, self._held = self._held, None
        if held:
            with suppress(OSError):  # a file that nobody locks shows nobody alive
                (self.folder / self.id).unlink()
            held.close()

    def is_alive(self, name: str) -> bool:
        """Whether another replica is alive."""
        path = self.folder / name
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno in GONE:
                return False
            raise
        path.unlink(missing_ok=True)
        return False

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep the other replicas out while changing the list of jobs.

        Raises:
            Problem: "unready" if another replica takes too long; if the data folder cannot be written.
        """
        with storing("the list of jobs"), locked(self.folder / "alone"):
            self.begin()
            yield
