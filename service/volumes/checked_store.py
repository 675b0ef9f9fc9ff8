"""A Zarr store that decodes no chunk larger than its array says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import zarr
from zarr.abc.store import RangeByteRequest, Store
from zarr.storage import WrapperStore

from service.formats.zarr_codecs import Chunks, check_array
from service.problems import invalid_field, too_large
from service.volumes.storage import reaching

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

    from service.settings import Settings

# Longest coordinate.
LONGEST: Final = 1 << 20
DOCUMENTS: Final = {"zarr.json", ".zarray", ".zattrs"}


class CheckedStore(WrapperStore[Store]):
    """A store whose chunks are not decoded if they would become larger than their array says.

    Attributes:
        name: what the store is called.
        chunks: those of each array.
    """

    name: str
    chunks: dict[str, Chunks]

    def inspect(self, settings: Settings) -> None:
        """Refuse arrays whose decoding would run foreign code or fill the memory.

        Raises:
            Problem: 413 or 422, naming the array.
        """
        self.chunks = {}
        root = zarr.open_group(self, mode="r", use_consolidated=False)
        for name, node in root.members():
            if not isinstance(node, zarr.Array):
                raise invalid_field(field=name, value="a group", expected="arrays in the outermost group alone")
            check_array(name, node, settings.max_volume_cells)
            chunks = Chunks.of(name, node)
            if chunks.nbytes > settings.max_decoded_bytes:
                limit = f"{settings.max_decoded_bytes} bytes"
                raise too_large(field=name, value=f"in chunks of {chunks.nbytes} bytes", limit=limit)
            # xarray reads these when it opens a group.
            if node.ndim == 1 and node.size > LONGEST:
                raise too_large(field=name, value=f"{node.size} long", limit=f"{LONGEST}")
            self.chunks[name] = chunks

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The content of a key; see the class."""
        with reaching(self.name):
            content = await super().get(key, prototype, byte_range)
        name, _, rest = key.partition("/")
        if content is not None and name in self.chunks and rest not in DOCUMENTS:
            if byte_range is None:
                self.chunks[name].measure(content.to_bytes())
            elif isinstance(byte_range, RangeByteRequest):
                self.chunks[name].measure_part(byte_range.start, content.to_bytes())
        return content
