"""Stored volumes: Zarr groups under the data folder, sent key by key."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from service.problems import Problem, invalid_field
from service.volumes.files import PART, is_stale, require_room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from pathlib import Path


NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Of a key, between slashes; Zarr v2 has files that begin with a dot.
SEGMENT: Final = re.compile(r"\.z(?:array|group|attrs|metadata)|[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
DEEPEST: Final = 10
# Seconds for which a volume is not looked at again.
TAG_TTL_S: Final = 0.5
GONE: Final = ".gone"


class ContentTag(NamedTuple):
    """What a volume holds, in short.

    Attributes:
        digest: other content, other digest.
        keys: how many.
        size: in bytes.
    """

    digest: str
    keys: int
    size: int


class UploadStore:
    """The volumes of a folder.

    Args:
        root: the folder, made when something is put into it.
        spare: see [`require_room`][service.volumes.files.require_room].
    """

    def __init__(self, root: Path, spare: int = 0) -> None:
        self.root = root
        self.spare = spare
        self._tags: dict[str, tuple[float, ContentTag]] = {}
        self._changes: dict[str, int] = {}

    def names(self) -> list[str]:
        """Names of all volumes, in order."""
        if not self.root.exists():
            return []
        return sorted(path.name for path in self.root.iterdir() if path.is_dir() and NAME.fullmatch(path.name))

    def path(self, name: str) -> Path:
        """Folder of a volume.

        Raises:
            Problem: 422 if the name cannot be one, 404 if there is no such volume.
        """
        path = self.root / checked_name(name)
        if not path.is_dir():
            raise Problem("unknown-volume", f"there is no volume {name}")
        return path

    def keys(self, name: str) -> list[tuple[str, int]]:
        """Keys of a volume in order, and the sizes of their objects; 404 if there is no such volume."""
        folder = self.path(name)
        return sorted((os.path.relpath(path, folder), status.st_size) for path, status in _files(str(folder)))

    def object(self, name: str, key: str) -> Path:
        """File of a key.

        Raises:
            Problem: 422 if the key cannot be one, 404 if it is not there.
        """
        path = self.path(name) / checked_key(key)
        if not path.is_file():
            raise Problem("unknown-key", f"volume {name} has no key {key}")
        return path

    async def put(
        self, name: str, key: str, pieces: AsyncIterator[bytes], allowed: Callable[[], Awaitable[None]]
    ) -> bool:
        """Store what comes under a key, whole or not at all, and tell whether the key is new.

        Args:
            name: of the volume.
            key: of the object.
            pieces: its content.
            allowed: raises if the volume must not change; asked when all has come.

        Raises:
            Problem: 422 if name or key cannot be, 507 if there is no room.
        """
        path = self.root / checked_name(name) / checked_key(key)
        part = self.root / f"{PART}-{uuid.uuid4().hex}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            require_room(self.root, self.spare)
            with part.open("wb") as file:
                async for piece in pieces:
                    file.write(piece)
            await allowed()
            new = not path.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            part.replace(path)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise invalid_field(
                field="key", value=key, expected="a key that no other one lies below or above"
            ) from error
        except OSError as error:
            raise Problem("no-room", f"{key} cannot be stored: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)
            self.forget(name)
        return new

    def tidy(self) -> None:
        """Remove what a service left that was killed, and nothing that another one is writing."""
        for left in filter(is_stale, [*self.root.glob(f"{PART}-*"), *self.root.glob(f"{GONE}-*")]):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    def delete(self, name: str, key: str | None = None) -> None:
        """Drop a key, or a whole volume.

        Raises:
            Problem: 404 if it is not there.
        """
        if key is not None:
            self.object(name, key).unlink(missing_ok=True)
        else:
            # Out of sight first, so that no reader sees half of it.
            gone = self.root / f"{GONE}-{uuid.uuid4().hex}"
            self.path(name).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        self.forget(name)

    def rename(self, name: str, to: str, *, replace: bool = False) -> None:
        """Give a volume another name; readers of that name see the old volume or the new one, whole.

        Args:
            name: of the volume.
            to: its new name.
            replace: drop a volume that is called so; else it is kept, and that is refused.

        Raises:
            Problem: 404 if there is no such volume, 409 if the new name is taken, 422 if it cannot be one.
        """
        path, target = self.path(name), self.root / checked_name(to)
        if path == target:
            raise invalid_field(field="to", value=to, expected="another name than the volume has")
        gone = self.root / f"{GONE}-{uuid.uuid4().hex}"
        if replace:
            with suppress(FileNotFoundError):
                target.rename(gone)
        try:
            path.rename(target)
        except OSError as error:
            raise Problem("taken", f"there is a volume {to} already") from error
        shutil.rmtree(gone, ignore_errors=True)
        self.forget(name)
        self.forget(to)

    def forget(self, name: str) -> None:
        """Look at a volume anew the next time."""
        self._changes[name] = self._changes.get(name, 0) + 1
        self._tags.pop(name, None)

    def tag(self, name: str) -> ContentTag:
        """What a volume holds, by the names, sizes and times of its files; half a second old at most."""
        now, changes = time.monotonic(), self._changes.get(name, 0)
        looked, tag = self._tags.get(name, (now - 2 * TAG_TTL_S, ContentTag("", 0, 0)))
        if now - looked > TAG_TTL_S:
            tag = tag_of(self.path(name))
            if self._changes.get(name, 0) == changes:
                self._tags[name] = now, tag
        return tag


def tag_of(folder: Path) -> ContentTag:
    """See [`UploadStore.tag`][service.volumes.uploads.UploadStore.tag]."""
    return digested(
        (os.path.relpath(path, folder), f"{status.st_size} {status.st_mtime_ns}", status.st_size)
        for path, status in _files(str(folder))
    )


def digested(objects: Iterable[tuple[str, str, int]]) -> ContentTag:
    """The tag of objects: each its key, what tells its content from another one, and its size."""
    digest, keys, size = hashlib.sha256(), 0, 0
    for key, content, more in sorted(objects):
        digest.update(f"{key} {content}\n".encode())
        keys, size = keys + 1, size + more
    return ContentTag(digest.hexdigest(), keys, size)


def _files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    # What is removed meanwhile was not there.
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(entry.path)
                elif not entry.name.startswith(PART):
                    yield entry.path, entry.stat()


def checked_name(name: str) -> str:
    """A name that can be that of a volume.

    Raises:
        Problem: 422 if it cannot.
    """
    if not NAME.fullmatch(name):
        expected = "up to 100 letters, digits, dots, hyphens and underscores, the first a letter or a digit"
        raise invalid_field(field="name", value=name, expected=expected)
    return name


def checked_key(key: str) -> str:
    """A key that stays inside its volume.

    Raises:
        Problem: 422 if it does not.
    """
    segments = key.split("/")
    if len(segments) > DEEPEST or not all(SEGMENT.fullmatch(segment) for segment in segments):
        expected = f"up to {DEEPEST} names of letters, digits, dots, hyphens and underscores, joined by slashes"
        raise invalid_field(field="key", value=key, expected=expected)
    return key
