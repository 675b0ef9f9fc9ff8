"""JSON bodies are read by who may, up to a limit, and refused in few words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from service.api.auth import make_token
from service.api.routing import MAX_JSON_BYTES
from service.app import create_app
from service.jobs.spec import JobSpec
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import Message

    from models.catalogue import Catalogue

PATHS = ["/v1/jobs", "/v1/volumes/box/rename"]


@pytest.fixture
def guarded(catalogue: Catalogue, tmp_path: Path) -> TestClient:
    """A service that was not started, which answers all the same what needs no model."""
    secrets = {}
    with (tmp_path / "tokens").open("w") as file:
        for scope in ("read", "write"):
            secrets[scope], line = make_token(scope, scope)
            file.write(f"{line}\n")
    settings = Settings(weights=catalogue.folder, device="cpu", tokens=tmp_path / "tokens", data=tmp_path / "data")
    client = TestClient(create_app(settings))
    client.headers["Authorization"] = f"Bearer {secrets['write']}"
    client.secret = secrets["read"]  # type: ignore[attr-defined]
    return client


def test_no_route_parses_a_long_json_body(guarded: TestClient) -> None:
    operations = [
        (method, path)
        for path, operations in guarded.get("/openapi.json").json()["paths"].items()
        for method, operation in operations.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    ]
    assert {path for _, path in operations} >= {"/v1/jobs"}
    for method, path in operations:
        body = b'"' + bytes([97]) * MAX_JSON_BYTES + b'"'
        answer = guarded.request(method, path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413, path


@pytest.mark.parametrize("path", PATHS)
def test_the_scope_is_checked_before_anything_is_received(guarded: TestClient, path: str) -> None:
    statuses: list[int] = []

    async def receive() -> Message:
        pytest.fail("the body was asked for")

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    token = f"Bearer {guarded.secret}".encode()  # type: ignore[attr-defined]
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"authorization", token), (b"content-type", b"application/json")],
    }
    anyio.run(guarded.app, scope, receive, send)
    assert statuses[0] == 403


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body_is_refused(guarded: TestClient, path: str, *, chunked: bool) -> None:
    body = b'{"source": "' + bytes([97]) * MAX_JSON_BYTES + b'"}'

    def pieces() -> Iterator[bytes]:
        yield from (body[start : start + 1000] for start in range(0, len(body), 1000))

    answer = guarded.post(path, content=pieces() if chunked else body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["errors"][0]["field"] == "body"


@pytest.mark.parametrize(
    "body",
    [
        {f"{number:x}": 0 for number in range(6000)},
        {"source": ["a" * 60_000], "target": "b", "model": "c"},
        [[]] * 20_000,
        {"source": "a", "target": "b", "model": "c", "names": {str(number): 1 for number in range(5000)}},
    ],
    ids=["many names", "a long value", "a long list", "many values"],
)
def test_a_refusal_is_short_whatever_came(guarded: TestClient, body: object) -> None:
    content = json.dumps(body, separators=(",", ":"))
    assert len(content) < MAX_JSON_BYTES
    answer = guarded.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"]
    assert len(answer.content) < 20_000


OBJECT = "a JSON object, with Content-Type: application/json"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ('[{"source": 1}]', f"body: [{{'source': 1}}]; expected {OBJECT}"),
        ("", f"body: missing; expected {OBJECT}"),
        ('{"source":', "body: Expecting value at character 10; expected JSON"),
        ('{"source":' + 5000 * "9" + "}", "body: Exceeds the limit (4300 digits) for integer string conversion"),
        ('{"source":' + 60_000 * "[", "body: maximum recursion depth exceeded"),
        ("{}", "source: missing; expected a value"),
        ('{"source": "a", "names": 3}', "names: 3; expected a valid dictionary"),
        ('{"source": "a", "sauce": 3}', "sauce: 3; expected no such field"),
        ('{"source": "a", "task": "x"}', "task: x; expected 'upscale' or 'discover'"),
    ],
)
def test_a_refusal_names_the_field_its_value_and_what_was_expected(guarded: TestClient, body: str, detail: str) -> None:
    answer = guarded.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)
    assert answer.json()["errors"][0]["expected"] in answer.json()["detail"]


def test_json_of_another_type_is_refused_with_the_header_to_send(guarded: TestClient) -> None:
    answer = guarded.post("/v1/jobs", content='{"source": "a"}')
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body")
    assert answer.json()["errors"][0]["expected"] == OBJECT


def test_the_boundaries_of_a_job_may_be_a_list(guarded: TestClient) -> None:
    spec = {"source": "a", "target": "b", "boundary": ["open", "wall", "open"]}
    assert JobSpec.model_validate(spec).boundary == "open,wall,open"
    assert guarded.post("/v1/jobs", json=spec).json()["detail"] == "source: there is no volume a"


def test_a_boundary_is_refused_however_deep_it_is() -> None:
    deep: list[object] = []
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(ValidationError):
        JobSpec.model_validate({"source": "a", "target": "b", "boundary": deep})
