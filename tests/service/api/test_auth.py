"""Tokens: who is let in, and to what."""

from __future__ import annotations

import asyncio
import hmac
import inspect
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.testclient import TestClient

from service.__main__ import main
from service.api.auth import SCOPES, Access, RequireScope, Token, TokensError, digest, make_token, read_tokens
from service.api.middleware import DOCUMENTATION, PROBES
from service.app import create_app
from service.settings import Settings
from tests.service.wire import NPY, noise, npy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from fastapi.dependencies.models import Dependant
    from starlette.types import Message

    Serve = Callable[..., TestClient]

ALL = SCOPES


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    """A token of each scope; ``tokens`` in the folder has them."""
    made = {scope: make_token(f"{scope}er", scope) for scope in ALL}
    lines = ["# who may use it", "", *(line for _, line in made.values())]
    (tmp_path / "tokens").write_text("\n".join(lines))
    return {scope: secret for scope, (secret, _) in made.items()}


@pytest.fixture
def client(serve: Serve, secrets: dict[str, str], tmp_path: Path) -> TestClient:
    assert secrets
    return serve(tokens=tmp_path / "tokens", data=tmp_path / "data")


def bearing(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def calls(dependant: Dependant) -> Iterator[Any]:
    for each in dependant.dependencies:
        yield each.call
        yield from calls(each)


def routes(app: FastAPI) -> Iterator[tuple[str, str, str | None]]:
    """Method, path and scope of every route, the largest scope where it names more."""
    for context in iter_route_contexts(app.routes):
        found: list[str] = []
        if isinstance(context.original_route, APIRoute):
            found = [call.scope for call in calls(context.dependant) if isinstance(call, RequireScope)]
        for method in context.methods or ():
            yield method, context.path or "", max(found, key=ALL.index) if found else None


def test_only_dependencies_that_read_cards_run_in_threads(client: TestClient) -> None:
    """FastAPI runs those that are not async in threads, which takes longer than most of them do."""
    contexts = iter_route_contexts(client.app.routes)  # type: ignore[attr-defined]
    dependants = [each.dependant for each in contexts if isinstance(each.original_route, APIRoute)]
    found = {call for dependant in dependants for call in calls(dependant)}
    slow = {call for call in found if inspect.isfunction(call) and not is_async(call)}
    assert {call.__name__ for call in slow} == {"_card_of_query", "_card_with_error"}
    assert is_async(RequireScope.__call__)


def is_async(call: object) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)


# They ask for a token themselves.
PAGES = {"/", "/assets/{name}"}
WANTED = {
    "GET /health/live": None,
    "GET /health/ready": None,
    "HEAD /health/live": None,
    "HEAD /health/ready": None,
    "GET /openapi.json": None,
    "HEAD /openapi.json": None,
    "GET /docs": None,
    "HEAD /docs": None,
    "GET /": None,
    "HEAD /": None,
    "GET /assets/{name}": None,
    "HEAD /assets/{name}": None,
    "GET /metrics": "admin",
    "POST /v1/upscale": "read",
    "POST /v1/velocity": "read",
    "POST /v1/check": "read",
    "POST /v1/forecast": "read",
    "POST /v1/discover": "read",
    "POST /v1/validate": "read",
    "POST /v1/models/{name}/validate": "read",
}


def test_every_route_has_a_scope(client: TestClient) -> None:
    seen = {f"{method} {path}": scope for method, path, scope in routes(client.app)}  # type: ignore[arg-type]
    assert len(seen) > 25
    for call, scope in seen.items():
        # What changes something asks for more than what looks at it.
        usual = "read" if call.startswith(("GET ", "HEAD ")) else "write"
        assert scope == WANTED.get(call, usual), call
    assert {call.partition(" ")[2] for call, scope in seen.items() if scope is None} == PROBES | DOCUMENTATION | PAGES


def test_no_route_but_the_probes_is_open(client: TestClient) -> None:
    for method, path, _ in routes(client.app):  # type: ignore[arg-type]
        for headers in ({}, bearing("guessed"), {"Authorization": "Basic dXNlcjpwYXNz"}, {"Authorization": "Bearer"}):
            answer = client.request(method, path, headers=headers)
            if path in PROBES | PAGES:
                # There is no page called {name}.
                assert answer.status_code == (404 if path == "/assets/{name}" else 200)
                continue
            assert answer.status_code == 401, (method, path)
            assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="eddylift"')
            if method != "HEAD":
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert answer.json()["errors"][0]["field"] == "Authorization"
                assert "guessed" not in answer.text


def test_scopes_that_are_too_small(client: TestClient, secrets: dict[str, str]) -> None:
    for method, path, scope in routes(client.app):  # type: ignore[arg-type]
        for mine in ALL:
            answer = client.request(method, path, headers=bearing(secrets[mine]))
            enough = scope is None or ALL.index(mine) >= ALL.index(scope)
            assert (answer.status_code in (401, 403)) is not enough, (method, path, mine, answer.text)
            if not enough:
                assert answer.status_code == 403
                assert f'scope="{scope}"' in answer.headers["WWW-Authenticate"]
                assert method == "HEAD" or scope in answer.json()["errors"][0]["expected"]


