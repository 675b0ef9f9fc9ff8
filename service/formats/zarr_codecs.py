"""Which codecs of Zarr arrays are decoded, and the decoded size of chunks."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, Final

from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    VLenUTF8Codec,
    ZstdCodec,
)
from zarr.codecs.sharding import ShardingCodecIndexLocation
from zarr.registry import get_numcodec

from service.formats.decompressed_size import MEASURES, BrokenChunkError, ExpansionError, decoded_size
from service.problems import invalid_field, too_large

if TYPE_CHECKING:
    from collections.abc import Sequence

    import zarr


COMPRESSORS: Final[dict[type, str]] = {BloscCodec: "blosc", GzipCodec: "gzip", ZstdCodec: "zstd"}
KNOWN: Final = {TransposeCodec, BytesCodec, ShardingCodec, VLenUTF8Codec, Crc32cCodec, *COMPRESSORS}
# Allowed filters of Zarr v2: one that keeps sizes, and labels. Others, such as "pickle", may run foreign code.
SHUFFLE: Final = "shuffle"
TEXT: Final = "vlen-utf8"
CHECKSUM: Final = 4
# The entry of a missing chunk in the index of a shard.
NOWHERE: Final = 2**64 - 1
# Largest number of texts in an array. They have any length; here they are labels, which are few and short.
TEXTS: Final = 256
# Chunks of an array in a body, those in shards too.
MAX_CHUNKS: Final = 100_000
LONGEST_TEXTS: Final = 1 << 16


class Chunks:
    """The chunks of an array, or those inside its shards.

    Attributes:
        name: of the array.
        items: values in a chunk.
        nbytes: size of a decoded chunk.
        compressor: name of its compressor, if any.
        text: whether its values are texts.
        shard: how a chunk is divided, if it is.
        trailing: bytes after what is compressed.
    """

    def __init__(self, name: str, items: int, itemsize: int) -> None:
        self.name = name
        self.items = items
        self.itemsize = itemsize
        self.nbytes = items * itemsize
        self.compressor: str | None = None
        self.text = False
        self.shard: ShardingCodec | None = None
        self.trailing = 0

    @classmethod
    def of(cls, name: str, array: zarr.Array[Any]) -> Chunks:
        """The chunks of an array.

        Raises:
            Problem: 422 for codecs that are not known to be safe.
        """
        metadata: Any = array.metadata
        itemsize = array.dtype.itemsize
        if metadata.zarr_format == 3:  # noqa: PLR2004 the new one
            return cls._version_3(name, math.prod(metadata.chunk_grid.chunk_shape), itemsize, metadata.codecs)
        chunks = cls(name, math.prod(metadata.chunks), itemsize)
        filters = [entry.codec_id for entry in metadata.filters or ()]
        chunks.compressor = metadata.compressor.codec_id if metadata.compressor else None
        chunks.text = TEXT in filters
        allowed = [TEXT] if array.dtype.hasobject else [SHUFFLE]
        if filters not in ([], allowed) or (chunks.compressor and chunks.compressor not in MEASURES):
            found = [*filters, *([chunks.compressor] if chunks.compressor else [])]
            raise invalid_field(
                field=name,
                value=f"encoded by {', '.join(found)}",
                expected=f"shuffle and one of {', '.join(MEASURES)} at most",
            )
        return chunks

    @classmethod
    def _version_3(
        cls, name: str, items: int, itemsize: int, codecs: Sequence[Any], *, sharded: bool = False
    ) -> Chunks:
        kinds = [type(codec) for codec in codecs]
        chunks = cls(name, items, itemsize)
        compressors = [COMPRESSORS[kind] for kind in kinds if kind in COMPRESSORS]
        shards = [codec for codec in codecs if type(codec) is ShardingCodec]
        if not set(kinds) <= KNOWN or len(compressors) > 1 or (shards and (sharded or len(kinds) > 1)):
            found = ", ".join(kind.__name__ for kind in kinds)
            raise invalid_field(
                field=name,
                value=f"encoded by {found}",
                expected="plain bytes with one of blosc, gzip and zstd at most, or shards of these",
            )
        chunks.compressor = compressors[0] if compressors else None
        chunks.text = VLenUTF8Codec in kinds
        chunks.shard = shards[0] if shards else None
        chunks.trailing = CHECKSUM if kinds[-1] is Crc32cCodec else 0
        return chunks

    def measure(self, data: bytes) -> int:
        """Size of a decoded chunk.

        Raises:
            ExpansionError: if it is larger than it may be.
            BrokenChunkError: if it cannot be decoded.
        """
        data = data[: len(data) - self.trailing]
        if self.shard:
            return self._measure_shard(self.shard, data)
        limit = LONGEST_TEXTS if self.text else self.nbytes + CHECKSUM
        size = decoded_size(self.compressor, data, limit)
        if size > limit:
            message = f"a chunk grows beyond {limit} bytes"
            raise ExpansionError(message)
        if self.text:
            self._check_texts(data)
        return size

    def measure_part(self, start: int, data: bytes) -> None:
        """Check that bytes of a shard, from ``start`` on, decode to at most a chunk; see ``measure`` for errors."""
        if self.shard is None:
            message = "parts of chunks are not read"
            raise BrokenChunkError(message)
        if start or self.shard.index_location == ShardingCodecIndexLocation.end:
            self._inner(self.shard).measure(data)
        elif any(first < len(data) for first, _ in self._index(self.shard, data, 0)):
            # The chunk would be taken for the index, and not be measured.
            message = "a chunk that lies in the index of its shard"
            raise BrokenChunkError(message)

    def _inner(self, shard: ShardingCodec) -> Chunks:
        return self._version_3(self.name, math.prod(shard.chunk_shape), self.itemsize, shard.codecs, sharded=True)

    def _measure_shard(self, shard: ShardingCodec, data: bytes) -> int:
        """Size of all chunks in a shard, by its index."""
        first = 0
        if shard.index_location == ShardingCodecIndexLocation.end:
            count = self.items // math.prod(shard.chunk_shape)
            first = max(0, len(data) - 16 * count - CHECKSUM * (len(tuple(shard.index_codecs)) - 1))
        inner = self._inner(shard)
        index = self._index(shard, data, first)
        return sum(inner.measure(data[start : start + size]) for start, size in index if start != NOWHERE)

    def _index(self, shard: ShardingCodec, data: bytes, first: int) -> list[tuple[int, int]]:
        """The start and size of each chunk of a shard, by the index at byte ``first``."""
        index_codecs: Sequence[Any] = shard.index_codecs
        kinds = [type(codec) for codec in index_codecs]
        if kinds not in ([BytesCodec], [BytesCodec, Crc32cCodec]) or index_codecs[0].endian.value != "little":
            raise invalid_field(
                field=self.name, value="sharded with an encoded index", expected="a plain little-endian index"
            )
        count = self.items // math.prod(shard.chunk_shape)
        try:
            index = struct.unpack_from(f"<{2 * count}Q", data, first)
        except struct.error as error:
            message = "a shard too short for its index"
            raise BrokenChunkError(message) from error
        return list(zip(index[::2], index[1::2], strict=True))

    def _check_texts(self, data: bytes) -> None:
        """Check the number of texts that a chunk states, as the decoder allocates memory for it."""
        plain = get_numcodec({"id": self.compressor}).decode(data) if self.compressor else data
        (count,) = struct.unpack_from("<I", plain)
        if count != self.items or count > TEXTS:
            message = f"{count} texts"
            raise ExpansionError(message)


def check_array(name: str, array: zarr.Array[Any], most_chunks: int = MAX_CHUNKS) -> None:
    """Refuse arrays with too many chunks, or empty ones, or with more texts than labels have."""
    metadata: Any = array.metadata
    edges = metadata.chunks if metadata.zarr_format == 2 else metadata.chunk_grid.chunk_shape  # noqa: PLR2004 the old one
    if not all((*edges, *array.chunks)):
        raise invalid_field(field=name, value=f"in chunks of {list(edges)}", expected="chunks of at least one cell")
    chunks = math.prod(math.ceil(n / edge) for n, edge in zip(array.shape, edges, strict=True))
    if metadata.zarr_format == 3 and array.shards is not None:  # noqa: PLR2004 the new one
        chunks *= math.prod(array.shards) // math.prod(array.chunks)
    if chunks > most_chunks:
        raise too_large(field=name, value=f"{chunks} chunks", limit=f"{most_chunks} chunks")
    variable = array.dtype.hasobject or array.dtype.kind == "T"
    if variable and array.size > TEXTS:
        raise invalid_field(field=name, value=f"{array.size} texts of any length", expected=f"at most {TEXTS}")
