"""Where volumes lie: under the data folder, or in an S3 bucket that the settings allow."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import S3Store
from zarr.storage import LocalStore, ObjectStore

from service.problems import Problem, invalid_field, storing
from service.volumes.files import PART, write_whole
from service.volumes.uploads import ContentTag, UploadStore, checked_name, digested

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from zarr.abc.store import Store

    from service.settings import Settings


logger = logging.getLogger("service.storage")
DOCUMENT: Final = "zarr.json"
FINGERPRINT: Final = "eddylift_fingerprint"
S3: Final = "s3://"
ADDRESS: Final = re.compile(
    r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_=+-][A-Za-z0-9._=+-]{0,99}){1,16})"
)
# Buckets whose listing is remembered.
KNOWN: Final = 64


class Storage(Protocol):
    """A place for one Zarr group. Whatever is stored appears whole or not at all.

    Every method raises a `Problem` where the place cannot be reached or has no room.
    """

    @property
    def name(self) -> str:
        """What it is called: the name of a stored volume, or an address."""

    def group(self) -> Store:
        """The group as zarr reads it."""

    def tag(self) -> ContentTag:
        """What the group holds, in short; 404 if there is none."""

    def forget(self) -> None:
        """Look at it anew the next time."""

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

    def tidy(self) -> None:
        """Remove what was left by who was killed; nobody must be writing."""


class LocalStorage:
    """A folder on disk.

    Args:
        name: what it is called.
        path: the folder.
        volumes: whose volume it is; None for one that is nobody's.
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

    def tag(self) -> ContentTag:
        """See [`Storage`][service.volumes.storage.Storage]."""
        if self.volumes:
            return self.volumes.tag(self.name)
        return ContentTag(self.name, 0, 0)

    def forget(self) -> None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        if self.volumes:
            self.volumes.forget(self.name)

    def is_free(self) -> bool:
        """See [`Storage`][service.volumes.storage.Storage]."""
        return not self.path.exists()

    def size(self, key: str) -> int | None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        try:
            return (self.path / key).stat().st_size
        except FileNotFoundError:
            return None

    def get(self, key: str) -> bytes | None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        try:
            return (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, key: str, content: bytes) -> None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        with storing(f"{self.name}/{key}"):
            write_whole(self.path / key, content, self.spare)

    def begin(self, documents: Mapping[str, bytes]) -> None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        if not self.is_free():
            require_same(self, documents)
            return
        digest = hashlib.sha256(documents[DOCUMENT]).hexdigest()[:16]
        part = self.path.with_name(f"{PART}-{self.path.name}-{digest}")
        shutil.rmtree(part, ignore_errors=True)
        with storing(self.name):
            for key, content in documents.items():
                write_whole(part / key, content, self.spare)
            part.rename(self.path)

    def tidy(self) -> None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        for left in self.path.rglob(f"{PART}-*"):
            left.unlink(missing_ok=True)

    def drop(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


class S3Storage:
    """A prefix in an S3 bucket.

    Args:
        name: its address.
        store: the prefix as obstore has it.
        fresh_s: for how long it is not listed again.
    """

    def __init__(self, name: str, store: S3Store, fresh_s: float) -> None:
        self.name = name
        self.store = store
        self.fresh_s = fresh_s
        self._looked = -1.0
        self._tag: ContentTag | None = None

    def group(self) -> Store:
        """See [`Storage`][service.volumes.storage.Storage]."""
        return ObjectStore(self.store, read_only=True)

    def tag(self) -> ContentTag:
        """See [`Storage`][service.volumes.storage.Storage]."""
        now, tag = time.monotonic(), self._tag
        if tag is None or now - self._looked > self.fresh_s:
            with reaching(self.name):
                found = [
                    (each["path"], f"{each['size']} {each['e_tag'] or each['last_modified']}", each["size"])
                    for part in obstore.list(self.store)
                    for each in part
                ]
            if not found:
                raise Problem("unknown-volume", f"there is nothing at {self.name}")
            tag = self._tag = digested(found)
            self._looked = now
        return tag

    def forget(self) -> None:
        """See [`Storage`][service.volumes.storage.Storage]."""
        self._tag = None

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
        # The head comes first and only where there is none, so that of two services one has the place.
        with reaching(self.name):
            try:
                obstore.put(self.store, DOCUMENT, documents[DOCUMENT], mode="create", use_multipart=False)
            except AlreadyExistsError:
                require_same(self, documents)
        for key, content in documents.items():
            if key != DOCUMENT:
                self.put(key, content)

    def tidy(self) -> None:
        """An object store leaves nothing."""


class Storages:
    """Finds what names and addresses stand for.

    Args:
        volumes: stored volumes.
        scratch: folder for what is dropped at the end.
        settings: for the buckets that may be used.
    """

    def __init__(self, volumes: UploadStore, scratch: Path, settings: Settings) -> None:
        self.volumes = volumes
        self.scratch_folder = scratch
        self.settings = settings
        self._buckets: OrderedDict[str, S3Storage] = OrderedDict()
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
            self._buckets.move_to_end(name)
            while len(self._buckets) > KNOWN:
                self._buckets.popitem(last=False)
            return self._buckets[name]

    def scratch(self, name: str) -> LocalStorage:
        """A folder for what is dropped at the end."""
        return LocalStorage(name, self.scratch_folder / name, spare=self.settings.spare_bytes)


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
    """502 where an object store does not do what it is asked."""
    try:
        yield
    except BaseError as error:
        logger.warning("%s: %s", name, error)
        reason = type(error).__name__.removesuffix("Error")
        raise Problem("storage", f"{name} cannot be reached: the object store answers {reason}") from error


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
