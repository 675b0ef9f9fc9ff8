"""What a place for volumes can do, wherever it lies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Protocol

from service.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarr.abc.store import Store

    from service.volumes.content_tag import ContentTag


DOCUMENT: Final = "zarr.json"
FINGERPRINT: Final = "eddylift_fingerprint"


class Storage(Protocol):
    """A place for one Zarr group. Whatever is stored appears whole or not at all.

    Every method raises a `Problem` where the place cannot be reached or has no room.
    """

    @property
    def name(self) -> str:
        """What it is called: the name of a stored volume, or an address."""

    def group(self) -> Store:
        """The group as zarr reads it."""

    def tag(self, *, fresh: bool = False) -> ContentTag:
        """What the group holds, as it was lately or, on request, is now; 404 if there is none."""

    def is_free(self) -> bool:
        """Whether there is nothing yet."""

    def size(self, key: str) -> int | None:
        """Bytes of an object; None if it is not there."""

    def get(self, key: str) -> bytes | None:
        """Content of an object; None if it is not there."""

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""

    def begin(self, documents: Mapping[str, bytes]) -> None:
        """Make a group of these objects, or complete what was begun of the same fingerprint.

        Raises:
            Problem: 409 if there is another one.
        """

    def finish(self) -> None:
        """Remove what was left by who was killed, and let all see what there is now; nobody must be writing."""


def require_same(storage: Storage, documents: Mapping[str, bytes]) -> None:
    """Refuse (409) a place where something else than these documents' group has been begun."""
    if fingerprint_of(storage.get(DOCUMENT)) != fingerprint_of(documents[DOCUMENT]):
        raise Problem("taken", f"there is a volume {storage.name} already, and it is something else")


def inside(name: str, outer: str) -> bool:
    """Whether an address is another one, or lies in it."""
    return name == outer or name.startswith(outer.rstrip("/") + "/")


def fingerprint_of(document: bytes | None) -> str | None:
    """Of which super-resolved volume a ``zarr.json`` is; None if it is of no such."""
    try:
        return str(json.loads(document or b"")["attributes"][FINGERPRINT])
    except (ValueError, KeyError, TypeError):
        return None
