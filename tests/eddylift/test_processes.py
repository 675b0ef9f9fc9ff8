"""A client in a process that was forked, as `multiprocessing` and workers that load data do."""

from __future__ import annotations

import json
import multiprocessing
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest

import eddylift
from eddylift import UnexpectedAnswerError
from tests.eddylift.conftest import CARDS
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.eddylift.conftest import Ask, FakeService


class Server(ThreadingHTTPServer):
    """Lists models, keeps connections open, and remembers them."""

    daemon_threads = True

    def __init__(self) -> None:
        self.connections: list[int] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.connections.append(self.client_address[1])
        content = json.dumps({"models": CARDS, "keys": [], "more": False}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def list_models(client: eddylift.Client) -> None:
    client.models()


def read_a_store(client: eddylift.Client) -> None:
    anyio.run(client.store("box").is_empty, "")


@pytest.mark.parametrize("ask", [list_models, read_a_store])
def test_each_process_has_its_own_connections_and_threads(
    server: Server, ask: Callable[[eddylift.Client], None]
) -> None:
    with eddylift.Client(f"http://127.0.0.1:{server.server_port}") as client:
        ask(client)
        child = multiprocessing.get_context("fork").Process(target=ask, args=(client,))
        child.start()
        child.join(PATIENCE_S)  # with the threads of its parent, it waits for ever
        child.kill()
        assert child.exitcode == 0
        ask(client)
    first, other, again = server.connections
    assert first == again != other


@pytest.mark.parametrize("kind", [eddylift.Client, eddylift.AsyncClient])
def test_so_has_either_client(kind: type[eddylift.Client], monkeypatch: pytest.MonkeyPatch) -> None:
    client = kind("http://fake")
    own = client._http
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: 0)
        assert client._http is client._http is not own
    assert client._http is own


def test_the_answer_to_another_request_is_refused(ask: Ask, service: FakeService) -> None:
    service.script = [httpx2.Response(200, json={"models": []}, headers={"X-Request-ID": "eddylift-other"})]
    with pytest.raises(UnexpectedAnswerError, match="sent the answer to another request"):
        ask("models")
    service.script = [httpx2.Response(200, json={"models": []}, headers={"X-Request-ID": "of-a-proxy"})]
    assert ask("models") == []
    assert service.requests[0].headers["X-Request-ID"] != service.requests[1].headers["X-Request-ID"]
