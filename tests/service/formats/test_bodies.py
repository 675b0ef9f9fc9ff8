"""Files as researchers have them: read, and answered in the layout that came; each with the bits of the plain file."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, Literal

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from service.formats.containers import Body
from service.formats.names import UNCHANGED, Naming
from service.formats.sandbox import read_body
from service.formats.volume import ReadOptions
from service.problems import Problem
from service.settings import Settings
from tests.service.wire import dataset, files_of, joined, netcdf, noise, zipped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from service.formats.volume import Volume

COARSE = noise(3, 4, 5, 6)
SETTINGS = Settings()


def read(content: bytes, naming: Naming = UNCHANGED) -> Volume:
    return read_body(Body(content, ""), SETTINGS, ReadOptions(naming=naming)).volume


def refused(content: bytes, naming: Naming = UNCHANGED) -> str:
    with pytest.raises(Problem) as caught:
        read(content, naming)
    assert caught.value.kind == "unfit"
    return caught.value.detail


def answered(content: bytes, naming: Naming = UNCHANGED) -> bytes:
    """The body of an answer that repeats each cell."""
    reading = read_body(Body(content, ""), SETTINGS, ReadOptions(naming=naming))
    fine = reading.volume.velocity.repeat(4, -1).repeat(4, -2).repeat(4, -3)
    return b"".join(map(bytes, reading.opened.write(reading.volume.layout.answer(fine, {"model": "none"}))))


def raw(content: bytes) -> xr.Dataset:
    """A body as it is stored: nothing decoded."""
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            make = zarr.core.buffer.default_buffer_prototype().buffer.from_bytes
            store = MemoryStore({name: make(archive.read(name)) for name in archive.namelist()})
        group: xr.Dataset = xr.open_zarr(store, consolidated=False, chunks=None, decode_cf=False)
        return group.load()
    engine = "scipy" if content.startswith(b"CDF") else "h5netcdf"
    return xr.load_dataset(io.BytesIO(content), engine=engine, decode_cf=False)


def classic(volume: xr.Dataset, **options: Any) -> bytes:  # noqa: ANN401 passed on
    return bytes(volume.to_netcdf(engine="scipy", **options))


def zarr_2(volume: xr.Dataset, **options: Any) -> bytes:  # noqa: ANN401 passed on
    return zipped(files_of(volume, version=2, **options))


def zarr_3(volume: xr.Dataset, **options: Any) -> bytes:  # noqa: ANN401 passed on
    return zipped(files_of(volume, **options))


CONTAINERS = pytest.mark.parametrize("write", [netcdf, classic, zarr_2, zarr_3])
GROUPS = pytest.mark.parametrize("write", [netcdf, zarr_2, zarr_3])


@CONTAINERS
def test_what_is_not_velocity_comes_back_as_it_was(write: Callable[..., bytes]) -> None:
    beside = {
        "t_wall": ("time", 1.7e9 + np.array([0.25, 0.5]), {"units": "s"}),
        "step": ("time", np.array([16777217.0, 16777219.0])),
        "calendar_day": ("time", np.array([1, 2], "i4"), {"units": "days since 0000-01-01", "calendar": "noleap"}),
        "dt": ((), 1.23456789012e-5, {"units": "seconds"}),
        "quality": ("time", np.array([0.0, np.nan], "f4"), {"_FillValue": np.float32(np.nan)}),
        "counts": ("time", np.array([7, -1], "i2"), {"_FillValue": np.int16(-1), "scale_factor": 0.5}),
    }
    time = ("time", np.array([0.0025, 0.0052]), {"units": "days since beginning of run"})
    volume = dataset(noise(2, 3, 4, 5, 6)).assign_coords(time=time).assign(beside)
    sent = write(volume)
    before, after = raw(sent), raw(answered(sent))
    for name in (*beside, "time"):
        xr.testing.assert_identical(after[name].reset_coords(drop=True), before[name].reset_coords(drop=True))
        assert after[name].dtype == before[name].dtype


@GROUPS
def test_labels_come_back_as_they_were(write: Callable[..., bytes]) -> None:
    for labels in (np.array(["w", "v", "u"]), np.array(["ux", "uy", "uz"], object), np.array([1, 2, 3])):
        volume = joined(COARSE, ("z", "y", "x", "component"), coords={"component": labels})
        after = raw(answered(write(volume)))
        assert after["component"].values.tolist() == labels.tolist()
        # Values keep their labels.
        np.testing.assert_array_equal(after["velocity"][::4, ::4, ::4], volume["velocity"])


def test_components_are_told_by_their_labels() -> None:
    for labels in (["w", "v", "u"], ["z", "y", "x"], [b"uz", b"uy", b"ux"], [3, 2, 1], [2, 1, 0], [2.0, 1.0, 0.0]):
        found = read(netcdf(joined(COARSE[::-1], coords={"component": np.array(labels)})))
        np.testing.assert_array_equal(found.velocity[0], COARSE)
    assert "component: up, east, north" in refused(
        netcdf(joined(COARSE, coords={"component": ["up", "east", "north"]}))
    )


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
    store = MemoryStore()
    group = zarr.create_group(store, zarr_format=2)
    axes = {axis: np.arange(n, dtype=float) for axis, n in zip("zyx", coarse.shape[1:], strict=True)}
    arrays = [*zip("uvw", coarse, [["z", "y", "x"]] * 3, strict=True), *((axis, axes[axis], [axis]) for axis in axes)]
    for name, values, dims in arrays:
        array = group.create_array(name, shape=values.shape, dtype=values.dtype, attributes={"_ARRAY_DIMENSIONS": dims})
        array[:] = values
    content = zipped({key: data.to_bytes() for key, data in store._store_dict.items()})
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


def test_integers_that_are_not_packed() -> None:
    assert "u: int16" in refused(zarr_3(dataset(np.zeros((3, 4, 4, 4), "i2"))))


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


@pytest.mark.parametrize(
    ("components", "dims"),
    [
        (("Ux", "Uy", "Uz"), "zyx"),
        (("U", "V", "W"), "ZYX"),
        (("velocity_x", "velocity_y", "velocity_z"), ("lev", "lat", "lon")),
        (("uo", "vo", "wo"), ("depth", "latitude", "longitude")),
    ],
)
@GROUPS
def test_usual_names_are_offered_and_come_back(
    write: Callable[..., bytes], components: tuple[str, ...], dims: tuple[str, ...]
) -> None:
    theirs = dict(zip("zyx", dims, strict=True)) | dict(zip("uvw", components, strict=True))
    volume = dataset(COARSE).rename({ours: name for ours, name in theirs.items() if ours != name})
    sent = write(volume)
    option = refused(sent).partition("names=")[2].partition(" ")[0]
    naming = Naming.parse(option, None)
    np.testing.assert_array_equal(read(sent, naming).velocity[0], COARSE)
    after = raw(answered(sent, naming))
    assert set(after.variables) == set(volume.variables)
    assert after[components[0]].dims == tuple(dims)


def test_other_variables_over_components_can_be_dropped() -> None:
    volume = joined(COARSE).assign(bulk=("component", [1.0, 0.0, 0.0]))
    assert "bulk: a variable over space; expected velocity alone; drop=bulk" in refused(netcdf(volume))
    np.testing.assert_array_equal(read(netcdf(volume), Naming(drop=("bulk",))).velocity[0], COARSE)


def test_a_time_of_another_name() -> None:
    volume = dataset(noise(1, 3, 4, 5, 6)).rename(time="t")
    assert "names=t:time" in refused(netcdf(volume))
    assert read(netcdf(volume), Naming((("t", "time"),))).has_times


@GROUPS
def test_variables_can_be_dropped(write: Callable[..., bytes]) -> None:
    volume = dataset(COARSE, p=dataset(COARSE).u, x_bounds=(("x", "side"), np.zeros((6, 2))), note=((), 1.0))
    option = refused(write(volume)).partition("drop=")[2].partition(" ")[0]
    assert sorted(option.split(",")) == ["p", "x_bounds"]
    after = raw(answered(write(volume), Naming.parse(None, option)))
    assert set(after.data_vars) == {"u", "v", "w", "note"}
    assert "drop: q" in refused(write(volume), Naming(drop=("q",)))


def test_units_may_be_spelled_in_two_ways() -> None:
    volume = dataset(COARSE)
    volume["v"].attrs["units"] = "m/s"
    read(netcdf(volume))
    volume["v"].attrs["units"] = "cm/s"
    assert "v: in cm/s" in refused(netcdf(volume))


def test_unlimited_dims_stay() -> None:
    sent = netcdf(dataset(noise(1, 3, 4, 5, 6)), unlimited_dims=["time"])
    assert raw(answered(sent)).encoding["unlimited_dims"] == {"time"}
    with h5py.File(io.BytesIO(answered(sent))) as file:
        assert file["u"].maxshape[0] is None


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT"])
def test_classic_netcdf_stays_classic(kind: str) -> None:
    sent = classic(dataset(COARSE), format=kind)
    np.testing.assert_array_equal(read(sent).velocity[0], COARSE)
    after = answered(sent)
    assert after[:4] == sent[:4]
    np.testing.assert_array_equal(raw(after)["w"][::4, ::4, ::4], COARSE[2])


ATTRIBUTES: dict[str, Any] = {
    "params": {"Re": 5000}, "dealiased": True, "doi": None, "tags": [], "mixed": ["a", 1],
    "many": [f"p{i}" for i in range(20)], "title": "Kármán",
}  # fmt: skip


@pytest.mark.parametrize("write", [zarr_2, zarr_3])
def test_attributes_of_zarr_stay(write: Callable[..., bytes]) -> None:
    volume = dataset(COARSE).assign_attrs(ATTRIBUTES)
    volume["u"].attrs["valid"] = True
    after = raw(answered(write(volume)))
    assert {name: after.attrs[name] for name in ATTRIBUTES} == ATTRIBUTES
    assert after["u"].attrs["valid"] is True


def test_attributes_of_hdf5_stay() -> None:
    file = io.BytesIO(netcdf(dataset(COARSE)))
    with h5py.File(file, "a") as inside:
        inside.attrs["parameters"] = [f"p{i}" for i in range(20)]
        inside.attrs["flag"] = True
    after = raw(answered(file.getvalue())).attrs
    assert after["parameters"] == [f"p{i}" for i in range(20)]
    assert after["flag"]


@pytest.mark.parametrize("version", [2, 3])
def test_archives_of_zarrs_own_store(version: int, tmp_path: Path) -> None:
    with warnings.catch_warnings(), zarr.storage.ZipStore(tmp_path / "a.zip", mode="w") as store:
        warnings.simplefilter("ignore")  # it writes metadata twice, and says so
        dataset(COARSE).to_zarr(store, zarr_format=version)
    sent = (tmp_path / "a.zip").read_bytes()
    np.testing.assert_array_equal(read(sent).velocity[0], COARSE)
    names = zipfile.ZipFile(io.BytesIO(answered(sent))).namelist()
    assert (".zgroup" if version == 2 else "zarr.json") in names


def test_what_desktops_leave_in_archives() -> None:
    clutter = [".DS_Store", "u/c/0/0/._0", "u/.nfs000001", "__MACOSX/._u", ".ipynb_checkpoints/x.ipynb"]
    files = files_of(dataset(COARSE))
    np.testing.assert_array_equal(read(zipped({**files, **dict.fromkeys(clutter, b"\0")})).velocity[0], COARSE)


@pytest.mark.parametrize(("axis", "cells"), [("z", 0), ("z", 1), ("x", 1), ("y", 3)])
@GROUPS
def test_thin_volumes(write: Callable[..., bytes], axis: str, cells: int) -> None:
    assert f"at least 4 cells along {axis}" in refused(write(dataset(COARSE).isel({axis: slice(cells)})))


def cutout(*steps: int, cells: tuple[int, int, int] = (4, 5, 6), giverny: bool = False) -> bytes:
    """What the cutout service of JHTDB sends, or giverny writes."""
    values = np.moveaxis(noise(3, *cells), 0, -1)
    axes = {f"{axis}coor": (0.5 + np.arange(n)).astype("f4") for axis, n in zip("zyx", cells, strict=True)}
    if giverny:
        dims = (*axes, "values")
        fields = {f"velocity_{step:04d}": (dims, values) for step in steps}
        return netcdf(xr.Dataset(fields, {**axes, "values": ["ux", "uy", "uz"]}, {"t_start": 1}))
    file = io.BytesIO()
    with h5py.File(file, "w") as inside:
        for step in steps:
            inside[f"Velocity_{step:04d}"] = values
        inside["_contents"] = np.array([1], "i4")
        for name, coordinate in axes.items():
            inside[name] = coordinate
    return file.getvalue()


@pytest.mark.parametrize("giverny", [False, True])
@pytest.mark.parametrize("cells", [(4, 5, 6), (4, 4, 4)])
def test_cutouts_of_jhtdb(cells: tuple[int, int, int], *, giverny: bool) -> None:
    """Cubic ones too: HDF5 then cannot tell one unnamed dim from another."""
    sent = cutout(1, cells=cells, giverny=giverny)
    np.testing.assert_array_equal(read(sent).velocity[0], noise(3, *cells))
    np.testing.assert_array_equal(read(sent).coordinates[2], 0.5 + np.arange(cells[2]))
    after = raw(answered(sent))
    name = "velocity_0001" if giverny else "Velocity_0001"
    assert after[name].dims == ("zcoor", "ycoor", "xcoor", "values")
    assert after["xcoor"].dtype == np.float32
    assert after["xcoor"].values[0] == 0.125
    assert giverny or after["_contents"].values.tolist() == [1]


def test_cutouts_of_several_steps() -> None:
    option = refused(cutout(1, 2, 10)).partition("drop=")[2].partition(" ")[0]
    assert option == "Velocity_0002,Velocity_0010"
    np.testing.assert_array_equal(read(cutout(1, 2, 10), Naming.parse(None, option)).velocity[0], noise(3, 4, 5, 6))


def test_hdf5_that_names_no_dims() -> None:
    file = io.BytesIO()
    with h5py.File(file, "w") as inside:
        for name, part in zip("uvw", noise(3, 4, 4, 4), strict=True):
            inside[name] = part
    np.testing.assert_array_equal(read(file.getvalue()).velocity[0], noise(3, 4, 4, 4))


def test_a_group_in_a_file() -> None:
    file = io.BytesIO(netcdf(dataset(COARSE)))
    with h5py.File(file, "a") as inside:
        inside.move("u", "run/u")
    assert "ncks -G : -g run" in refused(file.getvalue())


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


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_that_names_no_dims(version: Literal[2, 3]) -> None:
    store = MemoryStore()
    group = zarr.create_group(store, zarr_format=version)
    for name, part in zip("uvw", COARSE, strict=True):
        group.create_array(name, shape=part.shape, dtype=part.dtype)[:] = part
    assert "without names for its dims" in refused(
        zipped({key: data.to_bytes() for key, data in store._store_dict.items()})
    )
