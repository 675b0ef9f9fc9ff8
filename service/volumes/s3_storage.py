"""Volumes in S3 buckets."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from zarr.storage import ObjectStore

from service.problems import Problem
from service.volumes.content_tag import TrustedTag, digested
from service.volumes.storage import DOCUMENT, require_same

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from obstore.store import S3Store
    from zarr.abc.store import Store

    from service.settings import Settings
    from service.volumes.content_tag import ContentTag


logger = logging.getLogger("service.storage")


class S3Storage:
    """A prefix in an S3 bucket.

    Args:
        name: its address.
        store: the prefix in obstore.
        fresh_s: least time for which a listing is trusted, in seconds.
    """

    def __init__(self, name: str, store: S3Store, fresh_s: float) -> None:
        self.name = name
        self.store = store
        self._tag = TrustedTag(fresh_s)

    def group(self) -> Store:
        """See [`Storage`][service.volumes.storage.Storage]."""
        return ObjectStore(self.store, read_only=True)

    def tag(self, *, fresh: bool = False) -> ContentTag:
        """See [`Storage`][service.volumes.storage.Storage]."""
        return self._tag.get(self._list, fresh=fresh)

    def _list(self, generation: str) -> ContentTag:
        with reaching(self.name):
            # By the time, too: content that is put back has the ETag that it had, and may have been read in between.
            found = [
                (each["path"], f"{each['size']} {each['e_tag']} {each['last_modified']}", each["size"])
                for part in obstore.list(self.store)
                for each in part
            ]
        if not found:
            raise Problem("unknown-volume", f"there is nothing at {self.name}")
        return digested(found, generation)

    def is_free(self) -> bool:
        """See [`Storage`][service.volumes.storage.Storage]."""
        with reaching(self.name):
            return not any(len(part) for part in obstore.list(self.store, chunk_size=1))

    def size(self, key: str) -> int | None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        with reaching(self.name):
            try:
                return obstore.head(self.store, key)["size"]
            except (FileNotFoundError, NotFoundError):
                return None

    def get(self, key: str) -> bytes | None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        with reaching(self.name):
            try:
                return bytes(obstore.get(self.store, key).bytes())
            except (FileNotFoundError, NotFoundError):
                return None

    def put(self, key: str, content: bytes) -> None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        with reaching(self.name):
            obstore.put(self.store, key, content, use_multipart=False)

    def begin(self, documents: Mapping[str, bytes]) -> None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        # This document first, and only if there is none: of two services one gets the place.
        with reaching(self.name):
            try:
                obstore.put(self.store, DOCUMENT, documents[DOCUMENT], mode="create", use_multipart=False)
            except AlreadyExistsError:
                require_same(self, documents)
        for key, content in documents.items():
            if key != DOCUMENT:
                self.put(key, content)

    def finish(self) -> None:
        """See [`Storage`][service.volumes.storage.Storage]. There are no partial files in an object store."""
        self._tag.forget()


def s3_options(settings: Settings) -> dict[str, Any]:
    """How S3 is reached. Credentials come from the environment, as AWS names them: ``AWS_ACCESS_KEY_ID`` ..."""
    config: dict[str, Any] = {"region": settings.s3_region}
    if settings.s3_endpoint:
        config["endpoint"] = settings.s3_endpoint
    if settings.s3_anonymous:
        config["skip_signature"] = True
    return {
        "config": config,
        "client_options": {"allow_http": (settings.s3_endpoint or "").startswith("http://"), "connect_timeout": "5s"},
        "retry_config": {"max_retries": 10, "retry_timeout": timedelta(seconds=settings.s3_patience_s)},
    }


@contextmanager
def reaching(name: str) -> Iterator[None]:
    """Turn errors of an object store into problems (502)."""
    try:
        yield
    except BaseError as error:
        logger.warning("%s: %s", name, error)
        reason = type(error).__name__.removesuffix("Error")
        raise Problem("storage", f"{name} cannot be reached: the object store answers {reason}") from error
