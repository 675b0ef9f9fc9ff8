"""Volumes that stay at the service: a Zarr group as objects to send, and a super-resolved one to look at."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eddylift import _files, _paths
from eddylift._errors import InvalidInputError, UnexpectedAnswerError
from eddylift._progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2
    import xarray as xr

    from eddylift._progress import ProgressCallback
    from eddylift._types import StoredVolume

DOCUMENTS = frozenset({"zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"})


class Object(NamedTuple):
    """One object of a Zarr group.

    Attributes:
        key: where it lies in the group.
        path: of the file that holds it.
        size: in bytes.
    """

    key: str
    path: Path
    size: int


@contextlib.contextmanager
def group(volume: xr.Dataset | str | Path) -> Iterator[list[Object]]:
    """Give the objects of a dataset or of a Zarr group on disk, documents last: what has them is complete.

    Raises:
        InvalidInputError: if the path is no Zarr group, or the zarr package is missing.
    """
    with contextlib.ExitStack() as kept:
        if isinstance(volume, (str, Path)):
            folder = Path(volume)
            if not any((folder / mark).is_file() for mark in _files.GROUP_MARKS):
                message = f"{folder} is no folder of a Zarr group"
                raise InvalidInputError(message)
        else:
            _files.require_zarr("sending a dataset")
            folder = Path(kept.enter_context(tempfile.TemporaryDirectory())) / "volume.zarr"
            _files.write_zarr(folder, volume)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        files.sort(key=lambda path: path.name in DOCUMENTS)
        yield [Object(path.relative_to(folder).as_posix(), path, path.stat().st_size) for path in files]


def open_view(
    base_url: httpx2.URL, headers: dict[str, str], volume: str, model: str, boundary: str | None
) -> xr.Dataset:
    """Open a super-resolved volume; reads no velocity.

    Raises:
        InvalidInputError: if a package that this needs is missing.
    """
    _files.require_zarr("opening a view")
    import xarray as xr  # noqa: PLC0415 slow
    from obstore.store import HTTPStore  # noqa: PLC0415 not in the base install
    from zarr.storage import ObjectStore  # noqa: PLC0415

    address = str(base_url).rstrip("/") + _paths.view_path(volume, model, boundary)
    store = HTTPStore.from_url(address, client_options={"allow_http": True, "default_headers": headers})
    view: xr.Dataset = xr.open_zarr(ObjectStore(store, read_only=True), chunks=None, consolidated=True)
    return view


class Arrival:
    """A volume that is being fetched into a folder, which appears when it is whole.

    Args:
        folder: where it is put.
        volume: what it is.
        report: told as objects come.

    Attributes:
        last: the last key that was asked for.

    Raises:
        InvalidInputError: if the folder is there.
    """

    def __init__(self, folder: str | Path, volume: StoredVolume, report: ProgressCallback) -> None:
        self.folder = Path(folder)
        if self.folder.exists():
            message = f"{self.folder} is there already"
            raise InvalidInputError(message)
        # Named after the content, so that what came of another one is not taken for it.
        self.part = self.folder.with_name(f".{self.folder.name}.{volume['tag'][:16]}.part")
        self.part.mkdir(parents=True, exist_ok=True)
        self.tag = volume["tag"]
        self.total = volume["bytes"]
        self.report = report
        self.done = 0
        self.last = ""
        report(Progress("download", 0, self.total))

    def missing(self, sizes: dict[str, int]) -> list[str]:
        """Say which objects are not there, in order."""
        keys = []
        for key, size in sizes.items():
            path = self.part / key
            if path.is_file() and path.stat().st_size == size:
                self.done += size
            else:
                keys.append(key)
            self.last = key
        self.report(Progress("download", self.done, self.total))
        return keys

    def take(self, key: str, content: bytes) -> None:
        """Store an object, whole or not at all.

        Raises:
            UnexpectedAnswerError: if it lies outside of the folder.
        """
        path = self.part / key
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
        """Put the folder in place.

        Raises:
            InvalidInputError: if the volume has changed meanwhile.
        """
        if volume["tag"] != self.tag:
            message = f"{volume['name']} changed while it was fetched: fetch it again"
            raise InvalidInputError(message)
        self.part.rename(self.folder)
        return self.folder


def taken(name: str) -> InvalidInputError:
    """Make the error of a name that there is already."""
    message = f"there is a volume {name} already: choose another name, or replace it"
    return InvalidInputError(message)
