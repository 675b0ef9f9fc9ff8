"""Closes connections that send no request, and those that do not read their answers.

uvicorn closes a connection that is idle between two requests, but waits for ever for the first head, for the rest of a
head, and for a client that does not read. Its ``limit_concurrency`` refuses requests, but keeps silent connections.
"""

from __future__ import annotations

import fcntl
import resource
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Message, Receive, Scope, Send

    from service.settings import Settings

# Connections that are accepted at a time; each takes a descriptor before it can be closed.
BACKLOG: Final = 64


class Connections:
    """The connections of one server, and their limits.

    Args:
        settings: the limits.

    Attributes:
        most: connections at a time: at most half of the file descriptors, as files and processes need some too.
        idle: connections without a request, longest idle first.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.most = min(settings.max_connections, max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))
        self.idle: dict[Connection, None] = {}


class Connection(H11Protocol):
    """A connection of uvicorn's with limits on the time for a head and for reading an answer.

    Args:
        limits: shared by all connections of a server.
        options: see uvicorn.
    """

    def __init__(self, limits: Connections, **options: Any) -> None:  # noqa: ANN401 passed on
        super().__init__(**options)
        self._limits = limits
        self._serve, self.app = self.app, self._serve_until_sent
        self._head_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        # While an answer is unsent: the bytes that the client had not read when they were last counted, and that time.
        self._unread, self._counted = 0, 0.0
        # In all: bytes that it read meanwhile, and the seconds that they took.
        self._read, self._waited = 0, 0.0

    async def _serve_until_sent(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_whole(message: Message) -> None:
            await send(message)
            # A request keeps its place until its answer has left this process.
            await self.flow.drain()

        await self._serve(scope, receive, send_whole)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit a connection; if there are too many, the one that has been idle for longest makes room."""
        super().connection_made(transport)
        # Pause writing whenever anything is unsent, to know for how long it is.
        transport.set_write_buffer_limits(high=0)
        self._update()
        if len(self.connections) > self._limits.most:
            longest = next(iter(self._limits.idle))
            del self._limits.idle[longest]
            longest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See uvicorn."""
        super().connection_lost(exc)
        self._limits.idle.pop(self, None)
        for timer in (self._head_timer, self._send_timer):
            if timer:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """See uvicorn."""
        super().data_received(data)
        self._update()

    def on_response_complete(self) -> None:
        """See uvicorn."""
        super().on_response_complete()
        self._update()

    def pause_writing(self) -> None:
        """See uvicorn: something is unsent."""
        super().pause_writing()
        self._unread, self._counted = self._count_unread(), self.loop.time()
        self._send_timer = self.loop.call_later(self._limits.settings.send_idle_s, self._check_sending)
        self._update()

    def resume_writing(self) -> None:
        """See uvicorn: everything is sent."""
        super().resume_writing()
        if self._send_timer:
            self._note_read()
            self._send_timer.cancel()
            self._send_timer = None
        self._update()

    def _update(self) -> None:
        """Note whether a request is being served; if not, start the timer for the next head."""
        cycle: RequestResponseCycle | None = self.cycle
        if self.flow.write_paused or (cycle and not cycle.response_complete):
            self._limits.idle.pop(self, None)
            if self._head_timer:
                self._head_timer.cancel()
                self._head_timer = None
        elif not self._head_timer:
            self._limits.idle[self] = None
            self._head_timer = self.loop.call_later(self._limits.settings.head_s, self.transport.close)

    def _check_sending(self) -> None:
        """Close the connection if the client read nothing since the last check, or reads too slowly on average."""
        settings, before = self._limits.settings, self._read
        self._note_read()
        if self._read == before or self._waited > settings.send_idle_s + self._read / settings.body_bytes_per_s:
            self.transport.abort()
        else:
            self._send_timer = self.loop.call_later(settings.send_idle_s, self._check_sending)

    def _note_read(self) -> None:
        now, unread = self.loop.time(), self._count_unread()
        self._read += self._unread - unread
        self._waited += now - self._counted
        self._unread, self._counted = unread, now

    def _count_unread(self) -> int:
        """Bytes that the client has not read, in this process or in the system's send buffer."""
        waiting = 0
        with suppress(OSError):  # not every system has this call
            answer = fcntl.ioctl(self.transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))
            waiting = int.from_bytes(answer, sys.byteorder)
        return self.transport.get_write_buffer_size() + waiting
