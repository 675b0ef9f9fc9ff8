from __future__ import annotations

import importlib.util
import zipfile
from typing import TYPE_CHECKING, Any, Literal

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from eddylift import InvalidInputError, open_volume
from eddylift._files import read
from eddylift._preparation import Preparation
from eddylift._transfer import group
from eddylift._velocity import find
from eddylift._writing import check_target, write

if TYPE_CHECKING:
    from pathlib import Path

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
    found = read(path)
    assert isinstance(found, xr.Dataset)
    assert (found["time"].dtype, found["time"].attrs["units"][:5]) == (np.dtype("i8"), "days ")
    xr.testing.assert_identical(xr.decode_cf(found), dataset)
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
        file["Re"] = 5000.0
    found = read(tmp_path / "a.h5")
    assert isinstance(found, xr.Dataset)
    for name, values in zip("uvw", cube, strict=True):
        assert found[name].dims == ("z", "y", "x")
        np.testing.assert_array_equal(found[name], values)
    assert found["u"].attrs["units"] == "m/s"
    assert found["x"].dims == ("x",)
    assert float(found["Re"]) == 5000


@pytest.mark.parametrize("group", ["", "run/fields/"])
def test_plain_hdf5_with_other_names_and_variables(tmp_path: Path, group: str) -> None:
    cube = np.random.default_rng(1).standard_normal((4, 8, 8, 8), np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in zip(("ux", "uy", "uz", "p"), cube, strict=True):
            file[f"{group}{name}"] = values
        for name in ("x", "y", "profile"):
            file[f"{group}{name}"] = np.arange(8.0)
    with pytest.raises(InvalidInputError, match=r"--names ux:u,uy:v,uz:w\)$"):
        open_volume(tmp_path / "a.h5")
    names = {"ux": "u", "uy": "v", "uz": "w"}
    with pytest.raises(InvalidInputError, match=r"--drop p\); if profile are positions along z, pass names="):
        open_volume(tmp_path / "a.h5", names=names)
    found = open_volume(tmp_path / "a.h5", names=names, drop=["p", "profile"])
    assert (found["w"].dims, sorted(map(str, found.coords))) == (("z", "y", "x"), ["x", "y"])
    np.testing.assert_array_equal(found[list("uvw")].to_dataarray(), cube[:3])


@pytest.mark.parametrize("place", [0, -1])
def test_plain_hdf5_with_one_array(tmp_path: Path, place: int) -> None:
    values = np.random.default_rng(1).standard_normal((3, 4, 4, 4), np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["velocity"], file["p"] = np.moveaxis(values, 0, place), values[0]
    with pytest.raises(InvalidInputError, match="if its dims are in this order") as refused:
        open_volume(tmp_path / "a.h5", drop=["p"])
    offered = str(refused.value).rpartition("--names ")[2].removesuffix(")")
    np.testing.assert_array_equal(open_volume(tmp_path / "a.h5", names=offered, drop=["p"])["v"], values[1])


@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_vectors_of_matlab_have_two_dims(tmp_path: Path, shape: tuple[int, int]) -> None:
    with h5py.File(tmp_path / "a.mat", "w") as file:
        for name in "uvw":
            file[name] = np.zeros((4, 5, 6))
        file["y"], file["time"] = np.arange(5.0).reshape(shape), [[0.5]]
    found = open_volume(tmp_path / "a.mat")
    assert (found["u"].dims, found["y"].dims, found["y"].values.tolist()) == (("z", "y", "x"), ("y",), [*range(5)])


def test_grids_of_matlab_are_left_out(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.mat", "w") as file:
        for name in "uvwxyz":
            file[name] = np.zeros((4, 5, 6))
    with pytest.raises(InvalidInputError, match="z, y, x: not positions along one axis; leave out by drop=") as refused:
        open_volume(tmp_path / "a.mat")
    offered = str(refused.value).rpartition("--drop ")[2].removesuffix(")")
    assert open_volume(tmp_path / "a.mat", drop=offered)["u"].dims == ("z", "y", "x")


def test_plain_hdf5_of_another_order(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in "uvw":
            file[name] = np.zeros((6, 5, 4))
        for name, cells in zip("xyz", (6, 5, 4), strict=True):
            file[name] = np.arange(cells)
    told = r"u, v, w: \(6, 5, 4\), with 4 positions along z, 5 positions along y, 6 positions along x; expected"
    with pytest.raises(InvalidInputError, match=rf"^{told} \(z, y, x\) or"):
        open_volume(tmp_path / "a.h5")


def write_labelled(path: Path, labels: str, cells: dict[str, int], **others: NDArray[Any]) -> NDArray[np.float32]:
    """Write u, v, w over axes that HDF5 itself labels, and return them over (3, z, y, x)."""
    values = np.random.default_rng(1).standard_normal((3, *(cells[axis] for axis in "zyx")), np.float32)
    with h5py.File(path, "w") as file:
        for name, part in zip("uvw", values, strict=True):
            file[name] = part.transpose(["zyx".index(axis.lower()) for axis in labels])
            for place, axis in enumerate(labels):
                file[name].dims[place].label = axis
        file.update(others)
    return values


@pytest.mark.parametrize("labels", ["xyz", "yxz", "XYZ"])
@pytest.mark.parametrize("cells", [{"z": 4, "y": 5, "x": 6}, {"z": 4, "y": 4, "x": 4}])
def test_axes_that_hdf5_labels(tmp_path: Path, labels: str, cells: dict[str, int]) -> None:
    positions = {axis: 0.5 * np.arange(n) for axis, n in cells.items()}
    values = write_labelled(tmp_path / "a.h5", labels, cells, **(positions if labels.islower() else {}))
    found = open_volume(tmp_path / "a.h5", names=None if labels.islower() else {"X": "x", "Y": "y", "Z": "z"})
    np.testing.assert_array_equal(found[list("uvw")].to_dataarray().transpose(..., "z", "y", "x"), values)
    assert found["u"].attrs == {}
    assert {axis: at.size for axis, at in found.coords.items()} == (cells if labels.islower() else {})


def test_what_else_is_in_hdf5_with_labels(tmp_path: Path) -> None:
    cells = {"z": 4, "y": 5, "x": 6}
    write_labelled(
        tmp_path / "a.h5", "xyz", cells, p=np.zeros((6, 5, 4)), yp=np.arange(5.0), Re=np.ones((), np.float32)
    )
    with pytest.raises(InvalidInputError, match=r"drop=\['p'\] .*; if yp are positions along y, pass names="):
        open_volume(tmp_path / "a.h5")
    assert {*open_volume(tmp_path / "a.h5", drop="p,yp").variables} == {*"uvw", "Re"}
    write_labelled(tmp_path / "grid.h5", "xyz", cells, x=np.zeros((6, 5, 4)))
    with pytest.raises(InvalidInputError, match=r"^x: float64 over \(x, y, z\); .* drop='x' leaves it out"):
        open_volume(tmp_path / "grid.h5")
    write_labelled(tmp_path / "short.h5", "xyz", cells, x=np.zeros(5))
    with pytest.raises(
        InvalidInputError, match=r"^u\(6, 5, 4\) over \(x, y, z\), .*, with 5 positions along x; expected"
    ):
        open_volume(tmp_path / "short.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["u"].dims[2].label = "x"
    with pytest.raises(InvalidInputError, match=r"^u: its axes are labelled x, y, x; expected labels that differ"):
        open_volume(tmp_path / "a.h5")


def test_labels_of_what_xarray_opened(tmp_path: Path) -> None:
    values = write_labelled(tmp_path / "a.h5", "xyz", {"z": 4, "y": 5, "x": 6}, Re=np.ones((), np.float32))
    opened = xr.open_dataset(tmp_path / "a.h5", engine="h5netcdf", phony_dims="sort")
    (prepared,) = Preparation(drop="Re").apply(opened)
    np.testing.assert_array_equal(prepared["u"].transpose("z", "y", "x"), values[0])


def test_a_folder_of_files_that_count_from_dates_of_their_own(tmp_path: Path, dataset: xr.Dataset) -> None:
    paths = [tmp_path / "run" / f"{hour}.h5" for hour in range(2)]
    paths[0].parent.mkdir()
    for hour, path in enumerate(paths):
        units = {"units": f"seconds since 2020-01-01 0{hour}:00"}
        write(path, dataset.expand_dims("time").assign_coords(time=("time", [0.0], units)))
    with pytest.raises(InvalidInputError, match=r"run is a folder, .* joins several$") as refused:
        open_volume(paths[0].parent)
    offered = str(refused.value).partition("one file; ")[2].removesuffix(" joins several")
    joined = eval(offered, {"xarray": xr, "open_volume": open_volume, "paths": paths})  # noqa: S307 our own words
    np.testing.assert_array_equal(joined["time"].diff("time"), [np.timedelta64(1, "h")])
    assert find(joined).component(joined, 0).shape == (2, *dataset["u"].shape)


@pytest.mark.parametrize("suffix", [".npy", *GRIDDED])
def test_missing(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InvalidInputError, match=r"does not exist$"):
        read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "s3://bucket/x.zarr",
            r"s3:/bucket/x\.zarr does not exist\. An address is not read: open it by xarray\.open_zarr",
        ),
        ("run/*.nc", r"run/\*\.nc does not exist\. Pass the path of one file; xarray\.concat.* joins several$"),
    ],
)
def test_addresses_and_patterns_are_no_paths(path: str, told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        open_volume(path)


def test_what_is_dropped_is_not_read(tmp_path: Path, dataset: xr.Dataset) -> None:
    dataset.assign(p=dataset["u"]).to_zarr(tmp_path / "a.zarr", consolidated=False)
    (tmp_path / "a.zarr/p/c/0/0/0").write_bytes(b"no chunk")
    (left,) = Preparation(drop=["p"]).apply(tmp_path / "a.zarr")
    xr.testing.assert_identical(left, dataset)
    with pytest.raises(InvalidInputError, match=r"a\.zarr cannot be read"):
        Preparation(drop=["u"]).apply(tmp_path / "a.zarr")


@pytest.mark.parametrize("suffix", [".npy", *GRIDDED])
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"CDF\x01", b"PK\x05\x06" + bytes(18), bytes(100)])
def test_not_what_the_name_says(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=str(path)):
        read(path)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_what_was_written_after_metadata_were_consolidated(
    tmp_path: Path, dataset: xr.Dataset, zarr_format: Literal[2, 3]
) -> None:
    path, series = tmp_path / "a.zarr", dataset.expand_dims(time=[0.0])
    series.to_zarr(path, zarr_format=zarr_format, consolidated=True)
    series.assign_coords(time=[1.0]).to_zarr(path, zarr_format=zarr_format, append_dim="time", consolidated=False)
    zarr.open_group(path, use_consolidated=False)["u"].attrs["units"] = "cm/s"
    found = open_volume(path)
    assert (found.sizes["time"], found["u"].attrs["units"]) == (2, "cm/s")


def test_archives_of_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", u=np.zeros(3))
    with pytest.raises(InvalidInputError, match=r"a\.npz holds arrays of NumPy; save one array"):
        read(tmp_path / "a.npz")


def test_folder_that_is_no_zarr(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(InvalidInputError, match=r"cannot be read"):
        read(tmp_path / "a.zarr")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(InvalidInputError, match=r"cannot be read"):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.nc: of an unknown format"),
        (b"some text", "a.nc: of an unknown format"),
        (
            b"# vtk DataFile Version 3.0",
            r"a.nc: VTK; by pyvista, save an array \(3, z, y, x\) as .npy, such as cell_data",
        ),
        (b"\x0e\x03\x13\x01", "a.nc: HDF4; convert it by h4toh5"),
        (b"CDF\x05", "in its classic format: pip install netCDF4, or convert it by nccopy -k nc4 a.nc a-4.nc"),
    ],
)
def test_kinds_that_are_not_read(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(InvalidInputError, match=message):
        read(tmp_path / "a.nc")


@pytest.mark.parametrize("name", ["a.txt", "a", "a.npz", "a.vti"])
def test_kinds_that_are_not_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.nc").touch()
    with pytest.raises(InvalidInputError, match=r"expected a name that ends in \.nc, "):
        check_target(tmp_path / name, tmp_path / "a.nc", overwrite=True)


@pytest.mark.parametrize("name", ["a.nc4", "a.NC", "a.hdf", "a", "a.netcdf"])
def test_kinds_are_told_by_content(tmp_path: Path, dataset: xr.Dataset, name: str) -> None:
    dataset.to_netcdf(tmp_path / name, engine="h5netcdf")
    xr.testing.assert_identical(read(tmp_path / name), dataset)
    dataset.to_zarr(tmp_path / "folder", consolidated=False)
    xr.testing.assert_identical(read(tmp_path / "folder"), dataset)


def test_classic_netcdf(tmp_path: Path, dataset: xr.Dataset) -> None:
    dataset.to_netcdf(tmp_path / "a.nc", format="NETCDF3_64BIT", engine="scipy")
    xr.testing.assert_identical(read(tmp_path / "a.nc"), dataset)


def test_classic_netcdf_without_scipy(tmp_path: Path, dataset: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.to_netcdf(tmp_path / "a.nc", format="NETCDF3_CLASSIC", engine="scipy")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InvalidInputError, match=r"pip install scipy, or convert it by nccopy -k nc4 a\.nc a-4\.nc$"):
        read(tmp_path / "a.nc")


def test_a_group_of_a_file(tmp_path: Path, dataset: xr.Dataset) -> None:
    path = tmp_path / "a.nc"
    dataset.drop_vars(list("uvw")).to_netcdf(path, engine="h5netcdf")
    fields = dataset.drop_vars(["x", "y"]).drop_attrs(deep=False)
    fields.to_netcdf(path, group="run/fields", mode="a", engine="h5netcdf")
    xr.testing.assert_identical(read(path), dataset)
    fields.to_netcdf(path, group="other", mode="a", engine="h5netcdf")
    with pytest.raises(InvalidInputError, match=r"holds /other, /run/fields; expected one group"):
        read(path)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_packed_velocity_and_its_fill_values(tmp_path: Path, dataset: xr.Dataset, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    gap = dataset.copy(deep=True)
    gap["v"][0, 1, 2] = np.nan
    gap = gap.assign(station=("probe", [1.5, np.nan]))
    packed: dict[str, Any] = {"dtype": "int16", "scale_factor": 2e-4, "_FillValue": -32768}
    encoding: dict[Any, dict[str, Any]] = {**dict.fromkeys("uvw", packed), "station": {"_FillValue": -999.0}}
    if suffix == ".nc":
        gap.to_netcdf(path, engine="h5netcdf", encoding=encoding)
    else:
        gap.to_zarr(path, zarr_format=2, encoding=encoding)
    found = read(path)
    assert isinstance(found, xr.Dataset)
    for name in "uvw":
        np.testing.assert_allclose(found[name], gap[name], atol=1.01e-4)
    # What is no velocity is left as it is stored.
    assert found["station"].values.tolist() == [1.5, -999.0]
    assert found["station"].attrs == {"_FillValue": -999.0}


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_packed_velocity_without_fill_values(tmp_path: Path, dataset: xr.Dataset, suffix: str) -> None:
    """And packed positions; limits of valid numbers are unpacked with them, and turn with a negative factor."""
    path = tmp_path / f"a{suffix}"
    limits = {"valid_range": np.array([-300, 100], "i2"), "valid_min": np.int16(-200)}
    packed = xr.Variable(("z", "y", "x"), np.arange(24, dtype="i2").reshape(2, 3, 4), {"scale_factor": -0.25, **limits})
    axis = xr.Variable("x", np.arange(4, dtype="i2"), {"scale_factor": 0.5, "add_offset": 3.0})
    volume = dataset.assign(u=packed).assign_coords(x=axis)
    if suffix == ".nc":
        volume.to_netcdf(path, engine="h5netcdf")
    else:
        volume.to_zarr(path, consolidated=False)
    found = read(path)
    assert isinstance(found, xr.Dataset)
    np.testing.assert_array_equal(found["u"], -0.25 * packed)
    assert found["u"].attrs == {"valid_range": [-25.0, 75.0], "valid_max": 50.0}
    assert found["x"].values.tolist() == [3.0, 3.5, 4.0, 4.5]


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
@pytest.mark.parametrize(("dtype", "never_written"), [("int16", -32767), ("int32", -2147483647)])
def test_packed_velocity_that_was_never_written(
    tmp_path: Path, dataset: xr.Dataset, engine: Literal["h5netcdf", "scipy"], dtype: str, never_written: int
) -> None:
    packed = xr.Variable(("z", "y", "x"), np.arange(24, dtype=dtype).reshape(2, 3, 4), {"scale_factor": 0.25})
    packed[1, 2, 3] = never_written
    marked = packed.copy()
    marked.attrs["_FillValue"] = packed.dtype.type(3)
    dataset.assign(u=packed, v=marked).to_netcdf(tmp_path / "a.nc", engine=engine)
    found = read(tmp_path / "a.nc")
    assert isinstance(found, xr.Dataset)
    assert np.argwhere(np.isnan(found["u"].values)).tolist() == [[1, 2, 3]]
    assert np.argwhere(np.isnan(found["v"].values)).tolist() == [[0, 0, 3]]


def test_zeros_of_zarr_v2_are_values(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    for name, shape in (("u", (2, 2, 2)), ("z", (2,))):
        array = group.create_array(name, shape=shape, dtype="f4", chunks=shape)
        array.attrs["_ARRAY_DIMENSIONS"] = list("zyx")[: len(shape)]
        array[:] = np.arange(array.size).reshape(shape)
    found = read(tmp_path / "a.zarr")
    assert isinstance(found, xr.Dataset)
    assert found["u"].values.ravel().tolist() == list(range(8))
    assert found["z"].values.tolist() == [0, 1]
    assert found["u"].attrs == {}


@pytest.mark.parametrize(
    "units", ["seconds", "s", "days since beginning of run", "seconds since 0000-01-01", "hours since 2000-01-01"]
)
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_times_are_carried_not_decoded(tmp_path: Path, dataset: xr.Dataset, units: str, suffix: str) -> None:
    times = ("time", [0.0025, 0.0052], {"units": units})
    series = dataset.expand_dims(time=2).assign_coords(time=times).assign(dt=((), 1e-5, {"units": "seconds"}))
    write(tmp_path / f"a{suffix}", series)
    found = read(tmp_path / f"a{suffix}")
    xr.testing.assert_identical(found, series)
    write(tmp_path / f"b{suffix}", found)
    xr.testing.assert_identical(read(tmp_path / f"b{suffix}"), series)


def test_missing_times_are_carried_too(tmp_path: Path, dataset: xr.Dataset) -> None:
    times = ("time", [1.0, -1.0], {"_FillValue": -1.0, "units": "s"})
    dataset.expand_dims(time=2).assign_coords(time=times).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    found = read(tmp_path / "a.nc")
    assert isinstance(found, xr.Dataset)
    assert found["time"].values.tolist() == [1.0, -1.0]
    assert found["time"].attrs == {"_FillValue": -1.0, "units": "s"}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_answers_are_laid_out_as_their_source(tmp_path: Path, dataset: xr.Dataset, zarr_format: Literal[2, 3]) -> None:
    series = dataset.expand_dims(time=[0.5])
    series.to_zarr(tmp_path / "a.zarr", zarr_format=zarr_format, consolidated=False)
    write(tmp_path / "b.zarr", read(tmp_path / "a.zarr"))
    assert zarr.open_group(tmp_path / "b.zarr").metadata.zarr_format == zarr_format
    series.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", unlimited_dims=["time"])
    write(tmp_path / "b.nc", read(tmp_path / "a.nc"))
    with h5py.File(tmp_path / "b.nc") as file:
        assert file["u"].maxshape == (None, 2, 3, 4)


@pytest.mark.parametrize("suffix", GRIDDED)
def test_a_volume_need_not_fit_the_file_that_it_was_read_from(tmp_path: Path, dataset: xr.Dataset, suffix: str) -> None:
    """As where it was cut out of a lazy one, or was packed and is larger now."""
    large = (1000 * dataset).chunk(x=(1, 3))
    for name in "uvw":
        large[name].encoding = {"dtype": "int16", "scale_factor": 0.01, "chunks": (2, 3, 2)}
    write(tmp_path / f"a{suffix}", large)
    xr.testing.assert_equal(read(tmp_path / f"a{suffix}"), large)
    with group(large, Preparation()) as (objects, _):
        assert objects


@pytest.mark.parametrize("suffix", GRIDDED)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_xarray_opened_from_zarr_is_written_and_sent(
    tmp_path: Path, dataset: xr.Dataset, zarr_format: Literal[2, 3], suffix: str
) -> None:
    """Its variables, coordinates too, know codecs of their Zarr format."""
    dataset.to_zarr(tmp_path / "a.zarr", zarr_format=zarr_format, consolidated=False)
    opened = xr.open_zarr(tmp_path / "a.zarr", consolidated=False)
    write(tmp_path / f"b{suffix}", opened)
    xr.testing.assert_equal(read(tmp_path / f"b{suffix}"), dataset)
    with group(opened, Preparation()) as (objects, _):
        assert objects
    assert "compressors" in opened["x"].encoding


def test_attributes_that_netcdf_cannot_hold_are_spelled(tmp_path: Path, dataset: xr.Dataset) -> None:
    attributes = {"params": {"Re": 5000}, "dealiased": True, "doi": None, "tags": [], "mixed": ["a", 1]}
    held = {"names": ["a", "b"], "sizes": [1, 2], "nu": 1e-3, "title": "Kármán"}
    rich = dataset.assign_attrs(**attributes, **held)
    write(tmp_path / "a.zarr", rich)
    xr.testing.assert_identical(read(tmp_path / "a.zarr"), rich)
    write(tmp_path / "a.nc", read(tmp_path / "a.zarr"))
    found = read(tmp_path / "a.nc")
    assert isinstance(found, xr.Dataset)
    assert {name: found.attrs[name] for name in attributes} == {
        "params": '{"Re": 5000}',
        "dealiased": "true",
        "doi": "null",
        "tags": "[]",
        "mixed": '["a", 1]',
    }
    assert {name: np.asarray(found.attrs[name]).tolist() for name in held} == held


def test_zarr_is_optional(tmp_path: Path, dataset: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.zarr", "a.zip"):
        write(tmp_path / name, dataset)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for name in ("a.zarr", "a.zip"):
        with pytest.raises(InvalidInputError, match=r"needs the zarr package: pip install 'eddylift\[zarr\]'"):
            read(tmp_path / name)
        (tmp_path / "a.nc").touch()
        with pytest.raises(InvalidInputError, match=r"needs the zarr package: pip install 'eddylift\[zarr\]'"):
            check_target(tmp_path / name, tmp_path / "a.nc", overwrite=True)


def test_an_upload_of_a_broken_file_is_refused(tmp_path: Path, dataset: xr.Dataset) -> None:
    path = tmp_path / "a.nc"
    dataset.to_netcdf(path, engine="h5netcdf", encoding={"v": {"zlib": True}})
    with h5py.File(path) as file:
        place = file["v"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 9] = bytes(9)
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"a\.nc cannot be sent: "), group(path, Preparation()):
        pass


def test_a_volume_with_a_broken_chunk_is_refused(tmp_path: Path, dataset: xr.Dataset) -> None:
    dataset.to_zarr(tmp_path / "a.zarr", consolidated=False)
    chunk = next(path for path in (tmp_path / "a.zarr" / "v" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(InvalidInputError, match=r"a\.zarr cannot be read: "):
        read(tmp_path / "a.zarr")
