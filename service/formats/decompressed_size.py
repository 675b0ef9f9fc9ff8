"""The decompressed size of chunks, measured without decompressing them into memory.

Decoders trust the size that a stream states, so that a few kilobytes could ask for all of memory. Therefore every chunk
of a body is measured first, until the sizes exceed what a body may decode to.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

import numpy as np
from zarr.registry import get_numcodec

from service.problems import too_large

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.settings import Settings


PIECE: Final = 1 << 20
# zlib's own format or gzip's, whichever the header says.
EITHER_HEADER: Final = zlib.MAX_WBITS | 32


class ExpansionError(ValueError):
    """A chunk decompresses to more than it may."""


class BrokenChunkError(ValueError):
    """A chunk cannot be decoded."""


def check_decoded(size: int, left: int, settings: Settings) -> None:
    """Refuse (413) a body of which a part decodes to more bytes than are left for it."""
    if size > left:
        limit = f"{settings.max_decoded_bytes} bytes"
        raise too_large(field="body", value="too large once decompressed", limit=limit)


def inflated(data: bytes | memoryview, limit: int) -> int:
    """Decompressed size of a zlib or gzip stream with all its members; stops past the limit."""
    size = 0
    rest = bytes(data)
    while rest:
        stream = zlib.decompressobj(EITHER_HEADER)
        try:
            while not stream.eof:
                piece = stream.decompress(rest, PIECE)
                size += len(piece)
                rest = stream.unconsumed_tail
                if size > limit:
                    return size
                if not piece and not rest and not stream.eof:
                    message = "a truncated deflate stream"
                    raise BrokenChunkError(message)
        except zlib.error as error:
            message = "a broken deflate stream"
            raise BrokenChunkError(message) from error
        # gzip allows several members in a row; bytes after a zlib stream, such as a checksum, are not decoded.
        rest = stream.unused_data if stream.unused_data[:2] == b"\x1f\x8b" else b""
    return size


def _stated(offset: int) -> Callable[[bytes, int], int]:
    """The size stated at an offset of the header, which decoders of blosc and lz4 enforce."""

    def measure(data: bytes, _limit: int) -> int:
        (size,) = struct.unpack_from("<I", data, offset)
        return int(size)

    return measure


def _zstandard(data: bytes, limit: int) -> int:
    """The size that a frame states (RFC 8878, 3.1.1.1); a frame that states none must have the limit's size."""
    (magic, descriptor) = struct.unpack_from("<IB", data)
    single_segment = bool(descriptor & 0x20)
    flag = descriptor >> 6
    width = {0: int(single_segment), 1: 2, 2: 4, 3: 8}[flag]
    if magic != 0xFD2FB528:  # noqa: PLR2004 the magic number
        message = "no zstandard frame"
        raise BrokenChunkError(message)
    if not width:
        try:
            get_numcodec({"id": "zstd"}).decode(data, np.empty(limit, np.uint8))
        except Exception as error:  # the decoder raises it for any other size
            message = "a zstandard frame that does not state its size and is not a whole chunk"
            raise BrokenChunkError(message) from error
        return limit
    start = 5 + (0 if single_segment else 1) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(data[start : start + width], "little")
    return size + 256 if flag == 1 else size


MEASURES: Final[dict[str, Callable[[bytes, int], int]]] = {
    "gzip": inflated,
    "zlib": inflated,
    "blosc": _stated(4),
    "lz4": _stated(0),
    "zstd": _zstandard,
}


def decoded_size(codec: str | None, data: bytes, limit: int) -> int:
    """Size of a chunk once decompressed.

    Args:
        codec: name of its compressor, one of ``MEASURES``; None if it is not compressed.
        data: the chunk.
        limit: largest number of bytes allowed; beyond it, any larger number may be returned.

    Raises:
        BrokenChunkError: if it cannot be decoded.
    """
    if codec is None:
        return len(data)
    try:
        return MEASURES[codec](data, limit)
    except struct.error as error:
        message = f"too short for {codec}"
        raise BrokenChunkError(message) from error
