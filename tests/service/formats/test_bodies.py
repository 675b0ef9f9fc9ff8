"""Files as researchers have them: read, and answered in the layout that came; each with the bits of the plain file."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from service.formats.names import Naming
from service.formats.zarr_group import DOCUMENTS, MAX_NESTING
from tests.service.formats.bodies import (
    COARSE,
    CONTAINERS,
    GROUPS,
    answered,
    classic,
    raw,
    read,
    refused,
    zarr_2,
    zarr_3,
)
from tests.service.wire import dataset, files_of, joined, netcdf, noise, zipped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zarr.abc.buffer import Buffer


@pytest.mark.parametrize("kind", [np.longdouble, ">f8"])
def test_coordinates_of_unusual_types(kind: Any) -> None:  # noqa: ANN401 of numpy
    volume = dataset(COARSE)
    volume = volume.assign_coords(x=volume.x.astype(kind))
    answer = raw(answered(bytes(volume.to_netcdf(engine="h5netcdf", invalid_netcdf=True))))
    assert answer.x.dtype == np.float64
    np.testing.assert_allclose(answer.x.values.reshape(-1, 4).mean(axis=1), volume.x.values.astype(float))


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


@CONTAINERS
def test_times_of_something_else_stay_all(write: Callable[..., bytes]) -> None:
    forcing = np.arange(5.0)
    after = raw(answered(write(dataset(COARSE, forcing=("time", forcing)))))
    np.testing.assert_array_equal(after["forcing"], forcing)


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


def test_the_option_names_is_told_where_no_names_are_usual() -> None:
    volume = dataset(COARSE).rename(u="a", v="b", w="c")
    assert refused(netcdf(volume)).endswith("The option names renames variables and dims, as names=Ux:u,lev:z does")


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


@CONTAINERS
def test_cf_bounds_are_not_taken_for_fields(write: Callable[..., bytes]) -> None:
    """Those of coarse cells are left out; what an axis calls so, but is none, stays a variable over space."""
    volume = dataset(COARSE, x_bnds=(("x", "nv"), np.zeros((6, 2))), y_edges=(("y", "nv"), np.zeros((5, 2))))
    for axis, name in (("x", "x_bnds"), ("y", "y_edges"), ("z", "missing")):
        volume[axis].attrs["bounds"] = name
    after = raw(answered(write(volume)))
    assert {*after.variables} == {*"uvwzyx"}
    assert not any("bounds" in after[axis].attrs for axis in "zyx")
    volume["x"].attrs["bounds"] = "y_edges"
    assert "x_bnds: a variable over space" in refused(write(volume))


@pytest.mark.parametrize("names", ["u:v", "u:y", "x:y", "x:i,y:i"])
def test_names_that_would_occur_twice(names: str) -> None:
    volume = dataset(COARSE).drop_vars([*"zyx"])
    assert f"names: {names}; expected names that differ" in refused(netcdf(volume), Naming.parse(names, None))


def test_what_is_dropped_is_not_renamed() -> None:
    """The answer would have this name for another variable, which has the new one."""
    volume = dataset(COARSE, old=xr.Variable((), 1.0), new=xr.Variable((), 2.0))
    assert "names: old; expected one of new, " in refused(netcdf(volume), Naming.parse("old:new", "old"))


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


@pytest.mark.parametrize("write", [zarr_2, zarr_3])
def test_attributes_that_are_no_finite_numbers_are_texts(write: Callable[..., bytes]) -> None:
    """As Zarr v3 writes fill values: JSON has no such numbers."""
    strange = {"one": np.nan, "more": [1.0, np.inf, -np.inf]}
    volume = dataset(COARSE).assign_attrs(strange)
    for name in ("u", "x"):
        volume[name].attrs |= strange
    answer = answered(write(volume, consolidated=True))
    with zipfile.ZipFile(io.BytesIO(answer)) as archive:
        for name in archive.namelist():
            if PurePosixPath(name).name in DOCUMENTS:
                json.loads(archive.read(name), parse_constant=pytest.fail)
    for part in (raw(answer), raw(answer).u, raw(answer).x):
        assert {key: part.attrs[key] for key in strange} == {"one": "NaN", "more": [1.0, "Infinity", "-Infinity"]}


@pytest.mark.parametrize("name", ["attributes", "u"])
def test_deeply_nested_attributes(name: str) -> None:
    def written(depth: int) -> bytes:
        files = files_of(dataset(COARSE))
        key = "u/zarr.json" if name == "u" else "zarr.json"
        deep = b'"attributes": {"deep": ' + depth * b"[" + depth * b"]" + b","
        return zipped({**files, key: files[key].replace(b'"attributes": {', deep)})

    read(written(MAX_NESTING))
    for depth in (MAX_NESTING + 1, 600):
        assert f"{name}: nested attributes; expected at most {MAX_NESTING} levels" in refused(written(depth))


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


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("name", ["A", "velocity"])
def test_hdf5_with_one_array(place: int, name: str) -> None:
    """Its components are told by their number, before or after a pressure; that the rest is (z, y, x) must be said."""
    file = io.BytesIO()
    with h5py.File(file, "w") as inside:
        inside[name] = np.moveaxis(noise(3, 4, 4, 4), 0, place)
        inside["p"] = np.zeros((4, 4, 4))
    told = refused(file.getvalue())
    assert "If they have other names and this order here, pass names=" in told
    naming = Naming.parse(told.partition("pass names=")[2].partition(" ")[0], "p")
    np.testing.assert_array_equal(read(file.getvalue(), naming).velocity[0], noise(3, 4, 4, 4))


def test_one_dim_of_another_name_holds_the_components() -> None:
    sent = netcdf(joined(COARSE, ("z", "y", "x", "component")).rename(component="dim_0"))
    assert refused(sent).endswith("If they have other names here, pass names=dim_0:component")


def test_planes_get_no_names_that_cannot_work() -> None:
    plane = joined(COARSE, ("z", "y", "x", "component")).isel(z=0, drop=True).rename(component="dim_0")
    assert "dim_0:component" not in refused(netcdf(plane))


def test_positions_that_do_not_fit_unnamed_dims() -> None:
    """As of arrays over (x, y, z)."""
    file = io.BytesIO()
    with h5py.File(file, "w") as inside:
        for name, part in zip("uvw", noise(3, 6, 5, 4), strict=True):
            inside[name] = part
        for axis, cells in zip("xyz", (6, 5, 4), strict=True):
            inside[axis] = np.arange(cells)
    assert "u(6, 5, 4), v(6, 5, 4), w(6, 5, 4), x(6,), y(5,), z(4,); expected u, v, w over (z, y, x)" in refused(
        file.getvalue()
    )


def test_a_group_in_a_file() -> None:
    file = io.BytesIO(netcdf(dataset(COARSE)))
    with h5py.File(file, "a") as inside:
        inside.move("u", "run/u")
    assert "ncks -G : -g run" in refused(file.getvalue())


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_that_names_no_dims(version: Literal[2, 3]) -> None:
    stored: dict[str, Buffer] = {}
    group = zarr.create_group(MemoryStore(stored), zarr_format=version)
    for name, part in zip("uvw", COARSE, strict=True):
        group.create_array(name, shape=part.shape, dtype=part.dtype)[:] = part
    assert "without names for its dims" in refused(zipped({key: data.to_bytes() for key, data in stored.items()}))
