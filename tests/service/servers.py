"""Services that listen on a port of this machine, in this process or in one of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import httpx2
import uvicorn

from service.settings import CHECKOUT
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    from fastapi import FastAPI


# What runs as root obeys the modes of files then, as it does in Compose.
UNPRIVILEGED: Final = (
    ["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
)


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an app in a thread; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()

    def is_ready() -> bool:
        assert thread.is_alive()
        return server.started and bool(app.state.services.lifecycle.ready)

    try:
        wait_until(is_ready)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


class ServiceProcess:
    """``python -m service``, killed at the end of a ``with`` if it has not ended by then.

    Args:
        weights: folder of models.
        settings: others, by their names without ``EDDYLIFT_``.
    """

    def __init__(self, weights: Path, **settings: object) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        given = {"weights": weights, "device": "cpu", "threads": 1, **settings}
        environment = {f"EDDYLIFT_{name.upper()}": str(value) for name, value in given.items()}
        command = [*UNPRIVILEGED, sys.executable, "-m", "service", "--port", str(port)]
        self.process = subprocess.Popen(  # noqa: S603 our own
            command, env={**os.environ, **environment}, cwd=CHECKOUT, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> Self:
        wait_until(self._is_ready)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, "it ended before it was ready"
        try:
            return httpx2.get(f"{self.address}/health/ready").is_success
        except httpx2.TransportError:
            return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
