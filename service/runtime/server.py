"""A server that shuts down in two steps, so that load balancers and clients see it coming."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket
    from types import FrameType

    from service.runtime.lifecycle import Lifecycle


logger = logging.getLogger("service")


class Server(uvicorn.Server):
    """After SIGTERM it admits nothing more and is not ready; a while later it closes, once admitted requests are done.

    After SIGINT, or a second signal, it closes at once.

    Args:
        config: of uvicorn.
        lifecycle: of what is served.
        drain_s: seconds between these two steps.
    """

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain_s: float) -> None:
        super().__init__(config)
        self.lifecycle = lifecycle
        self.drain_s = drain_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn; says where the service is ready as soon as it is."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            self.lifecycle.when_ready(lambda: logger.info("ready on %s", address))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See uvicorn, and the class above."""
        waits = sig == signal.SIGTERM and self._loop is not None and not self.lifecycle.leaving
        self.lifecycle.leaving = True  # at once, so that event streams end
        if not waits or self._loop is None:
            super().handle_exit(sig, frame)
            return
        self._loop.call_soon_threadsafe(self._leave, sig)

    def _leave(self, sig: int) -> None:
        self._leaving = asyncio.create_task(self.lifecycle.leave())
        asyncio.get_running_loop().call_later(self.drain_s, super().handle_exit, sig, None)
