"""Numbers in files that are no velocity: packed, missing, out of range; and coordinates that are rounded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from service.formats.names import Naming
from service.problems import Problem
from tests.service.formats.bodies import COARSE, CONTAINERS, GROUPS, answered, classic, raw, read, refused, zarr_3
from tests.service.wire import dataset, files_of, netcdf, noise, zipped

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr
    from numpy.typing import NDArray
    from zarr.abc.buffer import Buffer


@pytest.mark.parametrize("fill", [-999.0, -99.99, 1e10, 9.969209968386869e36])
@GROUPS
def test_fill_values_are_no_velocity(write: Callable[..., bytes], fill: float) -> None:
    gappy = COARSE.copy()
    gappy[1, 1, 2, 3] = np.nan
    encoding = {name: {"_FillValue": np.float32(fill)} for name in "uvw"}
    detail = refused(write(dataset(gappy), encoding=encoding))
    assert f"v: {float(np.float32(fill)):g} at (z, y, x) = (1, 2, 3)" in detail
    assert "marks missing data" in detail


@CONTAINERS
def test_missing_values_are_no_velocity(write: Callable[..., bytes]) -> None:
    gappy = COARSE.copy()
    gappy[2, 0, 1, 4] = -77.5
    volume = dataset(gappy)
    for attribute in (np.float32(-77.5), np.array([-1e20, -77.5], np.float32)):
        volume["w"].attrs["missing_value"] = attribute
        assert "w: -77.5 at (z, y, x) = (0, 1, 4)" in refused(write(volume))


@CONTAINERS
def test_numbers_outside_of_the_valid_range_are_no_velocity(write: Callable[..., bytes]) -> None:
    least, greatest = COARSE[1].min(), COARSE[1].max()
    cell = tuple(map(int, np.unravel_index(COARSE[1].argmax(), COARSE[1].shape)))
    volume = dataset(COARSE)
    volume["v"].attrs |= {"valid_range": np.array([least, greatest]), "valid_min": least}
    np.testing.assert_array_equal(read(write(volume)).velocity[0], COARSE)
    assert not {"valid_range", "valid_min"} & set(raw(answered(write(volume)))["v"].attrs)
    for limits in ({"valid_range": np.array([least, greatest - 0.5])}, {"valid_max": greatest - np.float32(0.5)}):
        volume["v"].attrs = {**volume["u"].attrs, **limits}
        assert f"v: {greatest:g} at (z, y, x) = {cell}; expected numbers from " in refused(write(volume))
    volume["v"].attrs["valid_range"] = 1.0
    assert "v: with valid_range [1.0]; expected least and greatest as valid_range" in refused(write(volume))


@CONTAINERS
def test_the_valid_range_of_packed_integers(write: Callable[..., bytes]) -> None:
    """In their own type it is packed as they are, in floats it is not (NetCDF Users' Guide, A.1)."""
    stored = np.arange(-60, 60, dtype="i1").reshape(4, 5, 6)
    packing = {"scale_factor": -0.5, "add_offset": 1.0}
    volume = dataset(np.stack([stored] * 3))
    for name in "uvw":
        volume[name].attrs = {**packing, "valid_range": np.array([-60, 59], "i1")}
    np.testing.assert_array_equal(read(write(volume)).velocity[0, 0], 1 - 0.5 * stored)
    volume["u"].attrs["valid_range"] = np.array([-60, 58], "i1")
    assert "u: 59 at (z, y, x) = (3, 4, 5); expected numbers from -60 to 58" in refused(write(volume))
    volume["u"].attrs["valid_range"] = np.array([-28.5, 30.5])
    assert "u: 31 at (z, y, x) = (0, 0, 0); expected numbers from -28.5 to 30.5" in refused(write(volume))


@pytest.mark.parametrize(("stored", "meant", "said"), [("i1", "u1", "true"), ("u1", "i1", "false")])
@GROUPS
def test_integers_of_the_other_kind(write: Callable[..., bytes], stored: str, meant: str, said: str) -> None:
    """Velocities, what marks missing ones, and coordinates."""
    numbers = np.arange(3 * 4 * 5 * 4).reshape(3, 4, 5, 4).astype("u1")
    x = np.array([126, 127, 128, 129] if meant == "u1" else [254, 255, 0, 1], "u1")
    volume = dataset(numbers.view(stored)).assign_coords(x=x.view(stored))
    for name in "uvw":
        volume[name].attrs |= {"scale_factor": 0.5, "_Unsigned": said}
    volume["x"].attrs = {"_Unsigned": said, "scale_factor": 1.0}
    found = read(write(volume))
    np.testing.assert_array_equal(found.coordinates[2], x.view(meant).astype(float))
    np.testing.assert_array_equal(found.velocity[0], 0.5 * numbers.view(meant).astype("f4"))
    volume["w"].attrs["_FillValue"] = np.array(239, "u1").view(stored)[()]
    assert "w: " in refused(write(volume))


def test_fill_values_of_zarr_itself() -> None:
    """Those of v3 attributes in plain numbers too, and those of cells that nobody wrote."""
    files = files_of(dataset(COARSE))
    document = json.loads(files["v/zarr.json"])
    document["attributes"]["_FillValue"] = float(COARSE[1, 0, 0, 0])
    assert "v: " in refused(zipped({**files, "v/zarr.json": json.dumps(document).encode()}))
    document["attributes"].pop("_FillValue")
    document["fill_value"] = -5.0
    assert "-5 marks missing data" in refused(
        zipped({**{key: data for key, data in files.items() if not key.startswith("v/c")},
                "v/zarr.json": json.dumps(document).encode()})
    )  # fmt: skip


def test_zeros_of_zarr_2_are_numbers() -> None:
    coarse = COARSE.copy()
    coarse[:, :, 0] = 0
    stored: dict[str, Buffer] = {}
    group = zarr.create_group(MemoryStore(stored), zarr_format=2)
    axes = {axis: np.arange(n, dtype=float) for axis, n in zip("zyx", coarse.shape[1:], strict=True)}
    arrays = [*zip("uvw", coarse, [["z", "y", "x"]] * 3, strict=True), *((axis, axes[axis], [axis]) for axis in axes)]
    for name, values, dims in arrays:
        array = group.create_array(name, shape=values.shape, dtype=values.dtype, attributes={"_ARRAY_DIMENSIONS": dims})
        array[:] = values
    content = zipped({key: data.to_bytes() for key, data in stored.items()})
    np.testing.assert_array_equal(read(content).velocity[0], coarse)
    assert raw(answered(content))["x"].values[0] == -0.375


@CONTAINERS
def test_packed_integers(write: Callable[..., bytes]) -> None:
    packing = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 1.0, "_FillValue": -32768}
    content = write(dataset(COARSE), encoding=dict.fromkeys("uvw", packing))
    np.testing.assert_allclose(read(content).velocity[0], COARSE, atol=0.0051)
    after = raw(answered(content))
    assert after["u"].dtype == np.float32
    assert not {"scale_factor", "add_offset", "_FillValue"} & set(after["u"].attrs)
    gappy = COARSE.copy()
    gappy[0, 0, 0, 1] = np.nan
    assert "u: -32768 at (z, y, x) = (0, 0, 1)" in refused(
        write(dataset(gappy), encoding=dict.fromkeys("uvw", packing))
    )


