"""Boxes cover a volume once, and are read with what lies around them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.blocks import PERIODIC, Boundaries
from models.metrics.slabs import Grid, cut, surrounded


@pytest.mark.parametrize("size", [1, 64, 700, 10**6])
@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize("whole", [(), (-3,), (-2, -1)])
def test_boxes_cover_a_volume_once(size: int, step: int, whole: tuple[int, ...]) -> None:
    cells = (12, 20, 16)
    count = np.zeros(cells, int)
    boxes = cut(cells, size, step, whole)
    for box in boxes:
        count[box] += 1
        assert all(part.start % step == 0 for part in box)
        assert all(box[axis] == slice(0, cells[axis]) for axis in whole)
        least = math.prod(n if axis in whole else step for axis, n in zip((-3, -2, -1), cells, strict=True))
        assert count[box].size <= max(size, least)
    assert (count == 1).all()


def test_z_is_cut_first() -> None:
    assert cut((8, 8, 8), 130) == [(slice(z, z + 2), slice(0, 8), slice(0, 8)) for z in (0, 2, 4, 6)]
    assert all(box[0] == slice(box[0].start, box[0].start + 1) for box in cut((8, 8, 8), 30))
    assert all(box[2] == slice(0, 8) for box in cut((8, 8, 8), 30))


@pytest.mark.parametrize("boundary", [PERIODIC, ("periodic", "wall", "open"), ("open", "periodic", "wall")])
@pytest.mark.parametrize("size", [60, 100, 10**6])
def test_boxes_are_read_with_their_neighbours(boundary: Boundaries, size: int) -> None:
    cells = (5, 6, 7)
    values = np.random.default_rng(1).random((3, *cells)).astype(">f4")
    continued = np.pad(values, ((0, 0), (1, 1), (1, 1), (1, 1)), mode="wrap")
    for axis, name in enumerate(boundary, 1):
        if name != "periodic":
            ends: list[slice | int] = [slice(None)] * 4
            for end in (0, -1):
                ends[axis] = end
                continued[tuple(ends)] = np.nan
    for box in cut(cells, size):
        found = surrounded(lambda z, y, x: values[:, z, y, x], box, Grid(cells, 1, boundary))
        wanted = continued[:, *(slice(part.start, part.stop + 2) for part in box)]
        known = ~np.isnan(wanted)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found[known], wanted[known])
