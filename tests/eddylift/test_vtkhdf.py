from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import xarray as xr

from eddylift import InvalidInputError, open_volume, save_volume

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]], list[float]]:
    """Attributes, cell data and times of a file."""
    with h5py.File(path) as file:
        group = file["VTKHDF"]
        cells = {name: np.asarray(values) for name, values in group["CellData"].items()}
        times = list(group["Steps/Values"]) if "Steps" in group else []
        return dict(group.attrs), cells, times


def test_cells_lie_where_the_coordinates_say(dataset: xr.Dataset, array: NDArray[np.float32], tmp_path: Path) -> None:
    volume = dataset.assign_coords(z=[0.25, 0.75]).assign(error=dataset["u"].transpose("x", "y", "z"))
    save_volume(tmp_path / "fine.vtkhdf", volume)
    attributes, cells, times = read(tmp_path / "fine.vtkhdf")
    assert attributes["Type"] == b"ImageData"
    assert attributes["WholeExtent"].tolist() == [0, 4, 0, 3, 0, 2]
    assert attributes["Spacing"].tolist() == [1, 1, 0.5]
    assert attributes["Origin"].tolist() == [-0.5, -0.5, 0]
    np.testing.assert_array_equal(cells["velocity"], np.moveaxis(array, 0, -1))
    np.testing.assert_array_equal(cells["error"], array[0])
    assert times == []


def test_descending_axes_are_turned_round(dataset: xr.Dataset, array: NDArray[np.float32], tmp_path: Path) -> None:
    save_volume(tmp_path / "fine.vtkhdf", dataset.assign_coords(y=[3.0, 2.0, 1.0], z=[0.0, 1.0]))
    attributes, cells, _ = read(tmp_path / "fine.vtkhdf")
    assert attributes["Origin"][1] == 0.5
    np.testing.assert_array_equal(cells["velocity"][..., 0], array[0, :, ::-1])


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0.5, 1.5], [0.5, 1.5]),
        (np.array(["2024-01-01T00:00", "2024-01-01T00:01"], "M8[ns]"), [0, 60]),
        (
            np.array([dt.date(2024, 1, 1), dt.date(2024, 1, 2)]),
            [0, 86400],
        ),  # objects, as of other calendars
        (None, [0, 1]),
    ],
)
def test_times(
    dataset: xr.Dataset, array: NDArray[np.float32], tmp_path: Path, times: ArrayLike | None, expected: list[float]
) -> None:
    series = xr.concat([dataset, 2 * dataset], "time")
    save_volume(tmp_path / "fine.vtkhdf", series if times is None else series.assign_coords(time=times))
    _, cells, found = read(tmp_path / "fine.vtkhdf")
    assert found == expected
    np.testing.assert_array_equal(cells["velocity"][1], np.moveaxis(2 * array, 0, -1))


def test_coordinates_along_some_axes_alone_do_not_flatten_the_box(dataset: xr.Dataset, tmp_path: Path) -> None:
    save_volume(tmp_path / "fine.vtkhdf", dataset.drop_vars("x").assign_coords(y=[0.0, 0.0025, 0.005]))
    assert read(tmp_path / "fine.vtkhdf")[0]["Spacing"].tolist() == [1, 1, 1]


def test_arrays_have_cells_of_edge_1(array: NDArray[np.float32], tmp_path: Path) -> None:
    save_volume(tmp_path / "fine.vtkhdf", np.concatenate([array, array[:1]]))
    attributes, cells, _ = read(tmp_path / "fine.vtkhdf")
    assert attributes["Spacing"].tolist() == [1, 1, 1]
    assert cells.keys() == {"velocity", "error"}


def test_paraview_reads_it(dataset: xr.Dataset, array: NDArray[np.float32], tmp_path: Path) -> None:
    reader_module = pytest.importorskip("vtkmodules.vtkIOHDF")
    support = pytest.importorskip("vtkmodules.util.numpy_support")
    series = xr.concat([dataset, 2 * dataset], "time").assign_coords(time=[0.0, 0.5])
    save_volume(tmp_path / "fine.vtkhdf", series)
    reader = reader_module.vtkHDFReader()
    reader.SetFileName(str(tmp_path / "fine.vtkhdf"))
    for step in range(2):
        reader.SetStep(step)
        reader.Update()
        image = reader.GetOutputDataObject(0)
        assert image.GetDimensions() == (5, 4, 3)
        values = support.vtk_to_numpy(image.GetCellData().GetArray("velocity"))
        np.testing.assert_array_equal(values.reshape(2, 3, 4, 3), np.moveaxis((step + 1) * array, 0, -1))


def test_it_is_not_read(dataset: xr.Dataset, tmp_path: Path) -> None:
    save_volume(tmp_path / "fine.vtkhdf", dataset)
    with pytest.raises(InvalidInputError, match=r"fine\.vtkhdf is VTKHDF, which is written for ParaView, but not read"):
        open_volume(tmp_path / "fine.vtkhdf")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fine.vti", r"ending: expected .*, \.vtkhdf$"),
        ("fine.npy", r"cannot hold Dataset: arrays go to \.npy or \.vtkhdf"),
        ("fine", r"ending: expected .*, \.vtkhdf$"),
    ],
)
def test_a_name_that_does_not_fit(dataset: xr.Dataset, tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        save_volume(tmp_path / name, dataset)


def test_an_array_that_is_no_velocity(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"an array is \(3, z, y, x\)"):
        save_volume(tmp_path / "fine.vtkhdf", np.zeros((5, 2, 2, 2)))
