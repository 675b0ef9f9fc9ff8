"""What is told of each request: its id, its line in the log, and headers."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from service.api.auth import make_token
from service.runtime.logs import JsonFormatter, TextFormatter
from tests.service.conftest import parts
from tests.service.wire import NPY, noise, npy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastapi.testclient import TestClient

    Serve = Callable[..., TestClient]

UPSCALE = "/v1/upscale?model=trilinear-x4"


class Lines(logging.Handler):
    """Keeps what is logged, written as the service writes it."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture(params=[JsonFormatter])
def log(request: pytest.FixtureRequest) -> Iterator[Lines]:
    handler = Lines(request.param())
    logger = logging.getLogger("service")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_an_id_is_taken_or_made(client: TestClient) -> None:
    taken = client.get("/v1/models", headers={"X-Request-ID": "run-7.a_B"})
    assert taken.headers["X-Request-ID"] == "run-7.a_B"
    made = {client.get("/health/live").headers["X-Request-ID"] for _ in range(3)}
    assert len(made) == 3
    assert all(len(each) == 32 for each in made)


@pytest.mark.parametrize("sent", ["", "a b", "a\r\nSet-Cookie: a=b", "a\nb", "ä", "x" * 129, "-a", '"', "a,b", "{}"])
def test_ids_that_could_be_something_else_are_not_repeated(client: TestClient, log: Lines, sent: str) -> None:
    answer = client.get("/v1/nothing", headers={b"X-Request-ID": sent.encode("latin-1")})
    assert answer.headers["X-Request-ID"] != sent
    assert len(answer.headers["X-Request-ID"]) == 32
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    assert "set-cookie" not in answer.headers
    assert [entry["request_id"] for entry in log.entries()] == [answer.headers["X-Request-ID"]]


def test_two_ids_are_none(client: TestClient) -> None:
    answer = client.get("/v1/models", headers=[("X-Request-ID", "one"), ("X-Request-ID", "two")])
    assert len(answer.headers["X-Request-ID"]) == 32


def test_problems_tell_their_id(client: TestClient) -> None:
    for answer in (
        client.get("/v1/models/cubic-x4", headers={"X-Request-ID": "a"}),
        client.get("/v1/nothing", headers={"X-Request-ID": "a"}),
        client.post(UPSCALE, content=b"no", headers={"X-Request-ID": "a", "Content-Type": NPY}),
        client.post("/v1/jobs", json={}, headers={"X-Request-ID": "a"}),
    ):
        assert answer.is_client_error
        assert answer.json()["request_id"] == "a"


def test_a_request_is_one_line(client: TestClient, log: Lines) -> None:
    content = npy(noise(3, 4, 4, 4))
    answer = client.post(UPSCALE, content=content, headers={"Content-Type": NPY, "X-Request-ID": "mine"})
    (entry,) = log.entries()
    assert entry.pop("seconds") > 0
    assert entry.pop("time").endswith("Z")
    assert entry.pop("message").startswith("POST /v1/upscale 200 in ")
    assert entry == {
        "level": "INFO",
        "logger": "service.requests",
        "request_id": "mine",
        "method": "POST",
        "route": "/v1/upscale",
        "status": 200,
        "bytes_in": len(content),
        "bytes_out": len(answer.content),
        "client": "testclient",
        "token": "anyone",
    }


def test_routes_are_templates_and_tokens_are_names(serve: Serve, log: Lines, tmp_path: Path) -> None:
    secret, line = make_token("lab", "read")
    (tmp_path / "tokens").write_text(line)
    client = serve(tokens=tmp_path / "tokens", data=tmp_path / "data")
    log.lines.clear()
    client.get("/v1/models/trilinear-x4", headers={"Authorization": f"Bearer {secret}"})
    client.get("/v1/models/trilinear-x4", headers={"Authorization": "Bearer guessed"})
    told = [(entry["route"], entry["status"], entry["token"]) for entry in log.entries()]
    assert told == [("/v1/models/{name}", 200, "lab"), ("unknown", 401, None)]
    assert secret not in "".join(log.lines)
    assert "guessed" not in "".join(log.lines)


def test_a_bug_is_logged_with_its_trace_and_told_without(
    serve: Serve, log: Lines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = serve(data=tmp_path)
    log.lines.clear()

    def fail(_limit: int | None) -> None:
        message = "a password, perhaps"
        raise RuntimeError(message)

    with monkeypatch.context() as broken:
        broken.setattr(parts(client).jobs.repository, "all", fail)
        answer = client.get("/v1/jobs", headers={"X-Request-ID": "mine"})
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.json()["request_id"] == "mine"
    assert "password" not in answer.text
    assert "Traceback" not in answer.text
    bug, line = log.entries()
    assert (bug["level"], bug["request_id"]) == ("ERROR", "mine")
    assert "a password, perhaps" in bug["trace"]
    assert (line["status"], line["request_id"]) == (500, "mine")
    assert "eddylift_requests_total" in client.get("/metrics").text
    assert 'route="/v1/jobs",status="500"' in client.get("/metrics").text


def test_what_a_client_sent_begins_no_line(client: TestClient) -> None:
    handler = Lines(TextFormatter())
    logger = logging.getLogger("service")
    logger.addHandler(handler)
    try:
        logger.error("GET /a\n2026 INFO service: all is well\x1b[2J failed")
    finally:
        logger.removeHandler(handler)
    (line,) = handler.lines
    assert "\n" not in line
    assert "\x1b" not in line
    assert r"/a\n2026" in line
    assert client.get("/health/live").is_success


def test_headers(client: TestClient) -> None:
    for answer in (client.get("/v1/models"), client.get("/v1/nothing"), client.get("/health/live")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Server" not in answer.headers


def test_what_may_be_kept_is_private_where_there_are_tokens(serve: Serve, tmp_path: Path) -> None:
    secret, line = make_token("lab", "write")
    (tmp_path / "tokens").write_text(line)
    guarded, open_to_all = serve(tokens=tmp_path / "tokens", data=tmp_path / "a"), serve(data=tmp_path / "b")
    for client, kept in ((guarded, "private, no-cache"), (open_to_all, "no-cache")):
        client.headers["Authorization"] = f"Bearer {secret}"
        client.put("/v1/volumes/box/zarr.json", content=b"{}").raise_for_status()
        assert client.get("/v1/volumes/box/zarr.json").headers["Cache-Control"] == kept
        assert client.get("/v1/volumes").headers["Cache-Control"] == "no-store"
