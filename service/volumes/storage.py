"""The interface of a place that holds one volume, on disk or in a bucket."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from service.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zarr.abc.store import Store

    from service.volumes.content_tag import ContentTag


DOCUMENT: Final = "zarr.json"
FINGERPRINT: Final = "eddylift_fingerprint"


class Storage(Protocol):
    """A place for one Zarr group. Objects appear whole or not at all.

    Every method raises a `Problem` if the place cannot be reached or has no room.
    """

    @property
    def name(self) -> str:
        """The name of a stored volume, or an address."""

    def group(self) -> Store:
        """The group as zarr reads it."""

    def tag(self, *, fresh: bool = False) -> ContentTag:
        """The tag of the content, at most a little old or, if ``fresh``, of now; 404 if there is no group."""

    def is_free(self) -> bool:
        """Whether nothing is there yet."""

    def size(self, key: str) -> int | None:
        """Bytes of an object; None if it is not there."""

    def get(self, key: str) -> bytes | None:
        """Content of an object; None if it is not there."""

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""

    def begin(self, documents: Mapping[str, bytes]) -> None:
        """Begin a group with these objects, or continue one of the same fingerprint.

        Raises:
            Problem: 409 if another group is there.
        """

    def finish(self) -> None:
        """Remove partial files, and let all services see the new content. Nobody must be writing."""


def require_tag(storage: Storage, tag: str, *, fresh: bool = False) -> None:
    """Refuse (409) a volume whose content is no longer that of a tag; see `Storage.tag` for ``fresh`` and 404."""
    if storage.tag(fresh=fresh).digest != tag:
        raise Problem("changed", f"{storage.name} has changed since it was opened")


@contextmanager
def reading(storage: Storage, tag: str, *, fresh: bool = False) -> Iterator[None]:
    """Read content of a tag: a problem of what is read is that the volume has changed, if it has.

    Chunks that are gone read as NaN, for example, which would be blamed on whoever sent the volume.
    """
    try:
        yield
    except Problem:
        require_tag(storage, tag, fresh=fresh)
        raise


def is_same(storage: Storage, documents: Mapping[str, bytes]) -> bool:
    """Whether a place holds the group of these documents."""
    return fingerprint_of(storage.get(DOCUMENT)) == fingerprint_of(documents[DOCUMENT])


def require_same(storage: Storage, documents: Mapping[str, bytes]) -> None:
    """Refuse (409) a place that holds another group than that of these documents."""
    if not is_same(storage, documents):
        raise taken(storage)


def taken(storage: Storage) -> Problem:
    """A place holds another group than the one that is to be written."""
    detail = (
        f"there is a volume {storage.name} already, and it has other content: perhaps the answer to a source that "
        "has changed, by another model or with other options, or by a service of another version, EDDYLIFT_BLOCK or "
        "EDDYLIFT_PRECISION. Delete it, or name another target"
    )
    return Problem("taken", detail)


def inside(name: str, outer: str) -> bool:
    """Whether one address equals another, or lies in it."""
    return name == outer or name.startswith(outer.rstrip("/") + "/")


def fingerprint_of(document: bytes | None) -> str | None:
    """The fingerprint in a ``zarr.json``; None if it has none, and so is not of a super-resolved volume."""
    try:
        return str(json.loads(document or b"")["attributes"][FINGERPRINT])
    except (ValueError, KeyError, TypeError):
        return None