def test_a_token_upscales(client: TestClient, secrets: dict[str, str]) -> None:
    headers = {"Content-Type": NPY, **bearing(secrets["read"])}
    answer = client.post("/v1/upscale?model=trilinear-x4", content=npy(noise(3, 4, 4, 4)), headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/jobs"), ("PUT", "/v1/volumes/a/b"), ("POST", "/v1/upscale")]
)
def test_nothing_is_read_of_a_body_that_is_refused(client: TestClient, method: str, path: str) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        pytest.fail("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"1000000")]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 401


def test_probes_tell_details_to_those_who_may_read(client: TestClient, secrets: dict[str, str]) -> None:
    assert client.get("/health/ready").json()["models"] == []
    assert "trilinear-x4" in client.get("/health/ready", headers=bearing(secrets["read"])).json()["models"]


def test_unknown_paths_are_told_to_nobody(client: TestClient, secrets: dict[str, str]) -> None:
    assert client.get("/v1/nothing").status_code == 401
    assert client.get("/v1/nothing", headers=bearing(secrets["read"])).status_code == 404


@pytest.mark.parametrize(("address", "status"), [("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 401), ("", 401)])
def test_the_documentation_is_open_to_this_machine(
    catalogue: Any,  # noqa: ANN401
    secrets: dict[str, str],
    tmp_path: Path,
    address: str,
    status: int,
) -> None:
    assert secrets
    app = create_app(Settings(weights=catalogue.folder, device="cpu", tokens=tmp_path / "tokens"))
    client = TestClient(app, client=(address, 1))
    for path in sorted(DOCUMENTATION):
        assert client.get(path).status_code == status
    assert client.get("/v1/models").status_code == 401


def test_without_tokens_all_is_open(serve: Serve, tmp_path: Path) -> None:
    client = serve(tokens="off", data=tmp_path)
    assert client.get("/metrics").status_code == 200
    # A client that has a token may send it all the same.
    assert client.get("/v1/models", headers=bearing("mine")).status_code == 200


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def compare(stored: str, sent: str) -> bool:
        compared.append((stored, sent))
        return hmac.compare_digest(stored, sent)

    monkeypatch.setattr("service.api.auth.hmac", SimpleNamespace(compare_digest=compare))
    tokens = [Token(name, "read", digest(name)) for name in "abc"]
    found = Access(tokens).find("bearer a")
    assert found is tokens[0]
    # The whole list, also after a token was found, and digests, not secrets.
    assert compared == [(token.digest, digest("a")) for token in tokens]


def test_the_interface_names_its_scheme(client: TestClient) -> None:
    document = TestClient(client.app, client=("127.0.0.1", 1)).get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert ("security" in operation) is (path not in PROBES)
            assert path in PROBES or {"401", "403", "429"} <= set(operation["responses"])


@pytest.mark.parametrize(
    "line",
    [
        "lab write",
        f"lab own {'0' * 64}",
        f"lab write {'0' * 63}",
        f"lab write {'G' * 64}",
        f"la/b write {'0' * 64}",
        f"lab write {'0' * 64}\nlab read {'1' * 64}",
        "lab write eddylift_secret-put-here-by-mistake",
        "",
        "# nobody yet",
    ],
)
def test_files_that_hold_no_tokens(tmp_path: Path, line: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(line)
    with pytest.raises(TokensError, match="EDDYLIFT_TOKENS") as caught:
        read_tokens(path)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TokensError, match="cannot be read"):
        create_app(Settings(tokens=tmp_path / "tokens"))


def test_a_token_is_made_on_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["token", "--name", "lab", "--scope", "write"]) == 0
    line, secret = capsys.readouterr()
    (tmp_path / "tokens").write_text(line)
    found = Access.of(tmp_path / "tokens").find(f"Bearer {secret.strip()}")
    assert found is not None
    assert (found.name, found.scope) == ("lab", "write")
    assert secret.strip() not in line
    assert main(["token", "--name", "a b", "--scope", "read"]) == 2
    assert "'a b'" in capsys.readouterr().err


def test_others_are_not_served_by_accident(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    started: list[str] = []
    monkeypatch.setattr("service.runtime.server.Server.run", lambda server: started.append(server.config.host))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert main(["--host", "0.0.0.0"]) == 2  # noqa: S104 what is refused
    told = capsys.readouterr().err
    assert "0.0.0.0" in told  # noqa: S104
    assert "EDDYLIFT_TOKENS=<file>" in told
    assert "EDDYLIFT_TOKENS=off" in told
    assert started == []
    monkeypatch.setenv("EDDYLIFT_TOKENS", str(tmp_path / "tokens"))
    assert main(["--host", "0.0.0.0"]) == 2  # noqa: S104
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "tokens").write_text(make_token("lab", "read")[1])
    assert main(["--host", "0.0.0.0"]) == 0  # noqa: S104
    assert len(started) == 1
