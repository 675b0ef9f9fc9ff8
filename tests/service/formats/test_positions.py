"""Positions along an axis under another name than the axis: refused, with the names that make them its coordinate."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from service.formats.names import Naming
from tests.service.formats.bodies import COARSE, GROUPS, answered, raw, read, refused
from tests.service.wire import dataset, netcdf, noise

if TYPE_CHECKING:
    from collections.abc import Callable

UNIFORM, STRETCHED = np.arange(5.0), np.arange(5.0) ** 2


@GROUPS
def test_they_are_kept_by_the_offered_names(write: Callable[..., bytes]) -> None:
    volume = dataset(COARSE, yp=("y", UNIFORM, {"units": "m"}), p=dataset(COARSE).u).drop_vars("y")
    told = refused(write(volume))
    assert "drop=p leaves out" in told
    naming = Naming.parse(told.partition("names=")[2].partition(" ")[0], "p")
    assert naming.names == (("yp", "y"),)
    np.testing.assert_array_equal(read(write(volume), naming).coordinates[1], UNIFORM)
    after = raw(answered(write(volume), naming))
    assert {*after.variables} == {"u", "v", "w", "z", "yp", "x"}
    assert after["u"].dims == ("z", "yp", "x")
    assert (after["yp"].values[0], after["yp"].attrs) == (-0.375, {"units": "m"})
    stretched = volume.assign(yp=("y", STRETCHED))
    assert "y: spaced by 1 to 7; expected uniform spacing" in refused(write(stretched), naming)


def test_a_dim_of_another_name_too() -> None:
    volume = dataset(COARSE, yp=("y", UNIFORM)).drop_vars("y").rename(y="ny")
    np.testing.assert_array_equal(read(netcdf(volume), Naming.parse("ny:y,yp:y", None)).coordinates[1], UNIFORM)


@pytest.mark.parametrize("cells", [(4, 5, 6), (5, 5, 5)])
def test_hdf5_that_names_no_dims(cells: tuple[int, int, int]) -> None:
    """Also where one dim cannot be told from another by its length."""
    file = io.BytesIO()
    with h5py.File(file, "w") as inside:
        for name, part in zip("uvw", noise(3, *cells), strict=True):
            inside[name] = part
        inside.update({"xp": np.arange(cells[2]), "yp": STRETCHED, "zp": np.arange(cells[0])})
    names = refused(file.getvalue()).partition("names=")[2].partition(" ")[0]
    assert sorted(names.split(",")) == ["xp:x", "yp:y", "zp:z"]
    assert "y: spaced by 1 to 7; expected uniform spacing" in refused(file.getvalue(), Naming.parse(names, None))


@pytest.mark.parametrize("cells", [(4, 5, 6), (5, 5, 5)])
@pytest.mark.parametrize("labels", ["xyz", "yxz"])
def test_hdf5_that_labels_its_axes(labels: str, cells: tuple[int, int, int]) -> None:
    file, velocity = io.BytesIO(), noise(3, *cells)
    with h5py.File(file, "w") as inside:
        for name, part in zip("uvw", velocity, strict=True):
            inside[name] = part.transpose(["zyx".index(axis) for axis in labels])
            for place, axis in enumerate(labels):
                inside[name].dims[place].label = axis
        inside.update({axis: 0.5 * np.arange(n) for axis, n in zip("zyx", cells, strict=True)})
    found = read(file.getvalue())
    np.testing.assert_array_equal(found.velocity[0], velocity)
    assert [len(at) for at in found.coordinates if at is not None] == list(cells)
    after = raw(answered(file.getvalue()))
    assert (after["u"].dims, "DIMENSION_LABELS" in after["u"].attrs) == (tuple(labels), False)


def test_labels_that_do_not_fit() -> None:
    file = io.BytesIO()
    with h5py.File(file, "w") as inside:
        for name in "uvw":
            inside[name] = np.zeros((4, 5, 6))
            for place, axis in enumerate("xyz"):
                inside[name].dims[place].label = axis
        inside["x"] = np.arange(5.0)
    assert "expected one length for each label" in refused(file.getvalue())
    with h5py.File(file, "a") as inside:
        inside["v"].dims[2].label = "x"
    assert "v: axes labelled x, y, x; expected labels that differ" in refused(file.getvalue())


@pytest.mark.parametrize("names", ["yp:y,dy:y", "u:y", "yp:u"])
def test_names_that_would_occur_twice(names: str) -> None:
    volume = dataset(COARSE, yp=("y", UNIFORM), dy=("y", np.ones(5))).drop_vars("y")
    assert "expected names that differ" in refused(netcdf(volume), Naming.parse(names, None))
    assert "expected names that differ" in refused(netcdf(volume.assign(y=UNIFORM)), Naming.parse("yp:y", None))
