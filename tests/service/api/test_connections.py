"""Connections that are silent, slow or too many, against a server of a few lines."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
import uvicorn

from service.api.connections import Connection, Connections
from service.settings import Settings
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
# More than the buffers of both ends of a connection hold.
LARGE = 64 << 20


class App:
    """Answers the body of a request, or ``/large`` with much; counts its requests.

    Attributes:
        running: requests that are not done.
        gate: what ``/wait`` waits for.
    """

    def __init__(self) -> None:
        self.running = 0
        self.gate = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.running += 1
        try:
            if scope["path"] == "/wait":
                await self.gate.wait()
            content = bytes(LARGE) if scope["path"] == "/large" else (await receive())["body"]
            length = str(len(content)).encode()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
            await send({"type": "http.response.body", "body": content})
        finally:
            self.running -= 1


class Server:
    """A server in a thread, with the limits of a test."""

    def __init__(self, **limits: Any) -> None:  # noqa: ANN401 passed on to Settings
        self.app = App()
        self.limits = Connections(Settings(**limits))
        protocol = cast("type[Connection]", partial(Connection, self.limits))
        config = uvicorn.Config(
            self._serve, http=protocol, port=0, lifespan="off", log_level="error", interface="asgi3"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started)
        self.port: int = self.server.servers[0].sockets[0].getsockname()[1]

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.loop = asyncio.get_running_loop()
        await self.app(scope, receive, send)

    def connections(self) -> list[Connection]:
        return [*cast("set[Connection]", self.server.server_state.connections)]

    def connect(self, content: bytes = b"") -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE_S)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(content)
        return connection

    def stop(self) -> None:
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(PATIENCE_S)


Start = "Callable[..., Server]"


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def run(**limits: Any) -> Server:  # noqa: ANN401 passed on
        servers.append(Server(**limits))
        return servers[-1]

    yield run
    for server in servers:
        server.stop()


def is_closed(connection: socket.socket) -> bool:
    """Wait for the other end to close, with or without a word."""
    try:
        while connection.recv(1 << 20):
            pass
    except ConnectionResetError:
        pass
    return True


def answer(connection: socket.socket) -> bytes:
    return connection.recv(1000)


@pytest.mark.parametrize("sent", [b"", GET[:10], GET + GET[:10], POST + b"full" + GET[:-1]])
def test_a_head_that_does_not_come_ends_the_connection(start: Callable[..., Server], sent: bytes) -> None:
    server = start(head_s=0.2)
    with closing(server.connect(sent)) as connection:
        assert is_closed(connection)
    wait_until(lambda: not server.limits.idle)


def test_a_head_that_drips_does_not_last(start: Callable[..., Server]) -> None:
    server = start(head_s=0.2)
    with closing(server.connect(GET[:-2])) as connection:
        for _ in range(10_000):
            if select.select([connection], [], [], 0.01)[0]:
                break
            connection.sendall(b"x")
        assert is_closed(connection)


def test_a_request_that_is_being_served_is_left_alone(start: Callable[..., Server]) -> None:
    server = start()
    with closing(server.connect(GET.replace(b"/", b"/wait", 1))) as served:
        wait_until(lambda: server.app.running == 1)
        (connection,) = server.connections()
        assert not connection._head_timer
        server.loop.call_soon_threadsafe(server.app.gate.set)
        assert b" 200 " in answer(served)


def test_an_answer_that_nobody_reads_is_given_up(start: Callable[..., Server]) -> None:
    server = start(send_idle_s=0.2)
    with closing(server.connect(GET.replace(b"/", b"/large", 1))) as stalled:
        assert stalled.recv(1)
        wait_until(lambda: not server.app.running and not server.server.server_state.connections)


def test_an_answer_that_is_read_too_slowly_is_given_up(start: Callable[..., Server]) -> None:
    server = start(send_idle_s=0.2, body_bytes_per_s=1e12)
    with closing(server.connect(GET.replace(b"/", b"/large", 1))) as slow:
        assert slow.recv(1000)
        # Never a pause that is too long.
        while server.server.server_state.connections:
            assert slow.recv(1000)
        wait_until(lambda: not server.app.running)


def test_an_answer_that_is_read_slowly_but_steadily_is_sent(start: Callable[..., Server]) -> None:
    server = start(send_idle_s=PATIENCE_S)
    with closing(server.connect(GET.replace(b"/", b"/large", 1))) as slow:
        wait_until(lambda: any(each._send_timer for each in server.connections()))
        (connection,) = server.connections()
        for _ in range(4):
            before, checked = connection._count_unread(), threading.Event()
            while connection._count_unread() == before:
                assert slow.recv(1000)
            server.loop.call_soon_threadsafe(connection._check_sending)
            server.loop.call_soon_threadsafe(checked.set)
            assert checked.wait(PATIENCE_S)
            assert not connection.transport.is_closing()


def test_a_request_lasts_until_its_answer_is_sent(start: Callable[..., Server]) -> None:
    server = start()
    with closing(server.connect(GET.replace(b"/", b"/large", 1))) as connection:
        received = len(connection.recv(1 << 20))
        assert server.app.running == 1
        while received < LARGE:
            received += len(connection.recv(1 << 20))
        wait_until(lambda: server.app.running == 0)


def test_the_connection_idle_for_longest_makes_room(start: Callable[..., Server]) -> None:
    server = start(max_connections=3)
    with (
        closing(server.connect(GET.replace(b"/", b"/wait", 1))) as served,
        closing(server.connect()) as silent,
        closing(server.connect(GET)) as used,
    ):
        wait_until(lambda: server.app.running == 1)
        assert b" 200 " in answer(used)
        with closing(server.connect(GET)) as new:
            assert is_closed(silent)
            assert b" 200 " in answer(new)
            used.sendall(GET)
            assert b" 200 " in answer(used)
            server.loop.call_soon_threadsafe(server.app.gate.set)
            assert b" 200 " in answer(served)


def test_there_are_never_more_connections_than_half_of_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 4096))
    assert Connections(Settings(max_connections=1000)).most == 128
    assert Connections(Settings(max_connections=100)).most == 100
