"""Missing data are refused before means hide them, or an array without attributes is sent."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from eddylift import InvalidInputError, open_volume, save_volume
from eddylift._missing import as_sent, limits
from eddylift._preparation import Preparation
from eddylift._resample import to_uniform
from eddylift._transfer import group

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.eddylift.conftest import Ask, FakeService

    Use = Callable[[Ask, xr.DataArray], object]

PLACE = (1, 0, 2, 3)


def resample(ask: Ask, field: xr.DataArray) -> object:  # noqa: ARG001 as the others
    volume = field.rename(time="component", component="z").assign_coords(y=[0, 1, 3, 4])
    return to_uniform(volume.to_dataset(name="u"), "y", "wall")


def forecast(ask: Ask, field: xr.DataArray) -> object:
    return ask("forecast", field)


def discover(ask: Ask, field: xr.DataArray) -> object:
    return ask("discover", field, field)


@pytest.mark.parametrize("use", [resample, forecast, discover])
@pytest.mark.parametrize(
    ("value", "attributes"),
    [
        (np.nan, {}),
        (np.inf, {}),
        (-999.9, {}),
        (-9999.0, {}),
        (-99.9, {"missing_value": -99.9}),
        (-99.9, {"_FillValue": np.float64(-99.9)}),
        (-99.9, {"valid_range": [-10.0, 10.0]}),
        (-99.9, {"valid_min": -10.0, "valid_max": 10.0}),
        (99.9, {"valid_max": 10.0}),
        (-99.9, {"scale_factor": 0.1, "valid_min": -9.0}),
        (-99.9, {"scale_factor": -0.1, "valid_max": 9.0}),
    ],
)
def test_missing_data(use: Use, ask: Ask, service: FakeService, value: float, attributes: dict[str, Any]) -> None:
    field = xr.DataArray(np.ones((2, 2, 4, 4), np.float32), dims=("time", "component", "y", "x"), attrs=attributes)
    use(ask, field)
    service.requests.clear()
    field[PLACE] = value
    with pytest.raises(
        InvalidInputError, match=rf": {value:g} at \(.*, y, x\) = \(1, 0, 2, 3\); expected values every"
    ):
        use(ask, field)
    assert not service.requests


def upscale(ask: Ask, field: xr.DataArray) -> object:
    return ask("upscale", np.ones((3, 4, 4, 4), field.dtype) * field.values.min())


@pytest.mark.parametrize("use", [upscale, resample, forecast, discover])
@pytest.mark.parametrize("value", [-999.9, -9999.0])
def test_markers_in_half_precision(use: Use, ask: Ask, service: FakeService, value: float) -> None:
    """Which has them as -1000 and -10000; in no other precision do these mark anything."""
    field = xr.DataArray(np.ones((2, 2, 4, 4), np.float16), dims=("time", "component", "y", "x"))
    use(ask, field)
    service.requests.clear()
    field[PLACE] = value
    with pytest.raises(InvalidInputError, match=r": -10?000"):
        use(ask, field)
    assert not service.requests
    use(ask, field.astype(np.float32))


@pytest.mark.parametrize("use", [resample, forecast, discover])
def test_attributes_that_are_no_numbers(use: Use, ask: Ask) -> None:
    field = xr.DataArray(np.ones((2, 2, 4, 4)), dims=("time", "component", "y", "x"), attrs={"valid_min": "none"})
    with pytest.raises(InvalidInputError, match=r"cannot be unpacked: .*'less'"):
        use(ask, field)


@pytest.mark.parametrize("marker", ["none", 1e40])
def test_markers_that_no_number_equals(ask: Ask, tmp_path: Path, marker: object) -> None:
    field = xr.DataArray(np.ones((2, 4, 4), np.float32), dims=("z", "y", "x"), attrs={"missing_value": marker})
    resample(ask, field.expand_dims(time=2).rename(z="component"))
    volume = xr.Dataset(dict.fromkeys("uvw", field))
    volume.to_netcdf(tmp_path / "box.nc", engine="h5netcdf")
    xr.testing.assert_equal(open_volume(tmp_path / "box.nc"), volume)


def test_markers_are_sent_if_they_are_numbers() -> None:
    array = xr.DataArray(np.ones(4), dims="x", attrs={"_FillValue": -1.0, "missing_value": "none"})
    assert as_sent(array) == {"missing_value": [-1.0]}


def test_packed_numbers_are_sent_unpacked(ask: Ask, service: FakeService) -> None:
    packing = {"scale_factor": 0.5, "add_offset": 1.0, "missing_value": -1, "valid_range": [0, 9], "units": "m/s"}
    field = xr.DataArray(np.full((2, 2, 4, 4), 3), dims=("time", "component", "y", "x"), attrs=packing)
    found = ask("forecast", field)
    assert (np.load(io.BytesIO(service.requests[-1].content)) == 2.5).all()
    assert found.attrs == {"units": "m/s"}


def test_means_have_no_markers(tmp_path: Path) -> None:
    """Of a file too; xarray itself does not find a marker in double precision in numbers in single precision."""
    values = np.ones((4, 4, 4), np.float32)
    volume = xr.Dataset(
        {name: (("z", "y", "x"), values, {"missing_value": -99.9}) for name in "uvw"}, {"y": [0, 1, 3, 4]}
    )
    volume.to_netcdf(tmp_path / "whole.nc", engine="h5netcdf")
    assert open_volume(tmp_path / "whole.nc", resample="y", boundary="wall")["u"].attrs == {}
    values[0, 0, 0] = -99.9
    volume.to_netcdf(tmp_path / "gap.nc", engine="h5netcdf")
    assert np.isnan(open_volume(tmp_path / "gap.nc", drop=["y"])["u"][0, 0, 0])
    with pytest.raises(InvalidInputError, match=r"u: nan at \(z, y, x\) = \(0, 0, 0\); expected values everywhere"):
        open_volume(tmp_path / "gap.nc", resample="y", boundary="wall")


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("factor", [0.25, -0.25])
def test_limits_of_what_was_packed_are_those_of_the_numbers(
    tmp_path: Path, dataset: xr.Dataset, suffix: str, factor: float
) -> None:
    for name in "uvw":
        dataset[name].attrs = {"valid_min": np.int16(-3000), "units": "m/s"}
        dataset[name].encoding = {"dtype": "int16", "scale_factor": factor}
    kept = {"units": "m/s", "valid_max" if factor < 0 else "valid_min": -3000 * factor}
    save_volume(tmp_path / f"a{suffix}", dataset)
    assert open_volume(tmp_path / f"a{suffix}")["u"].attrs == kept
    with group(dataset, Preparation()) as (objects, _):
        (document,) = (json.loads(each.read()) for each in objects if each.key == "u/zarr.json")
    assert document["attributes"] == kept


@pytest.mark.parametrize("given", [np.int16(-3000), -3000.0])
def test_a_negative_factor_turns_packed_limits_once(given: object) -> None:
    """Limits that are floats are in the units of the unpacked numbers already."""
    encoding = {"dtype": "int16", "scale_factor": -0.25}
    found = limits(xr.Variable("x", np.ones(4), {"valid_min": given}, encoding))
    assert found == ({"valid_min": -3000.0} if isinstance(given, float) else {"valid_max": 750.0})
    assert limits(xr.Variable("x", np.ones(4), found, encoding)) == found


@pytest.mark.parametrize("kind", ["array", "dataset", "upload"])
def test_what_would_be_infinite_in_single_precision_is_refused_as_it_is(
    ask: Ask, service: FakeService, dataset: xr.Dataset, array: NDArray[np.float32], kind: str
) -> None:
    large = array.astype(np.float64)
    large[0, 1, 2, 3] = 2e299
    volume = dataset.astype(np.float64)
    volume["u"][1, 2, 3] = 2e299
    with pytest.raises(InvalidInputError, match=r"^(the volume|u): 2e\+299, which is infinite in float32"):
        ask("upload", volume, "box") if kind == "upload" else ask("upscale", large if kind == "array" else volume)
    assert not [each for each in service.requests if each.method != "GET"]
