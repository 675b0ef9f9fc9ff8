"""Where answers are written, and what was there before."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from eddylift import InvalidInputError
from eddylift._files import read
from eddylift._writing import check_target, write
from tests.eddylift.test_files import GRIDDED


@pytest.mark.parametrize(
    ("target", "source", "kind"),
    [
        ("a.npy", "a.nc", r"a dataset: expected a name that ends in \.nc, .*, \.zip, \.vtkhdf$"),
        ("a.foo", "a.nc", r"a dataset: expected a name that ends in \.nc, .*, \.zip, \.vtkhdf$"),
        ("a.zip", "a.npy", r"a bare array: expected a name that ends in \.npy, \.vtkhdf$"),
    ],
)
def test_targets_of_another_kind(tmp_path: Path, dataset: xr.Dataset, target: str, source: str, kind: str) -> None:
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    np.save(tmp_path / "a.npy", dataset["u"])
    with pytest.raises(InvalidInputError, match=rf"cannot hold the answer, as the input is {kind}"):
        check_target(tmp_path / target, tmp_path / source, overwrite=False)


def test_target_without_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.nc").touch()
    with pytest.raises(InvalidInputError, match=r"is not a folder$"):
        check_target(tmp_path / "b" / "a.nc", tmp_path / "a.nc", overwrite=False)


@pytest.mark.parametrize("suffix", GRIDDED)
def test_nothing_is_overwritten_unasked(tmp_path: Path, dataset: xr.Dataset, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, dataset)
    with pytest.raises(InvalidInputError, match=r"exists already"):
        check_target(path, path, overwrite=False)
    check_target(path, path, overwrite=True)
    write(path, dataset * 2)
    xr.testing.assert_equal(read(path), dataset * 2)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("first", "second"), [(".zip", ".zarr"), (".zarr", ".zip")])
def test_a_file_and_a_folder_replace_each_other(tmp_path: Path, dataset: xr.Dataset, first: str, second: str) -> None:
    old, path = tmp_path / f"a{first}", tmp_path / f"a{second}"
    write(old, dataset)
    old.rename(path)
    write(path, dataset * 2)
    xr.testing.assert_equal(read(path), dataset * 2)
    assert list(tmp_path.iterdir()) == [path]


def test_folders_that_are_no_zarr_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "precious").touch()
    (tmp_path / "a.nc").touch()
    with pytest.raises(InvalidInputError, match=r"no Zarr group"):
        check_target(path, tmp_path / "a.nc", overwrite=True)


@pytest.mark.parametrize("suffix", GRIDDED)
def test_failing_to_write_leaves_what_was_there(
    tmp_path: Path, dataset: xr.Dataset, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace = tmp_path / f"a{suffix}", Path.replace

    def interrupted(draft: Path, target: Path) -> Path:
        if target == path:
            raise KeyboardInterrupt
        return replace(draft, target)

    write(path, dataset)
    with pytest.raises(InvalidInputError, match=r"cannot be written"):
        write(path, dataset.assign_attrs(broken={1: object()}))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(path, dataset * 2)
    xr.testing.assert_identical(read(path), dataset)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_removed_is_replaced_all_the_same(
    tmp_path: Path, dataset: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network file system, where somebody still reads it."""

    def stuck(path: Path, *, ignore_errors: bool = False) -> None:
        next(path.rglob("zarr.json")).unlink()
        if not ignore_errors:
            raise OSError(errno.ENOTEMPTY, "Directory not empty")

    path = tmp_path / "a.zarr"
    write(path, dataset)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", stuck)
        write(path, dataset * 2)
    xr.testing.assert_equal(read(path), dataset * 2)
