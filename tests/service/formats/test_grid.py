"""The coordinates of an answer."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from models.catalogue import TRILINEAR
from service.formats.grid import check_axes, finer, length_of, read_coordinate
from service.formats.layout import BareLayout
from service.formats.volume import Volume
from service.problems import Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_even(values: NDArray[Any]) -> bool:
    try:
        read_coordinate(xr.DataArray(values, dims="z"), "z")
    except Problem:
        return False
    return True


@settings(max_examples=200, deadline=None)
@given(
    cells=st.integers(2, 200),
    length=st.sampled_from([1.0, 2 * np.pi, 4 * np.pi]),
    decimals=st.integers(2, 7),
    start=st.sampled_from([0.0, -1.0, 10.0, 1000.0]),
    wobble=st.floats(0, 1e-3),
    dtype=st.sampled_from(["f2", "f4", "f8"]),
    factor=st.sampled_from([2, 4]),
)
@example(cells=64, length=2 * np.pi, decimals=4, start=0.0, wobble=0.0, dtype="f8", factor=4)
def test_an_answer_has_coordinates_that_the_service_reads(
    cells: int, length: float, decimals: int, start: float, wobble: float, dtype: str, factor: int
) -> None:
    """Whatever the rounding and the unevenness of those of its source, if they are read."""
    steps = (1 + wobble * np.cos(np.arange(cells))) * length / cells
    coarse: NDArray[Any] = np.round(start + np.cumsum(steps), decimals).astype(dtype)
    assume(is_even(coarse))
    fine = finer(coarse, factor)
    assert is_even(fine)
    if dtype == "f8":
        means = fine.reshape(cells, factor).mean(axis=1)
        np.testing.assert_allclose(means, coarse, rtol=0, atol=1e-3 * length / cells)


def test_lengths_without_coordinates_are_of_cubic_cells() -> None:
    volume = Volume(np.zeros((1, 3, 4, 8, 2), np.float32), BareLayout(None), has_times=False)
    assert length_of(volume) == pytest.approx((math.pi, 2 * math.pi, math.pi / 2))


@pytest.mark.parametrize(("long", "told"), [(3.0, False), (3.1, True)])
def test_what_is_told_of_long_cells(long: float, *, told: bool) -> None:
    learned = dataclasses.replace(TRILINEAR, learned={"roughness": [0.8, 1.4]})
    grid = SimpleNamespace(coordinates=(long * np.arange(4), None, np.arange(4.0)))
    warnings = check_axes(grid, xr.Dataset(), learned)
    assert bool(warnings) == told
    assert all("3.1 times as long along z as along x" in each for each in warnings)
    assert not check_axes(grid, xr.Dataset(), TRILINEAR)
    assert not check_axes(SimpleNamespace(coordinates=(long * np.arange(4), None, None)), xr.Dataset(), learned)
    mixed = xr.Dataset(
        coords={axis: (axis, np.arange(4), {"units": units}) for axis, units in (("z", "km"), ("x", "µm"))}
    )
    (warning,) = check_axes(grid, mixed, learned)
    assert warning.startswith("the axes have different units")


@pytest.mark.parametrize(("positive", "told"), [("down", True), ("Down", True), ("up", False), (None, False)])
def test_what_is_told_of_depths(positive: str | None, *, told: bool) -> None:
    rest = xr.Dataset(coords={"z": ("z", np.arange(4.0), {} if positive is None else {"positive": positive})})
    warnings = check_axes(SimpleNamespace(coordinates=(np.arange(4.0), None, None)), rest, TRILINEAR)
    assert bool(warnings) == told
    assert all("negate z" in each and ", the " not in each for each in warnings)
