"""A real browser, and pages in it that must not complain, nor ask anyone but the service."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from service.app import create_app
from service.settings import Settings
from tests.service.servers import serving
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fastapi import FastAPI

    from models.catalogue import Catalogue

Open = Callable[[str], Page]
DROP = """([text, name]) => {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name));
    return transfer;
}"""

CELLS = "{0} \N{MULTIPLICATION SIGN} {0} \N{MULTIPLICATION SIGN} {0} cells"
# The page draws once a frame, and asks for tiles when it draws.
TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def drop(page: Page, content: bytes, name: str = "field.npy", place: int = 0) -> None:
    """Drop a file as the coarse field, or as the true one beside it (place 1)."""
    transfer = page.evaluate_handle(DROP, [base64.b64encode(content).decode(), name])
    page.locator(".inputs .drop").nth(place).dispatch_event("drop", {"dataTransfer": transfer})


def put(address: str, name: str, files: Mapping[str, bytes]) -> None:
    """Upload the files of a volume."""
    for key, content in files.items():
        httpx2.put(f"{address}/v1/volumes/{name}/{key}", content=content, timeout=PATIENCE_S).raise_for_status()


def folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files of a folder."""
    for key, content in files.items():
        (path / key).parent.mkdir(parents=True, exist_ok=True)
        (path / key).write_bytes(content)
    return path


# Playwright runs an event loop in this thread, in which tests of other folders could run none of their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        assert "CI" not in os.environ, "no Chromium; .ci/run installs it"
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        # As root, Chromium starts without its sandbox alone.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Service:
    """An app that listens, and its address."""

    def __init__(self, app: FastAPI, address: str) -> None:
        self.app = app
        self.address = address

    @property
    def computed(self) -> int:
        """Blocks of views that were computed."""
        return int(self.app.state.services.chunk_cache.computed)


@pytest.fixture(scope="package")
def start(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Start a service with some settings."""
    with ExitStack() as running:

        def start(**settings: Any) -> Service:  # noqa: ANN401 passed on to Settings
            data = tmp_path_factory.mktemp("data")
            given = {"weights": catalogue.folder, "data": data, "device": "cpu", "threads": 1, **settings}
            app = create_app(Settings(**given))
            return Service(app, running.enter_context(serving(app)))

        yield start


@pytest.fixture(scope="package")
def service(start: Callable[..., Service]) -> Service:
    return start(max_cells=16**3, max_body_bytes=12 * 24**3)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open an address; at the end, the page must have been at peace and asked nobody else."""
    context = browser.new_context(viewport={"width": 900, "height": 600})
    context.set_default_timeout(1000 * PATIENCE_S)
    expect.set_options(timeout=1000 * PATIENCE_S)
    complaints: list[str] = []
    strangers: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # Chromium says so of every refusal, which the page tells in words.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            complaints.append(message.text)

    def open_page(address: str) -> Page:
        home = urlsplit(address).netloc

        def look(request: Request) -> None:
            if urlsplit(request.url).netloc not in {home, ""}:
                strangers.append(request.url)

        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", look)
        page.goto(address)
        return page

    yield open_page
    context.close()
    assert complaints == []
    assert strangers == []
