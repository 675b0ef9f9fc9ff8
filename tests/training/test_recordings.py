"""Other people's files: read as they are meant, trained on, measured and served; refused where they are not clear."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from models.blocks import parse_boundary, plan
from models.catalogue import Catalogue
from models.networks import Architecture, Network
from models.operators import coarsen
from models.superresolution import SuperResolution
from tests.training.recorded import CELLS, velocity, write_components, write_giverny, write_jhtdb, write_one_array
from training import samples
from training.__main__ import main
from training.recordings import add_reading, open_dataset, open_datasets, reading
from training.samples import Source
from training.trainer import Recipe, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from training.dataset import Dataset

WRITERS = [
    pytest.param(write_components, "flow.zarr", id="zarr"),
    pytest.param(write_components, "flow.nc", id="netcdf"),
    pytest.param(write_one_array, "flow.nc", id="component"),
    pytest.param(write_jhtdb, "flow.h5", id="jhtdb"),
    pytest.param(write_giverny, "flow.h5", id="giverny"),
]


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_files_are_read_as_they_are_meant(tmp_path: Path, write: Callable[..., Path], name: str) -> None:
    field = velocity()
    found = open_dataset(write(tmp_path / name, field), "jet", "periodic,wall,open")
    assert (found.name, found.flow, found.cells) == ("flow", "jet", CELLS)
    assert found.boundary == ("periodic", "wall", "open")
    assert found.length == pytest.approx((1.6, 2.4, 6.0))
    assert (found.count(1), found.count(3)) == (3, 1)
    where = (np.array([15, 0, 1]), np.array([3, 4]), np.arange(20)[::-1])
    wanted = field[:, :, where[0]][:, :, :, where[1]][:, :, :, :, where[2]]
    assert np.array_equal(found.window(1, where, 1), wanted[1:2])
    assert np.array_equal(found.window(0, where, 3), wanted)


@pytest.mark.parametrize(
    ("boundary", "warning"),
    [
        ("periodic,wall:u=0..3.2,open", None),
        ("periodic,periodic,open", "mine: the velocity jumps between the last plane and the first one along y, taken"),
        ("periodic,wall:u=2..3.2,open", "mine: the velocity does not approach that of these walls: y, first plane"),
        ("periodic,wall:u=0.05..0.05,open", "mine: the velocity is that of the wall at y, first plane"),
    ],
)
def test_ends_that_do_not_fit_the_boundary_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], boundary: str, warning: str | None
) -> None:
    """Of a flow between a wall at rest and one that moves with a velocity of 3.2."""
    field = np.zeros((1, 3, 16, 32, 16), np.float32)
    field[:, 0] = 0.1 * (np.arange(32) + 0.5)[:, None]
    open_datasets([write_components(tmp_path / "mine.nc", field)], flow="mine", boundary=boundary)
    told = capsys.readouterr().err
    assert warning in told if warning else not told


def test_other_names_and_stretched_axes(tmp_path: Path) -> None:
    field = velocity()
    plain = write_components(tmp_path / "plain.nc", field)
    with xr.open_dataset(plain) as dataset:
        other = dataset.load().rename(u="Ux", v="Uy", w="Uz", z="lev").assign(p=("lev", np.zeros(16)))
        other.assign_coords(y=dataset.y**2, x=dataset.x.astype("f4") + 3000).to_netcdf(tmp_path / "other.nc")
    parser = argparse.ArgumentParser()
    add_reading(parser)
    options = ["--flow=jet", "--boundary=open", "--names=Ux: u,Uy:v,Uz:w,lev :z", "--drop=p,", "--resample=y"]
    found = open_dataset(tmp_path / "other.nc", **reading(parser.parse_args(options)))
    assert found.length == pytest.approx((1.6, 2.3**2 - 0.1**2, 6.0), rel=1e-3)
    everywhere = tuple(np.arange(n) for n in CELLS)
    window = found.window(1, everywhere, 1)  # type: ignore[arg-type]
    assert window.shape == (1, 3, *CELLS)
    assert not np.allclose(window[0], field[1])


@pytest.mark.parametrize("said", [{}, {"boundary": "periodic,periodic,open"}])
def test_a_periodic_axis_is_not_resampled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: dict[str, str]
) -> None:
    """Its length would be that without its last cell, whether an option or the file says that it is periodic."""
    path = write_components(tmp_path / "a.nc", velocity(), flow="jet", **said)
    options = [] if said else ["--boundary", "periodic,periodic,open"]
    with pytest.raises(SystemExit):
        main(["train", "--data", str(path), "--out", str(tmp_path / "out"), "--resample", "x,y", *options])
    assert "resample: y; expected an axis that is not periodic" in capsys.readouterr().err


def test_frames_must_be_evenly_spaced(tmp_path: Path) -> None:
    path = edited(lambda d: d.assign_coords(time=[0.0, 1.0, 3.0]))(tmp_path)
    found = open_dataset(path, "jet", "open")
    assert found.count(1) == 3
    with pytest.raises(ValueError, match="time: steps from 1 to 2; expected even ones for 3 frames"):
        found.count(3)


@pytest.mark.parametrize(("times", "frames"), [(2, 3), (0, 1)])
def test_too_few_times_are_refused(tmp_path: Path, times: int, frames: int) -> None:
    path = write_components(tmp_path / "a.nc", velocity(times))
    with pytest.raises(ValueError, match=rf"a.nc: time: {times} levels; expected at least {frames}"):
        open_dataset(path, "jet", "periodic").count(frames)


def test_files_may_say_themselves_what_they_are(tmp_path: Path) -> None:
    path = write_components(tmp_path / "a.nc", velocity(), flow="plane-jet", boundary="open,open,periodic")
    found = open_dataset(path)
    assert (found.flow, found.boundary) == ("plane-jet", ("open", "open", "periodic"))
    assert open_dataset(path, "other").flow == "plane-jet"
    assert open_dataset(path, boundary="periodic").boundary == ("periodic", "periodic", "periodic")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = [write_components(tmp_path / name, velocity(), flow="jet", boundary="open") for name in ("a.nc", "a.zarr")]
    with pytest.raises(ValueError, match=r"a.nc and .*a.zarr are both called a; expected names that differ"):
        open_datasets(paths)


def test_a_file_is_trained_on_measured_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = {"flow": "jet", "boundary": "periodic"}
    mine = str(write_jhtdb(tmp_path / "mine.h5", velocity(), **said))
    held_out = str(write_components(tmp_path / "other.zarr", velocity(2), **said))
    options = ["--family", "conv", "--fields", "1", "--blocks", "1", "--steps", "2", "--out", str(tmp_path / "out")]
    assert main(["train", *options, "--data", mine, "--weights", str(tmp_path / "weights")]) == 0
    assert main(["evaluate", "--data", held_out, "--ship", held_out, "--weights", str(tmp_path / "weights")]) == 0
    assert "| conv-jet-x4 |" in capsys.readouterr().out
    card = Catalogue(tmp_path / "weights").card("conv-jet-x4")
    assert card.trained["data"] == [{"run": "mine", "snapshots": 3, "flow": "jet"}]
    assert card.measured[0]["cells"] == list(CELLS)
    assert card.sample["mae_over_trilinear"] > 0
    with pytest.raises(SystemExit):
        main(["evaluate", "--data", mine, "--weights", str(tmp_path / "weights")])
    assert "conv-jet-x4 was trained on mine" in capsys.readouterr().err


@pytest.mark.parametrize("boundary", ["periodic", "open", "periodic,wall,open"])
def test_patches_of_a_large_volume_are_answered_as_parts_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boundary: str
) -> None:
    """With the halo, wherever a patch lies."""
    monkeypatch.setattr(samples, "EDGE", 3)
    monkeypatch.setattr(samples, "PATCH", 2)
    field, names = velocity(2, (32, 16, 24)), parse_boundary(boundary)
    run = open_dataset(write_jhtdb(tmp_path / "large.h5", field), "jet", boundary)
    torch.manual_seed(0)
    model = SuperResolution(Network(Architecture("equivariant", "O", 1, 1))).frozen()
    source = Source([run], halo=model.halo, factor=4, augment=False, device="cpu", seed=1)
    places = set()
    for _ in range(6):
        sample = source.draw()
        assert sample.fine.shape == (1, 3, 8, 16 if names[1] == "wall" else 8, 8)
        at = find(field[0], sample.fine[0].numpy())
        places.add(at)
        # The coarse grid is shifted with a patch: the volume goes round, or begins later and ends earlier.
        shift = tuple(n % 4 for n in at)
        assert not any(n and name == "wall" for n, name in zip(shift, names, strict=True))
        shifted = np.roll(field[:1], [-n for n in shift], axis=(2, 3, 4))
        z, y, x = (-4 if n and name == "open" else None for n, name in zip(shift, names, strict=True))
        coarse = coarsen(torch.from_numpy(shifted[..., :z, :y, :x].copy())).numpy()
        one = plan(coarse.shape[-3:], halo=model.halo, boundary=names)
        read = torch.from_numpy(one.gather(coarse, one.blocks[0]))[None]
        whole = model(read, one.circular)[0].numpy()
        whole = np.roll(whole, [n - m for n, m in zip(shift, at, strict=True)], axis=(1, 2, 3))
        answer = model(sample.coarse, sample.circular)[0]
        np.testing.assert_allclose(answer, whole[:, : answer.shape[1], : answer.shape[2], :8], atol=1e-5)
    assert len(places) > 3


def find(field: NDArray[np.float32], part: NDArray[np.float32]) -> tuple[int, int, int]:
    """Where a part of a field, continued periodically, begins."""
    z, y, x = np.argwhere((field == part[:, :1, :1, :1]).all(axis=0))[0]
    shifted = np.roll(field, (-z, -y, -x), axis=(1, 2, 3))
    assert np.array_equal(shifted[:, : part.shape[1], : part.shape[2], : part.shape[3]], part)
    return int(z), int(y), int(x)


def spoil(field: NDArray[np.float32], value: float) -> NDArray[np.float32]:
    field[2, 1, 3, 4, 5:7] = value
    return field


@pytest.mark.parametrize("value", [math.nan, math.inf, -999.9, -9999.0, 1e20])
def test_missing_values_are_refused_where_they_are_read(tmp_path: Path, value: float) -> None:
    found = open_dataset(write_jhtdb(tmp_path / "a.h5", spoil(velocity(), value)), "jet", "periodic")
    everywhere = tuple(np.arange(n) for n in CELLS)
    assert isinstance(found.window(0, everywhere, 1), np.ndarray)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a\.h5: 2 values of time level 2 are not finite, or mark missing ones"):
        found.window(2, everywhere, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("dtype", "value"), [("f2", math.inf), ("f2", -999.9), ("f2", -9999.0), ("f8", 1e300)])
def test_missing_values_are_refused_in_every_precision(tmp_path: Path, dtype: str, value: float) -> None:
    field: NDArray[Any] = velocity().astype(dtype)
    path = write_components(tmp_path / "a.zarr", spoil(field, value), flow="jet", boundary="open")
    with pytest.raises(ValueError, match="2 values of time level 2 are not finite, or mark missing ones"):
        open_dataset(path).window(2, tuple(np.arange(n) for n in CELLS), 1)  # type: ignore[arg-type]


def test_chunks_that_do_not_decode_are_told(tmp_path: Path) -> None:
    path = write_components(tmp_path / "data.zarr", velocity())
    for chunk in (path / "v" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:20])
    run = open_dataset(path, "jet", "open")
    with pytest.raises(ValueError, match=r"data.zarr: time level 1 cannot be read: "):
        run.window(1, tuple(np.arange(n) for n in CELLS), 1)  # type: ignore[arg-type]


def test_numbers_outside_of_the_valid_range_are_missing(tmp_path: Path) -> None:
    path = write_components(tmp_path / "a.zarr", velocity())
    for name, limits in (("u", {"valid_range": [-9.0, 9.0]}), ("w", {"valid_min": -1.0})):
        zarr.open_group(path, mode="a")[name].attrs.update(limits)
    with pytest.raises(ValueError, match=rf" {(velocity()[0, 2] < -1).sum()} values of time level 0 .* valid range"):
        open_dataset(path, "jet", "periodic").window(0, tuple(np.arange(n) for n in CELLS), 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("said", ['{"y": "wall"}', '["periodic", "wall", "periodic"]', {"y": "wall"}])
def test_boundaries_may_be_spelled_as_for_the_service(tmp_path: Path, said: Any) -> None:  # noqa: ANN401 an attribute
    found = open_dataset(write_components(tmp_path / "a.zarr", velocity(), boundary=said), "jet")
    assert found.boundary == ("periodic", "wall", "periodic")


def edited(change: Callable[[xr.Dataset], Any]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = write_components(folder / "plain.nc", velocity())
        with xr.open_dataset(path) as dataset:
            change(dataset.load()).to_netcdf(folder / "edited.nc")
        return folder / "edited.nc"

    return write


def jhtdb(change: Callable[[h5py.File], None]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = write_jhtdb(folder / "edited.h5", velocity())
        with h5py.File(path, "a") as file:
            change(file)
        return path

    return write


def repeated_but_rounded(dataset: xr.Dataset) -> xr.Dataset:
    """With a last plane along x that is the first one up to rounding to single precision."""
    longer = dataset.pad(x=(0, 1), mode="wrap").assign_coords(x=np.arange(21.0))
    return longer.assign({name: longer[name] * (1 + 2e-7 * (longer.x == 20)) for name in "uvw"})


def replace(name: str, values: NDArray[Any]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return change


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            edited(lambda d: d.drop_vars("w")),
            r"expected variables u, v, w over .*; got u\(.*\), v\(",
        ),
        (edited(lambda d: d.rename(z="lev", y="lat")), r"--names lev:z,lat:y\)"),
        (edited(lambda d: d.assign(p=d.u)), r"--drop p\)"),
        (edited(lambda d: d.assign_coords(y=d.y**2)), r"y is stretched, .*--resample y\)"),
        (
            edited(lambda d: d.assign_coords(y=d.y + 0.005 * (d.y > 1))),
            "y must be 12 evenly spaced, growing coordinates",
        ),
        (edited(lambda d: d.pad(x=(0, 1), mode="wrap").assign_coords(x=np.arange(21.0))), "x is periodic, .* repeats"),
        (edited(repeated_but_rounded), "x is periodic, but its last plane repeats the first"),
        (edited(lambda d: d.assign_coords(time=[0.0, 2.0, 1.0])), "time: 2.0 before 1.0; expected times that grow"),
        (edited(lambda d: d.assign_coords(time=[0.0, 1.0, 1.0])), "time: 1.0 before 1.0; expected times that grow"),
        (edited(lambda d: d.assign_coords(time=np.array([3, 1, 2], "u4"))), "time: 3 before 1; expected times that"),
        (edited(lambda d: d.assign_coords(time=["a", "b", "c"])), "time: a; expected numbers or dates"),
        (edited(lambda d: d.drop_vars("y")), "has coordinates along z, x alone; expected them along z, y, x, or none"),
        (
            edited(lambda d: d.assign_coords(z=d.z.assign_attrs(units="mm"), y=d.y.assign_attrs(units="m"))),
            "cells: in mm along z, m along y; expected one unit along all axes",
        ),
        (edited(lambda d: d.assign(v=d.v.assign_attrs(units="cm/s"))), "v: in cm/s; expected no units, as u has"),
        (edited(lambda d: d.astype("int32")), "velocity must be real floating-point numbers, not int32"),
        (edited(lambda d: d.isel(x=[0])), "x has 1 cells; expected at least 2"),
        (edited(lambda d: d.isel(x=[0]).drop_vars("x")), "x has 1 cells; expected at least 2"),
        (jhtdb(replace("Velocity_0002", np.zeros((4, 4, 4, 3)))), "all of one shape"),
        (jhtdb(replace("ycoor", np.zeros(12))), "y must be 12 evenly spaced"),
        (jhtdb(replace("zcoor", np.arange(5.0))), "conflicting sizes for dimension 'z'"),
        (lambda folder: folder / "nothing.zarr", "nothing.zarr does not exist"),
        (lambda folder: folder, "is a folder, and cannot be read as a Zarr group"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, write: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_dataset(write(tmp_path), "jet", "periodic")


def test_equal_ends_of_uniform_and_symmetric_fields_are_no_plane_too_many(tmp_path: Path) -> None:
    field = velocity()
    field[:] = field[..., :1]
    assert open_dataset(write_components(tmp_path / "uniform.nc", field), "jet", "periodic").cells == CELLS
    even = np.concatenate((velocity(), velocity()[..., ::-1]), axis=-1)
    assert open_dataset(write_components(tmp_path / "even.nc", even), "jet", "periodic").cells == (16, 12, 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--boundary", "periodic"], "the flow needs a name of small letters, digits and hyphens, got None"),
        (["--boundary", "periodic", "--flow", "../x"], "got '../x'; give --flow"),
        (["--flow", "jet"], "does not say what lies beyond the ends of its axes; give --boundary"),
        (["--flow", "jet", "--boundary", "open", "--names", "Ux"], "names: Ux; expected pairs such as ux:u,uy:v,uz:w"),
        (["--flow", "jet", "--boundary", "solid"], "boundary must be one of periodic, wall, open"),
    ],
)
def test_what_a_file_leaves_out_must_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    path = write_components(tmp_path / "a.nc", velocity())
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--data", str(path), "--out", str(tmp_path / "out"), *options])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_axes_that_are_no_whole_number_of_cells_are_refused(tmp_path: Path) -> None:
    run: Dataset = open_dataset(write_jhtdb(tmp_path / "a.h5", velocity(3, (16, 12, 18))), "jet", "periodic")
    with pytest.raises(ValueError, match=r"a has \(16, 12, 18\) cells along z, y, x; each must be a multiple of 4"):
        Trainer(Architecture("conv", "C1", 4, 1), Recipe(1), [run], tmp_path / "out")
