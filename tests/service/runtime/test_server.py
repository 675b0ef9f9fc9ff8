"""The service as it runs: in a process of its own, on a port of this machine."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest

from models.superresolution import upscale
from service.settings import CHECKOUT
from tests.service.wire import NPY, from_npy, noise, npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.catalogue import Catalogue

LIMIT = 3_000_000


@pytest.fixture(scope="module")
def address(catalogue: Catalogue) -> Iterator[str]:
    """Start ``python -m service``; stop it with SIGTERM, upon which it must end well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "EDDYLIFT_WEIGHTS": str(catalogue.folder),
        "EDDYLIFT_DEVICE": "cpu",
        "EDDYLIFT_THREADS": "1",
        "EDDYLIFT_MAX_BODY_BYTES": str(LIMIT),
        "EDDYLIFT_BODY_IDLE_S": "0.5",
    }
    command = [sys.executable, "-m", "service", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, cwd=CHECKOUT)  # noqa: S603 our own
    found = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(found, process)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None
        try:
            if httpx2.get(f"{address}/health/ready").is_success:
                return
        except httpx2.ConnectError:
            time.sleep(0.1)
    pytest.fail("it never became ready")


def post(address: str, **options: object) -> httpx2.Response:
    return httpx2.post(f"{address}/v1/upscale?model=trilinear-x4", headers={"Content-Type": NPY}, **options)  # type: ignore[arg-type]


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
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(content)
    return connection


HEAD = b"POST /v1/upscale?model=trilinear-x4 HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-npy\r\n"


def test_bodies_that_stop_coming_are_given_up(address: str) -> None:
    with raw(address, HEAD + b"Content-Length: 1000\r\n\r\nhalf") as connection:
        assert b" 408 " in connection.recv(100)
    assert post(address, content=npy(noise(3, 4, 4, 4))).status_code == 200


def test_bodies_that_drip_are_given_up(address: str) -> None:
    """No pause is too long, and the body would take its 45 s."""
    with raw(address, HEAD + b"Content-Length: 1000\r\n\r\n") as connection:
        for _ in range(900):
            if select.select([connection], [], [], 0.05)[0]:
                break
            connection.sendall(b"x")
        else:
            pytest.fail("it was not given up")
        answer = connection.recv(1000)
    assert b" 408 " in answer  # the rest may be lost with the connection
    assert post(address, content=npy(noise(3, 4, 4, 4))).status_code == 200


def test_it_does_not_say_what_it_runs_on(address: str) -> None:
    for path in ("/health/live", "/v1/nothing"):
        assert "server" not in httpx2.get(f"{address}{path}").headers


def test_clients_that_hang_up_are_forgotten(address: str) -> None:
    body = npy(noise(3, 20, 20, 20))
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    for sent in (b"", b"POST /v1", HEAD, head, head + body[:1000], head + body):
        raw(address, sent).close()
    end = time.monotonic() + 30
    while "eddylift_open_requests 0.0" not in httpx2.get(f"{address}/metrics").text:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert post(address, content=npy(noise(3, 4, 4, 4))).status_code == 200


def test_garbage(address: str) -> None:
    for content in (b"\x00\xff\x16\x03\x01" * 100, b"GET\r\n\r\n", HEAD + b"Content-Length: minus one\r\n\r\n"):
        with raw(address, content) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 400") or not content
    assert post(address, content=npy(noise(3, 4, 4, 4))).status_code == 200
