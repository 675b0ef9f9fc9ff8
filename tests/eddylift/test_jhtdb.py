"""Cutouts of the Johns Hopkins databases, in both spellings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import xarray as xr

from eddylift import InvalidInputError
from eddylift._files import open_dataset, read
from eddylift._velocity import find, take

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

CELLS = (2, 3, 4)


@pytest.fixture
def field() -> NDArray[np.float32]:
    """(step, z, y, x, component)."""
    return np.random.default_rng(2).standard_normal((3, *CELLS, 3), np.float32)


def write_cutout(path: Path, field: NDArray[np.float32], steps: tuple[int, ...] = (1, 2, 10)) -> Path:
    with h5py.File(path, "w") as file:
        for step, values in zip(steps, field, strict=False):
            file[f"Velocity_{step:04d}"] = values
        file["_dataset"], file["_contents"] = np.bytes_("isotropic1024coarse"), np.array([1], np.int32)
        for axis, n in zip("zyx", CELLS, strict=True):
            file[f"{axis}coor"] = np.arange(n, dtype="f4")
    return path


def write_giverny(path: Path, field: NDArray[np.float32], labels: tuple[str, ...] = ("ux", "uy", "uz")) -> Path:
    axes = {f"{axis}coor": np.arange(n, dtype="f4") for axis, n in zip("zyx", CELLS, strict=True)}
    variables = {"velocity_0001": (("zcoor", "ycoor", "xcoor", "values"), field[0])}
    dataset = xr.Dataset(variables, {**axes, "values": list(labels)}, {"dataset": "isotropic1024coarse", "t_start": 1})
    dataset.to_netcdf(path, engine="h5netcdf")
    return path


def test_cutout(tmp_path: Path, field: NDArray[np.float32]) -> None:
    found = read(write_cutout(tmp_path / "a.h5", field))
    assert isinstance(found, xr.Dataset)
    np.testing.assert_array_equal(found["velocity"], field)
    assert found["time"].values.tolist() == [1, 2, 10]
    assert found["x"].values.tolist() == [0, 1, 2, 3]
    assert found.attrs == {"dataset": "isotropic1024coarse", "contents": 1}
    sent = take(found, find(found))
    np.testing.assert_array_equal(sent["v"], field[..., 1])


@pytest.mark.parametrize("write", [write_cutout, write_giverny])
def test_one_step_has_no_time(
    tmp_path: Path, field: NDArray[np.float32], write: Callable[[Path, NDArray[np.float32]], Path]
) -> None:
    found = read(write(tmp_path / "a.h5", field[:1]))
    assert isinstance(found, xr.Dataset)
    assert found["velocity"].dims == ("z", "y", "x", "component")
    np.testing.assert_array_equal(found["velocity"], field[0])
    assert found.attrs["dataset"] == "isotropic1024coarse"


def test_parts_are_read_as_they_are_asked_for(tmp_path: Path, field: NDArray[np.float32]) -> None:
    with open_dataset(write_cutout(tmp_path / "a.h5", field)) as found:
        part = found["velocity"].isel(time=slice(0, 3, 2), z=1, x=[3, 0], component=slice(None, None, -1))
        np.testing.assert_array_equal(part, field[::2, 1][:, :, [3, 0], ::-1])


def test_other_orders_and_shapes(tmp_path: Path, field: NDArray[np.float32]) -> None:
    with pytest.raises(InvalidInputError, match=r"expected ux, uy, uz as values, got uz, uy, ux$"):
        read(write_giverny(tmp_path / "a.h5", field, ("uz", "uy", "ux")))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["Velocity_0001"], file["Velocity_0002"] = field[0], field[0, :1]
    with pytest.raises(InvalidInputError, match=r"expected Velocity_0001 and so on, all of one shape"):
        read(tmp_path / "b.h5")


def test_axes_that_are_labelled_in_another_order(tmp_path: Path, field: NDArray[np.float32]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["Velocity_0001"] = field[0].transpose(2, 1, 0, 3)
        for place, label in enumerate(("x", "y", "z", "component")):
            file["Velocity_0001"].dims[place].label = label
        file["xcoor"] = np.arange(CELLS[2], dtype="f4")
    dataset = read(tmp_path / "a.h5")
    assert isinstance(dataset, xr.Dataset)
    found = take(dataset, find(dataset.drop_vars("xcoor")))
    np.testing.assert_array_equal(found["u"], field[0, ..., 0])
