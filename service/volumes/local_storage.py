"""Volumes in folders on disk."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from zarr.storage import LocalStore

from models.replacing import PART
from service.problems import GONE, storing
from service.volumes.content_tag import ContentTag
from service.volumes.files import remove, write_whole
from service.volumes.storage import DOCUMENT, is_same, taken

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from zarr.abc.store import Store

    from service.volumes.uploads import UploadStore

Found = TypeVar("Found")


class LocalStorage:
    """A folder on disk.

    Args:
        name: of the volume.
        path: the folder.
        volumes: the stored volumes that it is one of; None for a temporary volume.
        spare: see [`require_room`][service.volumes.files.require_room].
    """

    def __init__(self, name: str, path: Path, volumes: UploadStore | None = None, spare: int = 0) -> None:
        self.name = name
        self.path = path
        self.volumes = volumes
        self.spare = spare

    def group(self) -> Store:
        """See [`Storage`][service.volumes.storage.Storage]."""
        return LocalStore(self.path, read_only=True)

    def tag(self, *, fresh: bool = False) -> ContentTag:
        """See [`Storage`][service.volumes.storage.Storage]."""
        if self.volumes:
            return self.volumes.tag(self.name, fresh=fresh)
        return ContentTag(self.name, 0, 0)

    def is_free(self) -> bool:
        """See [`Storage`][service.volumes.storage.Storage]."""
        return self._look(self.path, Path.stat) is None

    def size(self, key: str) -> int | None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        found = self._look(self.path / key, Path.stat)
        return None if found is None else found.st_size

    def get(self, key: str) -> bytes | None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        return self._look(self.path / key, Path.read_bytes)

    def _look(self, path: Path, ask: Callable[[Path], Found]) -> Found | None:
        """What there is to see of a path; None if it is not there."""
        with storing(self.name, "read"):
            try:
                return ask(path)
            except OSError as error:
                if error.errno in GONE:
                    return None
                raise

    def put(self, key: str, content: bytes) -> None:
        """See [`Storage`][service.volumes.storage.Storage]. Nothing makes a stored volume anew that was deleted."""
        with storing(f"{self.name}/{key}"):
            if self.volumes and not self.path.is_dir():
                raise taken(self)
            write_whole(self.path / key, content, self.spare)

    def begin(self, documents: Mapping[str, bytes]) -> None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        if not self.is_free():
            if is_same(self, documents):
                return
            if self.volumes:
                raise taken(self)
            self.drop()  # temporary, and made from what has changed since
        digest = hashlib.sha256(documents[DOCUMENT]).hexdigest()[:16]
        part = self.path.with_name(f"{PART}-{self.path.name}-{digest}")
        shutil.rmtree(part, ignore_errors=True)
        with storing(self.name):
            for key, content in documents.items():
                write_whole(part / key, content, self.spare)
            part.rename(self.path)

    def finish(self) -> None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        with storing(self.name):
            for left in self.path.rglob(f"{PART}-*"):
                left.unlink(missing_ok=True)
        if self.volumes:
            with self.volumes.changing(self.name):
                pass

    def drop(self, stopped: threading.Event | None = None) -> None:
        """Delete the folder, until it is stopped."""
        remove(self.path, stopped)
