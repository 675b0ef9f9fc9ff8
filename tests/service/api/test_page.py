"""The page as files: what is served, under which policy, and how much it is."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import pytest

from service.api.auth import make_token
from service.api.routes.page import FOLDER
from service.settings import CHECKOUT
from training.figures import COLOURS, IRREPS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient

    Serve = Callable[..., TestClient]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_and_all_that_it_names_are_there(client: TestClient, path: str) -> None:
    page = client.get(path)
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Cache-Control"] == "no-cache"
    assert client.get(path, headers={"If-None-Match": page.headers["ETag"]}).status_code == 304
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) > 2
    for name in named:
        asset = client.get(name)
        assert asset.status_code == 200, name
        assert asset.headers["Cache-Control"] == "max-age=31536000, immutable"
        assert asset.content == (FOLDER / name.lstrip("/")).read_bytes()


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_policy_is_strict(client: TestClient, path: str) -> None:
    policy = client.get(path).headers["Content-Security-Policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == ["'self'"]
    assert rules["default-src"] == rules["frame-ancestors"] == ["'none'"]
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", ["nothing.js", "..%2Findex.html", "..%2f..%2fsettings.py"])
def test_nothing_else_is_served(client: TestClient, name: str) -> None:
    answer = client.get(f"/assets/{name}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_it_is_compressed_for_who_can_read_that(client: TestClient) -> None:
    zipped, plain = (client.get("/", headers={"Accept-Encoding": coding}) for coding in ("gzip", "identity"))
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert zipped.content == plain.content
    assert zipped.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


def test_the_page_is_small() -> None:
    files = [path for path in FOLDER.rglob("*.*") if not path.name.startswith("docs")]
    assert 50_000 < sum(len(gzip.compress(path.read_bytes())) for path in files) < 250_000


def test_the_page_is_open_where_tokens_are_asked_for(serve: Serve, tmp_path: Path) -> None:
    _, line = make_token("lab", "read")
    (tmp_path / "tokens").write_text(line)
    guarded = serve(tokens=tmp_path / "tokens")
    page = guarded.get("/")
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "private, no-cache"
    for name in re.findall(r'src="([^"]+)"', page.text):
        assert guarded.get(name).status_code == 200
    assert guarded.get("/v1/models").status_code == 401


def test_families_and_irreps_have_one_colour_each_in_page_and_figures() -> None:
    source = (CHECKOUT / "web/src/colours.ts").read_text()
    (body,) = re.findall(r"FAMILY: Record<Family, string> = {([^}]*)}", source)
    assert dict(re.findall(r'(\w+): "(#\w+)"', body)) == COLOURS
    (irreps,) = re.findall(r"IRREPS = \[([^]]*)\]", source)
    assert tuple(re.findall(r"#\w+", irreps)) == IRREPS
