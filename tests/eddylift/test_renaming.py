"""Positions along an axis under another name than the axis."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import xarray as xr

from eddylift import InvalidInputError, open_volume
from eddylift._preparation import Preparation
from eddylift._velocity import find

if TYPE_CHECKING:
    from pathlib import Path

STRETCHED = np.tanh(np.linspace(-1, 1, 6))
POSITIONS = {"zp": np.arange(4.0), "yp": STRETCHED, "xp": np.arange(4.0)}


def channel(*positions: str, cells: tuple[int, int, int] = (4, 6, 4)) -> xr.Dataset:
    """A channel whose positions lie beside the velocity."""
    values = np.random.default_rng(0).standard_normal((3, *cells))
    fields = {name: (("z", "y", "x"), part) for name, part in zip("uvw", values, strict=True)}
    return xr.Dataset({**fields, **{name: (name[0], POSITIONS[name], {"units": "m"}) for name in positions}})


def offered(volume: xr.Dataset) -> str:
    with pytest.raises(InvalidInputError, match=r"are positions along .*--names .*\), else drop them$") as caught:
        find(volume)
    assert "drop=" not in str(caught.value)
    return str(caught.value).rpartition("--names ")[2].partition(")")[0]


def test_positions_of_another_name_are_kept_by_the_offered_names() -> None:
    volume = channel(*POSITIONS)
    (prepared,) = Preparation(names=offered(volume)).apply(volume)
    assert {*prepared.coords} == {*"zyx"}
    assert {*prepared.data_vars} == {*"uvw"}
    assert prepared["y"].attrs == {"units": "m"}
    with pytest.raises(InvalidInputError, match=r"^y is stretched"):
        find(prepared)
    (uniform,) = Preparation(names=offered(volume), resample="y", boundary="open").apply(volume)
    np.testing.assert_allclose(np.diff(uniform["y"]), (STRETCHED[-1] - STRETCHED[0]) / 6)


def test_also_of_dims_of_other_names_and_of_one_array() -> None:
    volume = channel("yp").rename(y="ny")
    array = volume[[*"uvw"]].to_dataarray("component").assign_coords(yp=volume["yp"])
    for given in (volume, array):
        (prepared,) = Preparation(names={"ny": "y", "yp": "y"}).apply(given)
        np.testing.assert_array_equal(prepared.coords["y"], STRETCHED)
        assert prepared.coords["y"].dims == ("y",)
        assert "ny" not in prepared.dims


@pytest.mark.parametrize("cells", [(4, 6, 4), (6, 6, 6)])
def test_hdf5_that_names_no_dims(tmp_path: Path, cells: tuple[int, int, int]) -> None:
    """Also where one dim cannot be told from another by its length."""
    z, _, x = cells
    with h5py.File(tmp_path / "channel.h5", "w") as file:
        for name in "uvw":
            file[name] = np.random.default_rng(0).standard_normal(cells)
        file.update({"xp": np.arange(x), "yp": STRETCHED, "zp": np.arange(z)})
    with pytest.raises(InvalidInputError, match=r"^xp, yp, zp: .*--names zp:z,yp:y,xp:x\), else drop them$"):
        open_volume(tmp_path / "channel.h5")
    with pytest.raises(InvalidInputError, match=r"^y is stretched"):
        open_volume(tmp_path / "channel.h5", names="xp:x,yp:y,zp:z")


def test_what_has_no_place_is_offered_to_be_dropped() -> None:
    """What cannot be positions, and what is the second along an axis."""
    volume = channel("yp").assign(dy=("y", np.ones(6)), note=("z", list("abcd")), p=channel()["u"])
    with pytest.raises(InvalidInputError, match=re.escape("--drop dy,note,p); if yp are positions along y, pass")):
        find(volume)


@pytest.mark.parametrize("names", [{"yp": "y", "dy": "y"}, {"xp": "y"}, {"u": "y"}, {"yp": "u"}])
def test_names_that_would_be_there_twice(names: dict[str, str]) -> None:
    volume = channel("yp", "xp").assign(dy=("y", np.ones(6)))
    with pytest.raises(InvalidInputError, match=r"^names cannot be .*: the volume would have two of one name$"):
        Preparation(names=names).apply(volume)
    with pytest.raises(InvalidInputError, match="the volume would have two of one name"):
        Preparation(names={"yp": "y"}).apply(volume.assign_coords(y=STRETCHED))


def test_packed_positions_are_unpacked() -> None:
    volume = channel("yp").assign(yp=("y", np.arange(6, dtype="i2"), {"scale_factor": 0.5, "units": "m"}))
    (prepared,) = Preparation(names="yp:y").apply(volume)
    np.testing.assert_array_equal(prepared["y"], np.arange(6) / 2)
    assert prepared["y"].attrs == {"units": "m"}
