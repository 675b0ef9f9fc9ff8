from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import h5py
import numpy as np
import pytest
import xarray as xr

from eddylift import InvalidInputError
from eddylift._files import check_target, read, write

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRIDDED = [".nc", ".h5", ".hdf5", ".zarr", ".zip"]


def test_array(tmp_path: Path, array: NDArray[np.float32]) -> None:
    write(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read(tmp_path / "a.npy"), array)


@pytest.mark.parametrize("suffix", GRIDDED)
def test_dataset(tmp_path: Path, dataset: xr.Dataset, suffix: str) -> None:
    dataset = dataset.assign_coords(time=np.datetime64("2024-01-01", "ns"), component=list("uvw"))
    path = tmp_path / f"a{suffix}"
    write(path, dataset)
    xr.testing.assert_identical(read(path), dataset)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("folder", ["", "field.zarr/"])
def test_zipped_by_hand(tmp_path: Path, dataset: xr.Dataset, folder: str, zarr_format: Literal[2, 3]) -> None:
    dataset.to_zarr(tmp_path / "plain", zarr_format=zarr_format, consolidated=False)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in (tmp_path / "plain").rglob("*"):
            archive.write(file, folder + str(file.relative_to(tmp_path / "plain")))
    xr.testing.assert_identical(read(tmp_path / "a.zip"), dataset)


def test_archives_hold_every_name_once(tmp_path: Path, dataset: xr.Dataset) -> None:
    write(tmp_path / "a.zip", dataset)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    assert len(names) == len(set(names))


def test_plain_hdf5(tmp_path: Path) -> None:
    cube = np.random.default_rng(1).standard_normal((3, 4, 4, 4), np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in zip("uvw", cube, strict=True):
            file[name] = values
            file[name].attrs["units"] = "m/s"
        file["x"] = np.arange(4.0)
    found = read(tmp_path / "a.h5")
    assert isinstance(found, xr.Dataset)
    for name, values in zip("uvw", cube, strict=True):
        assert found[name].dims == ("z", "y", "x")
        np.testing.assert_array_equal(found[name], values)
    assert found["u"].attrs["units"] == "m/s"
    assert found["x"].dims == ("x",)


@pytest.mark.parametrize(("name", "shape"), [("velocity", (4, 4, 4, 3)), ("u", (4, 4)), ("x", (4, 4))])
def test_plain_hdf5_of_another_layout(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[name] = np.zeros(shape)
    with pytest.raises(InvalidInputError, match=rf"no names for its axes.*got {name} of shape"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize("suffix", [".npy", *GRIDDED])
def test_missing(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InvalidInputError, match=r"does not exist$"):
        read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".npy", *GRIDDED])
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"CDF\x01", b"PK\x05\x06" + bytes(18), bytes(100)])
def test_not_what_the_name_says(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=str(path)):
        read(path)


def test_folder_that_is_no_zarr(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(InvalidInputError, match=r"cannot be read"):
        read(tmp_path / "a.zarr")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(InvalidInputError, match=r"cannot be read"):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.txt", "a", "a.npz", "a.NC"])
def test_unknown_kinds(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"of no known kind"):
        read(tmp_path / name)
    with pytest.raises(InvalidInputError, match=r"of no known kind"):
        check_target(tmp_path / name, tmp_path / "a.nc", overwrite=True)


def test_zarr_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for name in ("a.zarr", "a.zip"):
        with pytest.raises(InvalidInputError, match=r"needs the zarr package: pip install 'eddylift\[zarr\]'"):
            read(tmp_path / name)


@pytest.mark.parametrize(("target", "source"), [("a.npy", "a.nc"), ("a.zip", "a.npy")])
def test_targets_of_another_kind(tmp_path: Path, target: str, source: str) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot hold the answer"):
        check_target(tmp_path / target, Path(source), overwrite=False)


def test_target_without_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"is not a folder$"):
        check_target(tmp_path / "b" / "a.nc", Path("a.nc"), overwrite=False)


@pytest.mark.parametrize("suffix", GRIDDED)
def test_nothing_is_overwritten_unasked(tmp_path: Path, dataset: xr.Dataset, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, dataset)
    with pytest.raises(InvalidInputError, match=r"is there already"):
        check_target(path, path, overwrite=False)
    check_target(path, path, overwrite=True)
    write(path, dataset * 2)
    xr.testing.assert_equal(read(path), dataset * 2)
    assert list(tmp_path.iterdir()) == [path]


def test_folders_that_are_no_zarr_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "precious").touch()
    with pytest.raises(InvalidInputError, match=r"no Zarr group"):
        check_target(path, Path("a.nc"), overwrite=True)


@pytest.mark.parametrize("suffix", GRIDDED)
def test_failing_to_write_leaves_what_was_there(tmp_path: Path, dataset: xr.Dataset, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, dataset)
    with pytest.raises(InvalidInputError, match=r"cannot be written"):
        write(path, dataset.assign_attrs(broken={1: object()}))
    xr.testing.assert_identical(read(path), dataset)
    assert list(tmp_path.iterdir()) == [path]
