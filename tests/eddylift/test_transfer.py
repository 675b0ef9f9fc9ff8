"""What the disk refuses while volumes are uploaded, downloaded and saved is told as an error of the package."""

from __future__ import annotations

import os
import shutil
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal

import httpx2
import numpy as np
import pytest
import xarray as xr

from eddylift import InvalidInputError, RefusedError, StoredVolume, save_volume
from eddylift._arrival import Arrival
from eddylift._preparation import Preparation
from eddylift._transfer import draft_name, group
from tests.eddylift.conftest import problem

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

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


@pytest.mark.parametrize("folder", [".", "", "/"])
def test_downloads_into_what_exists(ask: Ask, service: FakeService, folder: str) -> None:
    service.script = [httpx2.Response(200, json=STORED)]
    with pytest.raises(InvalidInputError, match=r"^[./] exists already$"):
        ask("download", "box", folder)


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


def test_no_upload_ends_under_the_name_of_a_draft(ask: Ask, service: FakeService, array: NDArray[np.float32]) -> None:
    """The service would delete it after a day."""
    service.script = [problem(404)]
    with pytest.raises(InvalidInputError, match=r"name: box\.part-202611301905; expected another ending"):
        ask("upload", array, "box.part-202611301905", boundary="periodic")
    assert [each.method for each in service.requests] == ["GET"]


def test_drafts_of_files_of_equal_sizes_and_times(dataset: xr.Dataset, tmp_path: Path) -> None:
    """As archives unpack them: an upload of one must not go on with the draft of the other."""
    names = set()
    for factor in (1, 2):
        folder = tmp_path / f"{factor}.zarr"
        bare = {name: {"compressors": None} for name in dataset}
        (factor * dataset).to_zarr(folder, zarr_format=3, consolidated=False, encoding=bare)
        for path in folder.rglob("*"):
            os.utime(path, (0, 0))
        with group(folder, Preparation()) as (objects, _):
            names.add(draft_name("box", objects))
        with group(folder, Preparation()) as (objects, _):
            names.add(draft_name("box", objects))
    assert len(names) == 2


@pytest.mark.parametrize("consolidated", [False, True])
@pytest.mark.parametrize("attributes", [{}, {"boundary": "open", "title": "box"}])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_boundary_changes_the_attribute_of_a_group_alone(
    dataset: xr.Dataset, tmp_path: Path, zarr_format: Literal[2, 3], attributes: dict[str, str], *, consolidated: bool
) -> None:
    """Its chunks are sent from where they are; a later attempt goes on with the same draft."""
    given, got = tmp_path / "given.zarr", tmp_path / "got.zarr"
    volume = dataset.drop_attrs(deep=False).assign_attrs(attributes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidated metadata is not in Zarr v3 yet
        volume.to_zarr(given, zarr_format=zarr_format, consolidated=consolidated)
    drafts = set()
    for _ in range(2):
        with group(given, Preparation(boundary={"y": "wall"})) as (objects, problem):
            drafts.add(draft_name("box", objects))
            for each in objects:
                (got / each.key).parent.mkdir(parents=True, exist_ok=True)
                (got / each.key).write_bytes(each.read())
    assert (problem, len(drafts)) == (None, 1)
    assert {each.key for each in objects if each.path != given / each.key} <= {"zarr.json", ".zattrs", ".zmetadata"}
    found = xr.open_zarr(got, consolidated=consolidated)
    xr.testing.assert_identical(found.load(), volume.assign_attrs(boundary="periodic,wall,periodic"))


def test_the_largest_objects_are_sent_first_and_documents_last(dataset: xr.Dataset, tmp_path: Path) -> None:
    """What is larger than the service takes is refused before hours of others are sent."""
    volume = dataset.assign(energy=("step", np.random.default_rng(1).random(10_000)))
    volume.to_zarr(tmp_path / "box.zarr", consolidated=False)
    with group(tmp_path / "box.zarr", Preparation()) as (objects, _):
        documents = [each.path.name == "zarr.json" for each in objects]
        chunks = [each for each in objects if each.path.name != "zarr.json"]
    assert documents == sorted(documents)
    assert chunks[0].key.startswith("energy/c/")
    assert [each.size for each in chunks] == sorted((each.size for each in chunks), reverse=True)


@pytest.mark.parametrize(("status", "deleted"), [(401, False), (403, False), (409, False), (413, True), (422, True)])
def test_what_was_sent_is_deleted_only_if_an_object_is_refused_for_what_it_is(
    ask: Ask, service: FakeService, array: NDArray[np.float32], status: int, *, deleted: bool
) -> None:
    service.script = [problem(404), problem(404), httpx2.Response(201), problem(status), httpx2.Response(204)]
    with pytest.raises(RefusedError):
        ask("upload", array, "box", boundary="periodic")
    assert [each.method for each in service.requests] == ["GET", "GET", "PUT", "PUT", *deleted * ["DELETE"]]


def test_uploads_without_a_temporary_folder(
    ask: Ask, dataset: xr.Dataset, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(file))
    with pytest.raises(InvalidInputError, match=r"the volume cannot be sent: .*Not a directory"):
        ask("upload", dataset, "box")


def test_uploads_that_do_not_fit_into_the_temporary_folder(
    ask: Ask, dataset: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    told = rf"^the volume has {dataset.nbytes} bytes, and {tmp_path} room for 100: set TMPDIR"
    with pytest.raises(InvalidInputError, match=told):
        ask("upload", dataset, "box")
    assert not list(tmp_path.iterdir())


def test_volumes_saved_into_what_is_no_folder(file: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"x\.npy cannot be written: .*Not a directory"):
        save_volume(file / "x.npy", np.zeros((3, 4, 4, 4)))
