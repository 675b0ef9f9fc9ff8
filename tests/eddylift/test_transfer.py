"""What the disk refuses while volumes are uploaded, downloaded and saved is told as an error of the package."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest

from eddylift import InvalidInputError, StoredVolume, save_volume
from eddylift._transfer import Arrival

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

    from eddylift import Progress
    from tests.eddylift.conftest import Ask, FakeService

STORED = StoredVolume(dict.fromkeys(StoredVolume.required()), name="box", tag="abc", bytes=2)


def silent(progress: Progress) -> None:
    """Report nothing."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file where a folder would be needed."""
    (tmp_path / "file").touch()
    return tmp_path / "file"


def test_downloads_into_what_is_no_folder(ask: Ask, service: FakeService, file: Path) -> None:
    service.script = [httpx2.Response(200, json=STORED)]
    with pytest.raises(InvalidInputError, match=r"file/box cannot be written: .*Not a directory"):
        ask("download", "box", file / "box")


def test_downloads_that_cannot_go_on(file: Path) -> None:
    folder = file.with_name("box")
    arrival = Arrival(folder, STORED, silent)
    arrival.take("u", b"12")
    with pytest.raises(InvalidInputError, match=r"u/c/0 cannot be written"):
        arrival.take("u/c/0", b"12")
    with pytest.raises(InvalidInputError, match=r"cannot be read: .*too long"):
        arrival.missing({"u" * 999: 2})
    folder.mkdir()
    (folder / "other").touch()
    with pytest.raises(InvalidInputError, match=r"box cannot be written: .*not empty"):
        arrival.finish(STORED)
    shutil.rmtree(arrival.part)
    with pytest.raises(InvalidInputError, match=r"box cannot be written: "):
        arrival.finish(StoredVolume(STORED, tag="other"))


def test_uploads_of_what_is_gone(ask: Ask, dataset: xr.Dataset, tmp_path: Path) -> None:
    save_volume(tmp_path / "box.zarr", dataset)

    def remove(_: Progress) -> None:
        shutil.rmtree(tmp_path / "box.zarr", ignore_errors=True)

    with pytest.raises(InvalidInputError, match=r"box\.zarr/.* cannot be sent: .*No such file"):
        ask("upload", tmp_path / "box.zarr", "box", progress=remove)


def test_uploads_without_a_temporary_folder(
    ask: Ask, dataset: xr.Dataset, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(file))
    with pytest.raises(InvalidInputError, match=r"the volume cannot be sent: .*Not a directory"):
        ask("upload", dataset, "box")


def test_volumes_saved_into_what_is_no_folder(file: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"x\.npy cannot be written: .*Not a directory"):
        save_volume(file / "x.npy", np.zeros((3, 4, 4, 4)))
