"""Finds volumes: in the data folder, or in an S3 bucket that the settings allow."""

from __future__ import annotations

import re
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache
from obstore.store import S3Store

from service.problems import Problem, invalid_field
from service.volumes.local_storage import LocalStorage
from service.volumes.s3_storage import S3Storage, s3_options
from service.volumes.storage import inside
from service.volumes.uploads import UploadStore, checked_name

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from service.settings import Settings
    from service.volumes.storage import Storage


S3: Final = "s3://"
ADDRESS: Final = re.compile(
    r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_=+-][A-Za-z0-9._=+-]{0,99}){1,16})"
)
# Buckets whose listing is remembered.
KNOWN: Final = 64


class Storages:
    """Finds the storage of a volume by its name or address.

    Args:
        volumes: stored volumes.
        scratch: folder of temporary volumes.
        settings: for the buckets that may be used.
    """

    def __init__(self, volumes: UploadStore, scratch: Path, settings: Settings) -> None:
        self.volumes = volumes
        self.scratch_folder = scratch
        self.settings = settings
        self._buckets: LRUCache[str, S3Storage] = LRUCache(KNOWN)
        self._finding = threading.Lock()

    def find(self, name: str) -> Storage:
        """A stored volume by its name, or a group in a bucket by its address, ``s3://bucket/path``.

        Raises:
            Problem: 422 if it can be neither, 403 if the settings do not allow the bucket.
        """
        if "://" not in name:
            return LocalStorage(name, self.volumes.root / checked_name(name), self.volumes, self.settings.spare_bytes)
        name = name.rstrip("/")
        address = ADDRESS.fullmatch(name)
        if not address:
            expected = "the name of a stored volume, or s3://bucket/path of letters, digits and . _ - = +"
            raise invalid_field(field="volume", value=name, expected=expected)
        if not any(inside(name, f"{S3}{allowed}") for allowed in self.settings.s3_buckets):
            raise Problem("forbidden", f"{name} lies in no bucket that this service may use")
        with self._finding:
            if name not in self._buckets:
                store = S3Store(address[1], prefix=address[2].lstrip("/"), **s3_options(self.settings))
                self._buckets[name] = S3Storage(name, store, self.settings.s3_fresh_s)
            return self._buckets[name]

    def changing(self, name: str) -> AbstractContextManager[object]:
        """Keep others from changing a stored volume; buckets have no locks."""
        return nullcontext() if "://" in name else self.volumes.changing(name)

    def scratch(self, name: str) -> LocalStorage:
        """A temporary volume."""
        return LocalStorage(name, self.scratch_folder / name, spare=self.settings.spare_bytes)
