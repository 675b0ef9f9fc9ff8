"""A Zarr store that refuses reads that would cost too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zarr
from zarr.abc.store import RangeByteRequest, Store
from zarr.storage import WrapperStore

from service.formats.zarr_group import DOCUMENTS, members
from service.problems import invalid_field, too_large
from service.volumes.cost import DOCUMENT_BYTES, NAMES, check_arrays
from service.volumes.s3_storage import reaching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

    from service.formats.zarr_codecs import Chunks
    from service.settings import Settings


class CheckedStore(WrapperStore[Store]):
    """A store that refuses long documents, and chunks that decode to more than their array says.

    Attributes:
        name: of the volume.
        chunks: those of each array.
    """

    name: str
    chunks: dict[str, Chunks]

    def inspect(self, settings: Settings) -> None:
        """Refuse arrays whose decoding would run foreign code or fill the memory.

        Raises:
            Problem: 400, 413 or 422, naming the array.
        """
        self.chunks = {}
        arrays = {}
        for name, node in members(self).items():
            if not isinstance(node, zarr.Array):
                raise invalid_field(field=name, value="a group", expected="arrays in the outermost group alone")
            arrays[name] = node
        self.chunks = check_arrays(arrays, settings)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names in a folder, without the hidden files that desktops leave."""
        found = 0
        with reaching(self.name):
            async for name in super().list_dir(prefix):
                found += 1
                if found > NAMES:
                    raise too_large(field="volume", value="more names in a group", limit=f"{NAMES} names")
                if not name.startswith("."):
                    yield name

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The content of a key; see the class."""
        document = key.rpartition("/")[2] in DOCUMENTS
        if document and byte_range is None:
            byte_range = RangeByteRequest(0, DOCUMENT_BYTES + 1)
        with reaching(self.name):
            content = await super().get(key, prototype, byte_range)
        if document:
            if content is not None and len(content) > DOCUMENT_BYTES:
                raise too_large(field=key, value="longer", limit=f"{DOCUMENT_BYTES} bytes")
            return content
        name = key.partition("/")[0]
        if content is not None and name in self.chunks:
            if byte_range is None:
                self.chunks[name].measure(content.to_bytes())
            elif isinstance(byte_range, RangeByteRequest):
                self.chunks[name].measure_part(byte_range.start, content.to_bytes())
        return content
