"""The service as it runs: in a process of its own, on a port of this machine."""

from __future__ import annotations

import select
import signal
import socket
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest

from models.superresolution import upscale
from service.app import create_app
from service.settings import Settings
from tests.service.servers import ServiceProcess, serving
from tests.service.wire import NPY, from_npy, noise, npy
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.catalogue import Catalogue

LIMIT = 3_000_000


@pytest.fixture(scope="module")
def address(catalogue: Catalogue) -> Iterator[str]:
    """A service that is stopped with SIGINT, upon which it must end well."""
    with ServiceProcess(catalogue.folder, max_body_bytes=LIMIT) as service:
        yield service.address
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(PATIENCE_S) == 0


@pytest.fixture
def impatient(catalogue: Catalogue) -> Iterator[str]:
    """A service that soon gives up bodies that do not come."""
    settings = Settings(weights=catalogue.folder, device="cpu", threads=1, body_idle_s=0.5)
    with serving(create_app(settings)) as address:
        yield address


def test_a_request_that_does_not_end_is_cut_off(catalogue: Catalogue) -> None:
    """So that a service ends after SIGTERM, and well."""
    with (
        ServiceProcess(catalogue.folder, drain_s=0, grace_s=1, body_idle_s=2 * PATIENCE_S) as service,
        raw(service.address, HEAD + b"Content-Length: 1000\r\n\r\nhalf"),
    ):
        metrics = f"{service.address}/metrics"
        wait_until(lambda: "eddylift_open_requests 1.0" in httpx2.get(metrics, timeout=PATIENCE_S).text)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(PATIENCE_S) == 0


def post(address: str, **options: object) -> httpx2.Response:
    url = f"{address}/v1/upscale?model=trilinear-x4"
    return httpx2.post(url, headers={"Content-Type": NPY}, timeout=PATIENCE_S, **options)  # type: ignore[arg-type]


def test_it_answers(address: str, catalogue: Catalogue) -> None:
    coarse = noise(3, 20, 20, 20)
    response = post(address, content=npy(coarse))
    assert response.status_code == 200
    wanted = upscale(catalogue.load("trilinear-x4"), coarse, ("periodic",) * 3)
    np.testing.assert_array_equal(from_npy(response.content), wanted)
    assert int(response.headers["Content-Length"]) == len(response.content) > 2_000_000


def test_it_refuses_what_is_too_large_without_reading_it(address: str) -> None:
    response = post(address, content=bytes(LIMIT + 1))
    assert response.status_code == 413
    assert response.json()["errors"][0]["field"] == "body"
    chunked = post(address, content=(bytes(100_000) for _ in range(40)))
    assert chunked.status_code == 413
    assert post(address, content=npy(noise(3, 4, 4, 4))).status_code == 200


def raw(address: str, content: bytes) -> socket.socket:
    host, _, port = address.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
    connection.sendall(content)
    return connection


HEAD = b"POST /v1/upscale?model=trilinear-x4 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\n"


def test_bodies_that_stop_coming_are_given_up(impatient: str) -> None:
    with raw(impatient, HEAD + b"Content-Length: 1000\r\n\r\nhalf") as connection:
        assert b" 408 " in connection.recv(100)
    wait_until(lambda: post(impatient, content=npy(noise(3, 4, 4, 4))).status_code == 200)


def test_bodies_that_drip_are_given_up(impatient: str) -> None:
    """Though no pause is too long; all of it would take 50 s."""
    with raw(impatient, HEAD + b"Content-Length: 1000\r\n\r\n") as connection:
        while not select.select([connection], [], [], 0.05)[0]:
            connection.sendall(b"x")
        answer = connection.recv(1000)
    assert b" 408 " in answer  # the rest may be lost with the connection
    wait_until(lambda: post(impatient, content=npy(noise(3, 4, 4, 4))).status_code == 200)


def test_it_does_not_say_what_it_runs_on(address: str) -> None:
    for path in ("/health/live", "/v1/nothing"):
        assert "server" not in httpx2.get(f"{address}{path}", timeout=PATIENCE_S).headers


def test_clients_that_hang_up_are_forgotten(address: str) -> None:
    body = npy(noise(3, 20, 20, 20))
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    for sent in (b"", b"POST /v1", HEAD, head, head + body[:1000], head + body):
        raw(address, sent).close()
    wait_until(lambda: "eddylift_open_requests 0.0" in httpx2.get(f"{address}/metrics", timeout=PATIENCE_S).text)
    assert post(address, content=npy(noise(3, 4, 4, 4))).status_code == 200


def test_garbage(address: str) -> None:
    for content in (b"\x00\xff\x16\x03\x01" * 100, b"GET\r\n\r\n", HEAD + b"Content-Length: minus one\r\n\r\n"):
        with raw(address, content) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert post(address, content=npy(noise(3, 4, 4, 4))).status_code == 200
