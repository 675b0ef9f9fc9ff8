"""The examples of the README, docs/ and the notebook run as printed, against one service with real models."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
from typer.testing import CliRunner

from eddylift import Client, cli
from service.app import create_app
from service.settings import CHECKOUT, Settings
from tests.service.servers import serving
from tests.service.wire import NPY, npy
from tests.waiting import PATIENCE_S
from training import __main__ as training

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRINTED = "http://127.0.0.1:8000"
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
NOTEBOOK = CHECKOUT / "examples" / "tutorial.ipynb"
MODELS = ["equivariant-general-x4", "trilinear-x4"]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands(start: str) -> list[str]:
    """The printed commands that begin so, comments and line ends left out; each once."""
    lines = [
        line
        for page in PAGES
        for block in blocks(page, "sh")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith(start)
    ]
    return list(dict.fromkeys(shlex.join(shlex.split(line, comments=True)) for line in lines))


def run_together(examples: list[str]) -> None:
    """Run pieces of one program."""
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, "example", "exec"), names)  # noqa: S102 our own


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    weights = tmp_path_factory.mktemp("weights")
    for name in [*MODELS, "held-out", "forecast"]:
        (weights / name).symlink_to(CHECKOUT / "weights" / name)
    data = tmp_path_factory.mktemp("data")
    with serving(create_app(Settings(weights=weights, device="cpu", threads=1, data=data))) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is like the checkout to examples, which may write into it; volumes are dropped afterwards."""
    for name in ("weights", "examples"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDDYLIFT_URL", url)
    yield tmp_path
    with Client(url) as client:
        for volume in client.volumes():
            client.delete_volume(volume.name)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python(page: Path) -> None:
    run_together(blocks(page, "python"))


def test_notebook(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "examples")  # Jupyter runs a notebook in its own folder
    monkeypatch.setenv("MPLBACKEND", "agg")
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    run_together(["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"])
    assert not [cell for cell in cells if cell.get("outputs")], "outputs are not kept"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", commands(".venv/bin/eddylift"))
def test_command_line(command: str) -> None:
    result = CliRunner().invoke(cli.app, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not there")
@pytest.mark.parametrize("command", commands("curl"))
def test_curl(command: str, folder: Path, url: str) -> None:
    subprocess.run(shlex.split(command.replace(PRINTED, url)), check=True, cwd=folder, timeout=PATIENCE_S)  # noqa: S603
    assert np.load(folder / "fine.npy").shape == (3, 64, 64, 64)


@pytest.mark.parametrize("command", commands(".venv/bin/python -m training"))
def test_training_takes_the_options(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in training.COMMANDS.values():
        monkeypatch.setattr(module, "run", lambda _: 0)
    assert training.main(shlex.split(command)[3:]) == 0


def test_the_printed_refusal_is_what_the_service_answers(url: str) -> None:
    coarse = np.zeros((3, 4, 4, 4), np.float32)
    coarse[0, 1, 2, 3] = np.nan
    headers = {"Content-Type": NPY}
    answer = httpx2.post(f"{url}/v1/upscale", content=npy(coarse), headers=headers, timeout=PATIENCE_S).json()
    (printed,) = map(json.loads, blocks(CHECKOUT / "docs" / "http.md", "json"))
    assert answer == {**printed, "request_id": answer["request_id"]}
