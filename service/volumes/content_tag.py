"""Tags of a volume's content, which differ if the content does."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from service.formats.zarr_group import DOCUMENTS
from service.problems import invalid_field, storing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


# A segment of a key. Only Zarr v2's names may begin with a dot: desktops and file systems leave other such files. Zarr
# has not finished files that end with .partial.
MEMBER: Final = re.compile(
    rf"(?!.*\.partial$)(?:{'|'.join(map(re.escape, DOCUMENTS))}|[A-Za-z0-9_][A-Za-z0-9._-]{{0,99}})"
)


# Largest share of the time that is spent on listings for tags, but seconds after which a slow one is made again: it may
# have waited for the network, and until then chunks are new and what describes them is old.
TAG_SHARE: Final = 0.02
TAG_MOST_S: Final = 300.0


class ContentTag(NamedTuple):
    """The content of a volume, in short.

    Attributes:
        digest: differs if the content does.
        keys: number of objects.
        size: bytes of all objects.
    """

    digest: str
    keys: int
    size: int


class TrustedTag:
    """The latest tag of a volume, trusted for a time; threads that need a new one share it.

    Args:
        least_s: least time for which a tag is trusted, in seconds. One that took long is trusted for longer.
    """

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s
        self._making = threading.Lock()
        self._tag: ContentTag | None = None
        self._generation = ""
        self._began = self._until = 0.0

    def get(
        self, make: Callable[[str], ContentTag], generation: Callable[[], str] = str, *, fresh: bool = False
    ) -> ContentTag:
        """The tag.

        Args:
            make: lists the volume for a new one, given its generation.
            generation: see [`Generations`][service.volumes.generations.Generations]; with another one the tag is new.
            fresh: whether it must have been begun after this call.
        """
        asked = time.monotonic()
        with self._making:
            start, now = time.monotonic(), generation()
            old = self._began <= asked if fresh else self._until < start
            if old or self._tag is None or self._generation != now:
                self._tag, self._generation, self._began = make(now), now, start
                end = time.monotonic()
                self._until = end + max(self._least_s, min(TAG_MOST_S, (end - start) / TAG_SHARE))
            return self._tag

    def forget(self) -> None:
        """Make a new one next time."""
        with self._making:
            self._tag = None


def digested(objects: Iterable[tuple[str, str, int]], generation: str = "") -> ContentTag:
    """The tag of objects.

    Args:
        objects: of each the key, a text that changes with the content, and the size.
        generation: see [`Generations`][service.volumes.generations.Generations].
    """
    digest, keys, size = hashlib.sha256(generation.encode()), 0, 0
    for key, content, more in sorted(objects):
        digest.update(f"{key} {content}\n".encode())
        keys, size = keys + 1, size + more
    return ContentTag(digest.hexdigest(), keys, size)


def tag_of(folder: Path, generation: str = "") -> ContentTag:
    """The tag of a folder, by the names, sizes and times of its files; see ``members`` for errors."""
    objects = ((key, f"{status.st_size} {status.st_mtime_ns}", status.st_size) for key, status in members(folder))
    return digested(objects, generation)


def members(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Keys of the objects of a Zarr group on disk, without the files that desktops and editors leave.

    Raises:
        Problem: 422 if something in the place of an object is no file; as `storing` does if the folder cannot be read.
    """
    with storing(folder.name, "read"):
        yield from _members(str(folder), "")


def _members(folder: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    # Whatever is removed meanwhile is left out.
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith("."):
                        yield from _members(entry.path, f"{prefix}{entry.name}/")
                elif MEMBER.fullmatch(entry.name):
                    status = entry.stat()
                    if not stat.S_ISREG(status.st_mode):
                        raise invalid_field(field="key", value=f"{prefix}{entry.name}", expected="a file")
                    yield f"{prefix}{entry.name}", status
