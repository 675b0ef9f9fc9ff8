"""Every part that reads .npy in threads does so one header at a time: see `models.npy`."""

from __future__ import annotations

import ast
import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from eddylift import open_volume
from eddylift._npy import read_array
from models.held_out import HeldOutSamples
from service.formats.npy import NpyBody
from service.settings import Settings
from tests.service.wire import noise, npy

if TYPE_CHECKING:
    from collections.abc import Callable

COARSE = noise(3, 4, 4, 4)
WEIGHTS = Path(__file__).parents[1] / "weights"


@pytest.mark.parametrize(
    "read",
    [
        lambda _: NpyBody(npy(COARSE), Settings()).content,
        lambda _: HeldOutSamples(WEIGHTS).read("isotropic-x4").coarse,
        lambda _: read_array(io.BytesIO(npy(COARSE))),
        lambda folder: open_volume(folder / "coarse.npy"),
    ],
    ids=["service", "catalogue", "client", "files"],
)
def test_threads_parse_one_header_at_a_time(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "coarse.npy", COARSE)
    parse, parsing, together = ast.literal_eval, list[int](), list[int]()

    def watched(text: str) -> object:
        parsing.append(0)
        together.append(len(parsing))
        time.sleep(0.01)
        parsing.pop()
        return parse(text)

    monkeypatch.setattr(ast, "literal_eval", watched)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(read, [tmp_path] * 8))
    assert len(together) >= 8
    assert max(together) == 1