@pytest.mark.parametrize(("dtype", "never_written"), [("int16", -32767), ("int32", -2147483647)])
def test_cells_of_classic_files_that_were_never_written(dtype: str, never_written: int) -> None:
    volume = dataset(np.round(100 * COARSE).astype(dtype))
    for name in "uvw":
        volume[name].attrs["scale_factor"] = 0.01
    volume["v"][1, 2, 3] = never_written
    assert f"v: {never_written:g} at (z, y, x) = (1, 2, 3)" in refused(classic(volume))
    volume["v"].attrs["_FillValue"] = np.array(never_written - 1, dtype)[()]
    assert read(classic(volume)).velocity[0, 1, 1, 2, 3] == np.float32(0.01 * never_written)


def test_integers_that_are_not_packed() -> None:
    assert "u: int16" in refused(zarr_3(dataset(np.zeros((3, 4, 4, 4), "i2"))))


def test_numbers_in_nested_attributes() -> None:
    volume = dataset(COARSE)
    volume["v"].attrs |= {"scale_factor": [[2.0]], "missing_value": [[-5.0]]}
    np.testing.assert_array_equal(read(zarr_3(volume)).velocity[0, 1], 2 * COARSE[1])


@GROUPS
def test_packed_and_descending_coordinates(write: Callable[..., bytes]) -> None:
    volume = dataset(COARSE)
    down = volume.isel(y=slice(None, None, -1))
    packing = {"y": {"dtype": "int16", "scale_factor": 0.25, "add_offset": 2.0}}
    sent = write(down.transpose("y", ...), encoding=packing)
    np.testing.assert_array_equal(read(sent).velocity[0], COARSE)
    np.testing.assert_array_equal(read(sent).coordinates[1], volume["y"])
    after = raw(answered(sent))
    np.testing.assert_array_equal(after["v"][::4, ::4, ::4], down["v"].transpose("y", ...))
    assert after["y"].values[0] > after["y"].values[-1]
    np.testing.assert_allclose(after["y"].values.reshape(-1, 4).mean(1), down["y"])


def test_times_of_models_that_take_several() -> None:
    series = dataset(noise(4, 3, 4, 4, 4))

    def warnings(times: list[float]) -> list[str]:
        return read(netcdf(series.assign_coords(time=times))).check_times(3)

    (ends,) = warnings([0, 1, 2, 3])
    assert ends.endswith("of 4 have no answer")
    assert warnings([0, 1, 2, 4])[0].startswith("the times are spaced by 1 to 2")
    for times in ([3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 1.0, 2.0]):
        with pytest.raises(Problem, match=r"time: steps from .*; expected times that grow"):
            warnings(times)
    assert read(netcdf(series.isel(time=slice(None, None, -1)))).check_times(1) == []


def uneven(values: NDArray[Any]) -> xr.Dataset:
    return dataset(COARSE).assign_coords(x=("x", values))


@pytest.mark.parametrize("offset", [1000, 8000, 30000])
@GROUPS
def test_coordinates_in_float32_far_from_zero(write: Callable[..., bytes], offset: int) -> None:
    """The product's own answers are read again, and again."""
    step = 2 * np.pi / 32768
    coarse = write(uneven(((offset + np.arange(6)) * step).astype("f4")))
    fine = answered(coarse)
    for content, spacing in ((coarse, step), (fine, step / 4), (answered(fine), step / 16)):
        x = read(content).coordinates[2]
        assert x is not None
        np.testing.assert_allclose(np.diff(x.astype("f8")).mean(), spacing, rtol=3e-3)


def test_rounding_is_no_excuse_for_stretching() -> None:
    x = 1000 + 0.01 * np.arange(6) ** 1.05
    assert "x: spaced by" in refused(netcdf(uneven(x.astype("f4"))))
    assert "drop=x" in refused(netcdf(uneven(np.round(np.arange(6) / 81, 3))))
    assert "x: spaced by 0" in refused(netcdf(uneven((1e6 + 0.05 * np.arange(6)).astype("f4"))))
    assert read(netcdf(uneven(np.round(np.arange(6) / 81, 3))), Naming(drop=("x",))).coordinates[2] is None
