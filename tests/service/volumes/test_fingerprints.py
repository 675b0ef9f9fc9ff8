"""What code the fingerprint of a view depends on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.settings import CHECKOUT
from service.volumes.code_version import CODE, OTHERS, computing_files, hash_code
from tests.service.orders import LEARNED
from tests.service.wire import dataset, noise, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue

    Serve = Callable[..., TestClient]

# As a worker of a cluster does; prints the files of which a function ran, and all that were imported.
ONE_BLOCK = f"""
import asyncio, json, os, sys, threading
from service.jobs.dask_worker import worker_parts
from service.volumes.view import BlockIndex

ran = set()

def note(frame, event, argument):
    if frame.f_code.co_name != "<module>":
        ran.add(frame.f_code.co_filename)

async def compute(worker, card):
    view = worker.opener.view("box", card)
    assert len([chunks async for _, chunks in worker.blocks.compute(view, [BlockIndex(0, (0, 0, 0))])]) == 1

threading.setprofile(note)
worker = worker_parts()
card = worker.engine.registry.card({LEARNED!r})
worker.engine.registry.get(card.name)
ran.clear()
sys.setprofile(note)
asyncio.run(compute(worker, card))
sys.setprofile(None)
imported = [module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)]
print(json.dumps([[*ran], imported]), flush=True)
os._exit(0)  # without the threads of the engine
"""
# Beginnings of the paths of what runs all the same, though no number depends on it: warnings, counts, limits, locks,
# queues, tags ...
RUNS = (
    "models/ends.py",
    "models/metrics/traits.py",
    "service/engine/queue.py",
    "service/engine/tracing.py",
    "service/formats/decompressed_size.py",
    "service/formats/field_checks.py",
    "service/formats/units.py",
    "service/problems.py",
    "service/runtime/",
    "service/settings.py",
    "service/volumes/content_tag.py",
    "service/volumes/cost.py",
    "service/volumes/generations.py",
    "service/volumes/storages.py",
    "service/volumes/uploads.py",
)
# ... and of what is imported and does not run.
IMPORTED = (
    "models/discovery/",
    "models/held_out.py",
    "models/metrics/",
    "models/npy.py",
    "models/replacing.py",
    "service/__init__.py",
    "service/engine/scores.py",
    "service/formats/containers.py",
    "service/formats/netcdf.py",
    "service/formats/npy.py",
    "service/formats/pairs.py",
    "service/formats/zarr_zip.py",
    "service/jobs/",
    "service/volumes/code_version.py",
    "service/volumes/files.py",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in ("models", "service"):
        shutil.copytree(CHECKOUT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("page", "__pycache__"))
    assert hash_code(tmp_path) == CODE
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/blocks.py", "range(", "reversed("),
        ("models/operators.py", "FACTOR = 4", "FACTOR = 2"),
        ("service/engine/regions.py", "n + layout.halo", "n - layout.halo"),
        ("service/formats/velocity.py", "True", "False"),
        ("service/volumes/source.py", "1 << 26", "1 << 27"),
    ],
)
def test_other_code_that_computes_blocks_makes_another_view(checkout: Path, file: str, old: str, new: str) -> None:
    change(checkout / file, old, new)
    assert hash_code(checkout) != CODE


def test_comments_docstrings_and_blank_lines_do_not(checkout: Path) -> None:
    change(checkout / "models/blocks.py", '"""', '"""Otherwise said. ')
    change(checkout / "models/operators.py", "\n\n\ndef ", "\n\n\n# Why.\n\n\ndef ")
    path = checkout / "models" / "catalogue.py"
    path.write_text(path.read_text() + "\nLAST = 1\n")
    changed = hash_code(checkout)
    assert changed != CODE
    path.write_text(path.read_text() + '"""What is last."""\n')
    assert hash_code(checkout) == changed


def test_nor_does_code_that_has_no_part_in_blocks(checkout: Path) -> None:
    folders = ("models/metrics/spectra.py", "models/forecasting/layers.py", "service/api/errors.py")
    for file in (*OTHERS, *folders, "service/volumes/derived.py", "service/volumes/uploads.py"):
        path = checkout / file
        path.write_text(path.read_text() + "CHANGED = 1\n")
    assert hash_code(checkout) == CODE


def others(files: list[str], known: tuple[str, ...]) -> set[str]:
    """Files of the checkout that are neither hashed nor known; its environment may lie in it."""
    paths = {path for file in files if not (path := Path(file)).is_relative_to(sys.prefix)} - {*computing_files()}
    found = {path.relative_to(CHECKOUT).as_posix() for path in paths if path.is_relative_to(CHECKOUT)}
    return {path for path in found if not path.startswith(known)}


def test_all_code_that_computes_a_block_counts(serve: Serve, catalogue: Catalogue, tmp_path: Path) -> None:
    data = tmp_path / "data"
    send(serve(data=data, block=6), "box", dataset(noise(3, 4, 4, 4)))
    environment = {
        **os.environ,
        "EDDYLIFT_WEIGHTS": str(catalogue.folder),
        "EDDYLIFT_DATA": str(data),
        "EDDYLIFT_DEVICE": "cpu",
        "PYTHONPATH": str(CHECKOUT),
    }
    command = [sys.executable, "-c", ONE_BLOCK]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)  # noqa: S603 ours
    ran, imported = json.loads(done.stdout)
    assert {str(CHECKOUT / "models" / "superresolution.py"), str(CHECKOUT / "service/formats/velocity.py")} <= {*ran}
    assert not others(ran, RUNS)
    assert not others(imported, RUNS + IMPORTED)
