"""Stored volumes: Zarr groups in the data folder, uploaded key by key."""

from __future__ import annotations

import logging
import re
import uuid
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final

from models.replacing import PART
from service.problems import Problem, invalid_field, storing
from service.runtime.threads import Threads
from service.volumes.content_tag import MEMBER, TrustedTag, members, tag_of
from service.volumes.files import exchange, is_stale, remove, require_room
from service.volumes.generations import Generations

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from service.volumes.content_tag import ContentTag


logger = logging.getLogger("service.volumes")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
DEEPEST: Final = 10
# Least time between two looks for changes made without a service.
TAG_TTL_S: Final = 0.5
GONE: Final = ".gone"
# The name that clients give a volume until all of it is sent, and the seconds after which such an upload is given up.
DRAFT: Final = re.compile(rf"{NAME.pattern}\.part-[0-9a-f]{{12}}")
DRAFT_S: Final = 86_400.0
# Threads that write uploads.
WRITERS: Final = 4


class UploadStore:
    """The volumes of a folder, which services may share.

    Args:
        root: the folder, made with the first upload.
        spare: see [`require_room`][service.volumes.files.require_room].
    """

    def __init__(self, root: Path, spare: int = 0) -> None:
        self.root = root
        self.spare = spare
        self.generations = Generations(root)
        self._tags: dict[str, TrustedTag] = {}
        self._writers = Threads(WRITERS)

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
        return sorted((key, status.st_size) for key, status in members(self.path(name)))

    def object(self, name: str, key: str) -> Path:
        """File of a key.

        Raises:
            Problem: 422 if the key cannot be one, 404 if it is not there.
        """
        path = self.path(name) / checked_key(key)
        if not path.is_file():
            raise Problem("unknown-key", f"volume {name} has no key {key}")
        return path

    @contextmanager
    def changing(self, name: str, allowed: Callable[[], None] = lambda: None) -> Iterator[Path]:
        """Change a volume while nobody else does, and let all services know; gives its folder.

        Args:
            name: of the volume.
            allowed: raises if the volume must not change.

        Raises:
            Problem: 503 if another change takes too long, 500 or 507 if the folder cannot be written.
        """
        path = self.root / checked_name(name)
        with storing(f"volume {name}"), self.generations.change(name, allowed):
            yield path

    @asynccontextmanager
    async def receive(self, key: str, pieces: AsyncIterator[bytes]) -> AsyncIterator[Path]:
        """Write a body to a temporary file, which ``store`` may take; otherwise it is removed.

        Raises:
            Problem: 507 if there is no room, 500 if the folder cannot be written.
        """
        part = self.root / f"{PART}-{uuid.uuid4().hex}"

        def create() -> BinaryIO:
            self.root.mkdir(parents=True, exist_ok=True)
            return part.open("wb")

        def write(file: BinaryIO, piece: bytes) -> None:
            require_room(self.root, self.spare, len(piece))
            file.write(piece)

        try:
            with storing(key):
                file = await self._writers.run(create)
                try:
                    async for piece in pieces:
                        await self._writers.run(write, file, piece)
                finally:
                    await self._writers.run(file.close)
            yield part
        finally:
            with suppress(OSError):
                await self._writers.run(part.unlink)

    def store(self, part: Path, name: str, key: str, allowed: Callable[[], None]) -> bool:
        """Make a file the object of a key; returns whether the key is new.

        Args:
            part: the file.
            name: of the volume.
            key: of the object.
            allowed: raises if the volume must not change.

        Raises:
            Problem: 422 if name or key cannot be; as ``changing`` does.
        """
        checked_key(key)
        with self.changing(name, allowed) as folder:
            path = folder / key
            try:
                new = not path.exists()
                path.parent.mkdir(parents=True, exist_ok=True)
                part.replace(path)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                expected = "a key that is not a folder of another key, nor inside one"
                raise invalid_field(field="key", value=key, expected=expected) from error
            return new

    def tidy(self, stopped: threading.Event) -> None:
        """Remove what killed services and clients left, and nothing that is being written, until it is stopped.

        Services that share the folder may do so at the same time: a volume that is being deleted can be deleted twice.
        """
        names = self.names()
        for gone in set(self._tags).difference(names):
            self._tags.pop(gone, None)
        for name in filter(DRAFT.fullmatch, names):
            if stopped.is_set():
                return
            with suppress(Problem):
                self.delete(name, None, partial(self._require_abandoned, name), stopped)
                logger.warning("%s is deleted: an upload that was not continued for a day", name)
        for left in [*filter(is_stale, self.root.glob(f"{PART}-*")), *self.root.glob(f"{GONE}-*")]:
            remove(left, stopped)

    def _require_abandoned(self, name: str) -> None:
        """Refuse to drop an upload that may go on."""
        if not is_stale(self.generations.folder / name, DRAFT_S):
            raise Problem("taken", f"{name} is in use")

    def delete(
        self, name: str, key: str | None, allowed: Callable[[], None], stopped: threading.Event | None = None
    ) -> None:
        """Drop a key, or a whole volume.

        Args:
            name: of the volume.
            key: of the object; None for all of them.
            allowed: raises if the volume must not change.
            stopped: see [`remove`][service.volumes.files.remove].

        Raises:
            Problem: 404 if it is not there.
        """

        def check() -> None:
            _ = self.path(name) if key is None else self.object(name, key)
            allowed()

        with self.changing(name, check) as folder:
            if key is not None:
                (folder / key).unlink(missing_ok=True)
                return
            # Renamed first, so that no reader sees half of it.
            gone = self.root / f"{GONE}-{uuid.uuid4().hex}"
            folder.rename(gone)
        remove(gone, stopped)

    def rename(self, name: str, to: str, allowed: Callable[[], None], *, replace: bool = False) -> None:
        """Give a volume another name; readers of that name see the old volume or the new one, whole.

        Args:
            name: of the volume.
            to: its new name.
            allowed: raises if one of them must not change.
            replace: whether to drop a volume that has the new name; otherwise the call is refused.

        Raises:
            Problem: 404 if there is no such volume, 409 if the new name is taken, 422 if it cannot be one.
        """
        check_kept("to", to)
        path, target = self.root / checked_name(name), self.root / checked_name(to)
        if path == target:
            raise invalid_field(field="to", value=to, expected="another name than the volume has")

        def check() -> None:
            self.path(name)
            if target.exists() and not replace:
                raise Problem("taken", f"there is a volume {to} already")
            allowed()

        first, second = sorted((name, to))  # or two renames could wait for each other
        with self.changing(first, check), self.changing(second, check):
            if not target.exists():
                path.rename(target)
                return
            exchange(path, target)
            gone = self.root / f"{GONE}-{uuid.uuid4().hex}"
            path.rename(gone)
        remove(gone)

    def tag(self, name: str, *, fresh: bool = False) -> ContentTag:
        """The tag of a volume's content.

        Changes that services make are seen at once; those made in the folder itself, now and then.

        Args:
            name: of the volume.
            fresh: whether to see the latter at once, too.

        Raises:
            Problem: 404 if there is no such volume, 422 if it cannot be read, 503 if a change takes too long.
        """

        def generation() -> str:
            now = self.generations.read(name)
            self.path(name)  # or it is gone
            return now

        path = self.path(name)
        tag = self._tags.setdefault(name, TrustedTag(TAG_TTL_S))
        return tag.get(partial(tag_of, path), generation, fresh=fresh)


def checked_name(name: str) -> str:
    """The name, if a volume may have it.

    Raises:
        Problem: 422 if not.
    """
    if not NAME.fullmatch(name):
        expected = "up to 100 letters, digits, dots, hyphens and underscores, the first a letter or a digit"
        raise invalid_field(field="name", value=name, expected=expected)
    return name


def check_kept(field: str, name: str) -> None:
    """Refuse (422) a name for which a volume would be deleted after a day, as an upload that was given up."""
    if DRAFT.fullmatch(name):
        expected = "another ending: volumes whose names end so are uploads, and are deleted after a day"
        raise invalid_field(field=field, value=name, expected=expected)


def checked_key(key: str) -> str:
    """The key, if it is that of an object inside its volume.

    Raises:
        Problem: 422 if not.
    """
    segments = key.split("/")
    if len(segments) > DEEPEST or not all(MEMBER.fullmatch(segment) for segment in segments):
        expected = f"up to {DEEPEST} names of letters, digits, dots, hyphens and underscores, joined by slashes"
        raise invalid_field(field="key", value=key, expected=expected)
    return key
