"""Both clients and the command line against a service that asks for tokens."""

from __future__ import annotations

import json

import anyio
import httpx2
import pytest
from typer.testing import CliRunner

from eddylift import AsyncClient, Client, UnauthorizedError, cli
from service.api.auth import make_token
from service.app import create_app
from service.settings import Settings


@pytest.fixture(scope="module")
def reader() -> tuple[str, str]:
    """A token that reads, and its line."""
    return make_token("reader", "read")


@pytest.fixture(scope="module")
def settings(reader: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "tokens").write_text(reader[1])
    return Settings(weights=folder / "weights", device="cpu", threads=1, data=folder, tokens=folder / "tokens")


def test_a_token_lets_in(url: str, reader: tuple[str, str]) -> None:
    with Client(url, reader[0]) as client:
        assert [card["name"] for card in client.models()] == ["trilinear-x4"]
        with pytest.raises(UnauthorizedError, match="scope read; expected one of scope write") as caught:
            client.delete_volume("box")
    assert caught.value.status == 403


@pytest.mark.parametrize("token", [None, "guessed"])
def test_nobody_else_is(url: str, token: str | None) -> None:
    with Client(url, token) as client, pytest.raises(UnauthorizedError, match="EDDYLIFT_TOKEN") as caught:
        client.models()
    assert caught.value.status == 401
    assert caught.value.request_id


def test_nor_by_an_asynchronous_client(settings: Settings, reader: tuple[str, str]) -> None:
    async def ask(token: str | None) -> int:
        transport = httpx2.ASGITransport(create_app(settings))
        async with AsyncClient("http://service", token, transport=transport) as client:
            return len(await client.models())

    assert anyio.run(ask, reader[0]) == 1
    with pytest.raises(UnauthorizedError):
        anyio.run(ask, None)


def test_on_the_command_line(url: str, reader: tuple[str, str]) -> None:
    run = CliRunner().invoke
    assert run(cli.app, ["models", "--url", url], env={"EDDYLIFT_TOKEN": reader[0]}).exit_code == 0
    refused = run(cli.app, ["models", "--url", url, "--json"])
    assert refused.exit_code == 1
    assert json.loads(refused.stderr)["error"]["kind"] == "UnauthorizedError"
