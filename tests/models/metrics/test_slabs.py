"""Boxes cover a volume once, and are read with what lies around them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.blocks import PERIODIC, Boundaries
from models.metrics.slabs import Grid, cut, surrounded
from models.walls import Walls

MOVING = "wall:u=1..2:w=0.5..-1"


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


@pytest.mark.parametrize(
    "boundary", [PERIODIC, ("periodic", "wall", "open"), ("open", "periodic", "wall"), ("periodic", MOVING, "open")]
)
@pytest.mark.parametrize("size", [60, 100, 10**6])
def test_boxes_are_read_with_their_neighbours(boundary: Boundaries, size: int) -> None:
    """All but those in corners, beyond two ends at once."""
    cells = (5, 6, 7)
    values = np.random.default_rng(1).random((3, *cells)).astype(">f4")
    continued = np.full((3, 7, 8, 9), np.nan)
    inside = (slice(None), *[slice(1, -1)] * 3)
    continued[inside] = values
    for axis, name in enumerate(boundary, 1):
        along, line = (np.moveaxis(field, axis, 0) for field in (continued[_widened(inside, axis)], values))
        low, high = (np.array(speed)[:, None, None] for speed in Walls.of(name))
        if name == "periodic":
            along[0], along[-1] = line[-1], line[0]
        elif name == "open":
            along[0], along[-1] = line[0], line[-1]
        else:
            along[0], along[-1] = 2 * low - line[0], 2 * high - line[-1]
    for box in cut(cells, size):
        found = surrounded(lambda z, y, x: values[:, z, y, x], box, Grid(cells, 1, boundary))
        wanted = continued[:, *(slice(part.start, part.stop + 2) for part in box)]
        known = ~np.isnan(wanted)
        assert found.itemsize == 4  # to take no more memory
        np.testing.assert_allclose(found[known], wanted[known], atol=1e-6)


def _widened(inside: tuple[slice, ...], axis: int) -> tuple[slice, ...]:
    return (*inside[:axis], slice(None), *inside[axis + 1 :])
