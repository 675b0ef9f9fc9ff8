"""A client that means harm: bodies that drip, stop, lie or never end, sockets half closed, and plain garbage."""

from __future__ import annotations

import asyncio
import contextlib
import io
import zipfile
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    Writer = asyncio.StreamWriter

# A second, and a little: how long an attack that waits for nothing goes on.
PATIENCE_S = 10.0
NPY = "application/x-npy"
NETCDF = "application/netcdf"
ZIP = "application/zip"


class Hostile:
    """One hostile client; what it does is drawn, one attack after another.

    Args:
        address: of the service, ``http://host:port``.
        model: that it asks for.
        draw: what decides.
        limit: longest body that the service takes, in bytes.

    Attributes:
        answers: how often it was told what, by attack; status 0 is a connection closed without a word.
        done: how many attacks have ended.
    """

    def __init__(self, address: str, model: str, draw: random.Random, limit: int) -> None:
        self.host, _, port = address.removeprefix("http://").partition(":")
        self.port = int(port)
        self.model = model
        self.draw = draw
        self.limit = limit
        self.answers: Counter[tuple[str, int]] = Counter()
        whole = io.BytesIO()
        np.save(whole, np.ones((3, 8, 8, 8), np.float32))
        self.body = whole.getvalue()

    @property
    def done(self) -> int:
        """How many attacks have ended."""
        return self.answers.total()

    @property
    def failures(self) -> dict[tuple[str, int], int]:
        """Attacks that made the service fail."""
        return {key: count for key, count in self.answers.items() if key[1] >= 500}

    async def attack(self, going: Callable[[], bool]) -> None:
        """Attack for as long as it is told to."""
        while going():
            way = self.draw.choice(
                (self._drip, self._stop, self._half_close, self._leave, self._noise, self._lie, self._oversize)
            )
            status = 0
            with contextlib.suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        with contextlib.suppress(OSError):
                            await way(writer)
                        status = await _status(reader)
                finally:
                    writer.transport.abort()
            self.answers[way.__name__.strip("_"), status] += 1
            await asyncio.sleep(0.05)

    def _head(self, length: int | None, media_type: str = NPY) -> bytes:
        lines = [
            f"POST /v1/upscale?model={self.model} HTTP/1.1",
            "Host: localhost",
            f"Content-Type: {media_type}",
            "Connection: close",
            "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}",
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    async def _drip(self, writer: Writer) -> None:
        """A byte at a time, slower than may be."""
        writer.write(self._head(len(self.body)))
        for byte in self.body[: round(20 * self.draw.uniform(1, 5))]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    async def _stop(self, writer: Writer) -> None:
        """Half a body, and then nothing."""
        writer.write(self._head(len(self.body)) + self.body[: self.draw.randrange(len(self.body))])
        await writer.drain()

    async def _half_close(self, writer: Writer) -> None:
        """Say that nothing more will come, before or after the whole body, and listen on."""
        sent = self.draw.choice((self.body, self.body[: self.draw.randrange(len(self.body))]))
        writer.write(self._head(len(self.body)) + sent)
        await writer.drain()
        writer.write_eof()

    async def _leave(self, writer: Writer) -> None:
        """Hang up anywhere."""
        whole = self._head(len(self.body)) + self.body
        writer.write(whole[: self.draw.randrange(len(whole) + 1)])
        await writer.drain()
        await asyncio.sleep(self.draw.uniform(0, 0.2))
        writer.transport.abort()

    async def _noise(self, writer: Writer) -> None:
        """Bytes that are no HTTP."""
        writer.write(self.draw.randbytes(self.draw.randrange(1, 4096)) + b"\r\n\r\n")
        await writer.drain()
        writer.write_eof()

    async def _lie(self, writer: Writer) -> None:
        """Whole bodies that are not what they say they are."""
        spoilt = bytearray(self.body)
        for _ in range(8):
            spoilt[self.draw.randrange(160)] = self.draw.randrange(256)
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zarr.json", b'{"zarr_format": 3, "node_type": "group"}')
            archive.writestr("u/c/0/0/0", bytes(8 << 20))
        ways = (
            (NPY, bytes(spoilt)),
            (NPY, self.draw.randbytes(2000)),
            (ZIP, bomb.getvalue()),
            (ZIP, b"PK\x03\x04" + self.draw.randbytes(2000)),
            (NETCDF, b"\x89HDF\r\n\x1a\n" + self.draw.randbytes(2000)),
        )
        media_type, body = self.draw.choice(ways)
        writer.write(self._head(len(body), media_type) + body)
        await writer.drain()

    async def _oversize(self, writer: Writer) -> None:
        """More than the service takes, said or unsaid."""
        if self.draw.random() < 0.5:
            writer.write(self._head(1000 * self.limit) + bytes(1000))
            return
        writer.write(self._head(None))
        piece = bytes(1 << 18)
        for _ in range(2 + self.limit // len(piece)):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()


async def _status(reader: asyncio.StreamReader) -> int:
    """The status of an answer; 0 if there is none."""
    line = await reader.readline()
    await reader.read()
    words = line.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
