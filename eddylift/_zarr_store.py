"""Stored volumes and views as Zarr stores, which xarray and zarr read and write key by key. Needs zarr."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from eddylift import _calls, _paths
from eddylift._errors import NotFoundError
from eddylift._files import DOCUMENTS
from eddylift._processes import PerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from typing import Self

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

    from eddylift._calls import Call

T = TypeVar("T")
# For calls that wait; zarr itself limits how many there are, by its setting async.concurrency.
THREADS = PerProcess(lambda: ThreadPoolExecutor(32, "eddylift"))


class VolumeStore(Store):
    """A stored volume as a Zarr store; it raises the errors of the client.

    Args:
        send: sends a call and returns its result; called from several threads at a time.
        address: address of the service.
        path: where the volume is.
        read_only: whether writing is refused.
    """

    supports_writes: bool = True
    supports_deletes: bool = True
    supports_listing: bool = True
    # Chunks of a volume read as its fill value until they are written.
    has_all_chunks: bool = False

    def __init__(self, send: Callable[[Call[Any]], Any], address: str, path: str, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self._send = send
        self.address = address
        self.path = path

    def __str__(self) -> str:
        """Return its address."""
        return f"{self.address.rstrip('/')}{self.path}"

    def __repr__(self) -> str:
        """Show the address."""
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same volume, read-only or not."""
        return isinstance(other, VolumeStore) and (str(self), self.read_only) == (str(other), other.read_only)

    def __hash__(self) -> int:
        """Return a hash that agrees with equality."""
        return hash((str(self), self.read_only))

    def with_read_only(self, read_only: bool = False) -> Self:  # noqa: FBT001 FBT002 as zarr calls it
        """Return a store of the same volume, read-only or not."""
        return type(self)(self._send, self.address, self.path, read_only=read_only)

    async def _call(self, call: Call[T]) -> T:
        found: T = await asyncio.get_running_loop().run_in_executor(THREADS.get(), self._send, call)
        return found

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Fetch an object, or a range of it; None if it does not exist.

        Raises:
            NotFoundError: for a chunk that should exist, or of a volume that does not exist (any more).
        """
        try:
            content = await self._call(_calls.get_object(self.path, key, _spelled(byte_range)))
        except NotFoundError as error:
            is_document = key.rpartition("/")[2] in DOCUMENTS
            if is_document or not (self.has_all_chunks or error.kind == "unknown-volume"):
                return None
            raise
        return (prototype or default_buffer_prototype()).buffer.from_bytes(content)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Fetch ranges of objects."""
        return await asyncio.gather(*(self.get(key, prototype, span) for key, span in key_ranges))

    async def exists(self, key: str) -> bool:
        """Return whether an object exists."""
        try:
            await self._call(_calls.has_object(self.path, key))
        except NotFoundError:
            return False
        return True

    async def set(self, key: str, value: Buffer) -> None:
        """Send an object."""
        self._check_writable()
        await self._call(_calls.put_object(self.path, key, value.to_bytes()))

    async def delete(self, key: str) -> None:
        """Delete an object, if it exists."""
        self._check_writable()
        try:
            await self._call(_calls.delete(_paths.object_path(self.path, key)))
        except NotFoundError:
            return

    async def delete_dir(self, prefix: str) -> None:
        """Delete the objects under a prefix; without one, the whole volume at once."""
        if prefix:
            await super().delete_dir(prefix)
            return
        self._check_writable()
        try:
            await self._call(_calls.delete(self.path))
        except NotFoundError:
            return

    async def list(self) -> AsyncIterator[str]:
        """List all keys."""
        async for key, _ in self._objects(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List the keys with a prefix."""
        async for key, _ in self._objects(prefix):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List the children of a prefix, each once."""
        folder, last = _folder(prefix), ""
        async for key, _ in self._objects(folder, shallow=True):
            child = key.removeprefix(folder).partition("/")[0]
            if child != last:
                yield child
            last = child

    async def getsize(self, key: str) -> int:
        """Return the size of an object.

        Raises:
            FileNotFoundError: if it does not exist, nor perhaps the volume, as zarr expects.
        """
        try:
            return await super().getsize(key)
        except NotFoundError as error:
            raise FileNotFoundError(key) from error

    async def getsize_prefix(self, prefix: str) -> int:
        """Return the total size of the objects under a prefix, without fetching them."""
        return sum([size async for _, size in self._objects(_folder(prefix))])

    async def _objects(self, prefix: str, *, shallow: bool = False) -> AsyncIterator[tuple[str, int]]:
        """Give the keys with a prefix, in order, and their sizes; `shallow` skips most keys below the first level."""
        last, more = prefix[: prefix.rfind("/") + 1], True
        while more:
            try:
                sizes, more = await self._call(_calls.objects(self.path, last))
            except NotFoundError:
                return
            for key, size in sizes.items():
                if key.startswith(prefix):
                    yield key, size
                elif key > prefix:
                    return
                last = key
            child, deeper, _ = last.removeprefix(prefix).partition("/")
            if shallow and deeper:
                # There may be millions of chunks. A tilde sorts after all characters of keys.
                last = f"{prefix}{child}/~"


class ViewStore(VolumeStore):
    """A view as a Zarr store. It has all its chunks, and does not list them."""

    supports_writes = supports_deletes = supports_listing = False
    has_all_chunks = True


def _folder(prefix: str) -> str:
    return f"{prefix.rstrip('/')}/" if prefix else ""


def _spelled(span: object) -> str | None:
    """Format a byte range for HTTP (RFC 9110, 14.1.2).

    Raises:
        ValueError: if it is not a byte range.
    """
    if span is None:
        return None
    if isinstance(span, RangeByteRequest):
        return f"bytes={span.start}-{span.end - 1}"
    if isinstance(span, OffsetByteRequest):
        return f"bytes={span.offset}-"
    if isinstance(span, SuffixByteRequest):
        return f"bytes=-{span.suffix}"
    message = f"Unexpected byte_range, got {span}"
    raise ValueError(message)
