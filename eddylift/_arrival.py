"""Downloads stored volumes object by object."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from eddylift import _files
from eddylift._errors import InvalidInputError, UnexpectedAnswerError
from eddylift._progress import Progress

if TYPE_CHECKING:
    from eddylift._progress import ProgressCallback
    from eddylift._types import StoredVolume


class Arrival:
    """A download into a folder, which appears when it is complete.

    Args:
        folder: folder to write.
        volume: the stored volume.
        report: called as objects come.

    Attributes:
        last: the last key of the listing so far.

    Raises:
        InvalidInputError: if the folder exists, or cannot be written.
    """

    def __init__(self, folder: str | Path, volume: StoredVolume, report: ProgressCallback) -> None:
        self.folder = Path(folder)
        with _files.own_errors(self.folder, "written"):
            if self.folder.exists():
                message = f"{self.folder} exists already"
                raise InvalidInputError(message)
            # Named after the content, so that a download of other content is not continued.
            self.part = self.folder.with_name(f".{self.folder.name}.{volume['tag'][:16]}.part")
            self.part.mkdir(parents=True, exist_ok=True)
        self.tag = volume["tag"]
        self.total = volume["bytes"]
        self.report = report
        self.done = 0
        self.last = ""
        report(Progress("download", 0, self.total))

    def missing(self, sizes: dict[str, int]) -> list[str]:
        """Return the keys that are not downloaded yet, in order.

        Raises:
            InvalidInputError: if the folder cannot be read.
        """
        keys = []
        for key, size in sizes.items():
            path = self.part / key
            with _files.own_errors(path, "read"):
                is_there = path.is_file() and path.stat().st_size == size
            if is_there:
                self.done += size
            else:
                keys.append(key)
            self.last = key
        self.report(Progress("download", self.done, self.total))
        return keys

    def take(self, key: str, content: bytes) -> None:
        """Write an object, completely or not at all.

        Raises:
            InvalidInputError: if it cannot be written.
            UnexpectedAnswerError: if the key leads out of the folder.
        """
        path = self.part / key
        with _files.own_errors(path, "written"):
            if not path.resolve().is_relative_to(self.part.resolve()):
                message = f"the service sent the key {key}, which leads out of {self.folder}"
                raise UnexpectedAnswerError(message)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.part")
            partial.write_bytes(content)
            partial.replace(path)
        self.done += len(content)
        self.report(Progress("download", self.done, self.total))

    def finish(self, volume: StoredVolume) -> Path:
        """Give the complete folder its name.

        Raises:
            InvalidInputError: if the volume has changed meanwhile, or the folder cannot be written.
        """
        with _files.own_errors(self.folder, "written"):
            if volume["tag"] != self.tag:
                shutil.rmtree(self.part)  # nobody can complete it
                message = f"{volume['name']} changed while it was fetched: fetch it again"
                raise InvalidInputError(message)
            self.part.rename(self.folder)
        return self.folder
