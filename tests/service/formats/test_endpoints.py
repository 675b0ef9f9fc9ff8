"""Periodic axes that hold their first plane twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.formats.endpoints import check_ends, repeated_ends
from service.problems import Problem
from tests.service.wire import noise


def repeated(velocity: np.ndarray[Any, Any]) -> tuple[bool, bool, bool]:
    return repeated_ends(lambda z, y, x: velocity[:, z, y, x], velocity.shape[1:])


def closed(velocity: np.ndarray[Any, Any], axis: int) -> np.ndarray[Any, Any]:
    return np.concatenate([velocity, velocity.take([0], axis)], axis)


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 70, 129)])
def test_a_plane_that_is_there_twice(axis: int, shape: tuple[int, int, int]) -> None:
    velocity = noise(3, *shape)
    assert repeated(velocity) == (False, False, False)
    assert repeated(closed(velocity, axis)) == tuple(axis == each for each in (1, 2, 3))


def test_one_that_differs_by_rounding() -> None:
    x = np.linspace(0, 2 * np.pi, 9)
    z, y, x = np.meshgrid(x[:-1], x[:-1], x, indexing="ij")
    vortex = np.stack([np.sin(x) * np.cos(y) * np.cos(z), -np.cos(x) * np.sin(y) * np.cos(z), 0 * x]).astype("f4")
    assert repeated(vortex) == (False, False, True)


def test_what_is_no_evidence() -> None:
    assert repeated(np.ones((3, 4, 5, 6), np.float32)) == (False, False, False)
    still = noise(3, 4, 5, 6)
    still[:, :, [0, -1]] = 0
    assert not any(repeated(still))
    planar = np.broadcast_to(noise(3, 4, 5, 1), (3, 4, 5, 6))
    assert not any(repeated(planar))
    mirrored = np.concatenate([noise(3, 4, 5, 3), noise(3, 4, 5, 3)[..., ::-1]], -1)
    assert not any(repeated(mirrored))


def test_only_periodic_axes_are_refused() -> None:
    check_ends((True, False, False), ("wall", "periodic", "periodic"))
    with pytest.raises(Problem, match=r"z is periodic.*isel\(z=slice\(None, -1\), x=slice\(None, -1\)\)") as caught:
        check_ends((True, True, True), ("periodic", "open", "periodic"))
    assert caught.value.kind == "unfit"
