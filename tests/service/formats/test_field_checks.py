"""Axes that are taken as periodic or as walls, and are not; fields unlike those learned from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.catalogue import TRILINEAR
from models.ends import Ends, FieldSummary, check_on_walls, check_walls
from models.held_out import HELD_OUT
from service.formats.field_checks import check_ends, check_likeness, is_like_learned, summarise
from service.problems import Problem, invalid_field
from tests.service.wire import noise

SAMPLES = Path(__file__).parents[3] / "weights" / HELD_OUT


def summary_of(velocity: np.ndarray[Any, Any]) -> FieldSummary:
    return summarise(lambda z, y, x: velocity[:, z, y, x], velocity.shape[1:])


def ends_of(velocity: np.ndarray[Any, Any]) -> Ends:
    return summary_of(velocity).ends


def repeated(velocity: np.ndarray[Any, Any]) -> tuple[bool, ...]:
    return tuple(end == "repeated" for end in ends_of(velocity))


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


def test_parts_with_bad_values_are_left_out() -> None:
    velocity = closed(noise(3, 70, 70, 70), 3)
    velocity[0, 40, 40, [0, 40]] = np.nan

    def read(*where: slice) -> np.ndarray[Any, Any]:
        part = velocity[:, *where]
        if np.isnan(part).any():
            raise invalid_field(field="u", value="nan", expected="finite values")
        return part

    velocity[0, 40, 40, 0] = velocity[0, 40, 40, -1]
    seen = summarise(read, (70, 70, 71))
    assert seen.ends == ("continued", "continued", "repeated")
    assert not seen.traits
    velocity[0, 40, 40, 0] = np.nan
    seen = summarise(read, (70, 70, 71))
    assert seen == FieldSummary(planes=(*seen.planes[:2], ()))
    velocity[:, 40, 40, [0, 40]] = velocity[:, 40, 40, [-1, 41]]
    velocity[:, 0] = np.nan
    seen = summarise(read, (70, 70, 71))
    assert seen.ends == ("continued", "continued", "repeated")
    assert seen.traits


def test_what_cannot_be_reached_is_not_passed_over() -> None:
    def read(*_: slice) -> np.ndarray[Any, Any]:
        raise Problem("storage", "no answer")

    with pytest.raises(Problem, match="no answer"):
        summarise(read, (4, 4, 4))


def test_only_periodic_axes_are_refused() -> None:
    assert not check_ends(("repeated", "continued", "broken"), ("wall", "periodic", "open"))
    with pytest.raises(Problem, match=r"z: periodic.*isel\(z=slice\(None, -1\), x=slice\(None, -1\)\)") as caught:
        check_ends(("repeated", "repeated", "repeated"), ("periodic", "open", "periodic"))
    assert caught.value.kind == "unfit"


def smooth(*cells: int) -> np.ndarray[Any, Any]:
    """Periodic, with all wavenumbers up to 3."""
    waves = noise(3, *cells)
    keep = np.ones(cells, bool)
    for axis, n in enumerate(cells):
        keep &= (np.abs(np.fft.fftfreq(n) * n) <= 3).reshape([-1 if axis == each else 1 for each in range(3)])
    return np.fft.ifftn(np.fft.fftn(waves, axes=(1, 2, 3)) * keep, axes=(1, 2, 3)).real


def test_ends_that_break_off() -> None:
    periodic = smooth(24, 40, 70)
    assert ends_of(periodic) == ("continued", "continued", "continued")
    assert ends_of(np.roll(periodic, (5, 7, 30), (1, 2, 3))) == ("continued", "continued", "continued")
    assert ends_of(periodic[:, :, :21]) == ("continued", "broken", "continued")
    y = (np.arange(40) + 0.5)[:, None] / 20 - 1
    between_walls = periodic * (1 - y**2)
    between_walls[0] += 10 * (1 - y**8)
    assert ends_of(between_walls) == ("continued", "broken", "continued")
    shear = periodic.copy()
    shear[0] += 5 * y
    assert ends_of(shear) == ("continued", "broken", "continued")


def test_what_is_told_of_ends_that_break_off() -> None:
    (warning,) = check_ends(("continued", "broken", "continued"), ("periodic", "periodic", "open"))
    assert warning.startswith("the velocity jumps between the last plane and the first one along y")
    assert "give boundary=periodic,open,open; at walls, periodic,wall,open" in warning
    assert not check_ends(("continued", "broken", "continued"), ("periodic", "wall", "periodic"))
    (warning,) = check_ends(("broken", "broken", "continued"), ("periodic", "periodic", "periodic"))
    assert "along z, y, taken as periodic" in warning


def test_cut_turbulence() -> None:
    isotropic = np.load(SAMPLES / "isotropic-x4" / "coarse.npy")
    assert ends_of(isotropic[..., :12]) == ("continued", "continued", "broken")
    assert ends_of(isotropic[:, :12, :12, :12]) == ("broken", "broken", "broken")


def test_walls_that_the_flow_does_not_approach() -> None:
    channel = np.load(SAMPLES / "channel-x4" / "coarse.npy")
    assert check_walls(summary_of(channel), ("periodic", "wall", "periodic")) == ()
    channel[0] -= 15
    moving = summary_of(channel)
    assert check_walls(moving, ("periodic", "wall:u=-15..-15", "periodic")) == ()
    assert check_walls(moving, ("periodic", "open", "periodic")) == ()
    (warning,) = check_walls(moving, ("periodic", "wall", "periodic"))
    assert "that of these walls: y, first plane (off by " in warning
    assert "; y, last plane (off by " in warning
    assert ", the " not in warning  # at which the page takes joined warnings apart
    (warning,) = check_walls(moving, ("periodic", "wall:u=-15..0", "periodic"))
    assert "that of these walls: y, last plane (off by " in warning


def test_walls_where_there_are_none() -> None:
    isotropic = summary_of(np.load(SAMPLES / "isotropic-x4" / "coarse.npy"))
    for walls in (("wall", "open", "open"), ("open", "wall", "open"), ("open", "open", "wall")):
        assert check_walls(isotropic, walls)
    assert check_walls(summary_of(np.zeros((3, 4, 4, 4), np.float32)), ("wall", "wall", "wall")) == ()


def test_a_fluid_at_rest_up_to_rounding_approaches_its_walls() -> None:
    layer = 1e-9 * noise(3, 12, 8, 8)
    layer[:, 4:8] = noise(3, 4, 8, 8)
    assert check_walls(summary_of(layer), ("wall", "periodic", "periodic")) == ()


def test_points_on_walls() -> None:
    channel = np.load(SAMPLES / "channel-x4" / "coarse.npy")
    walls = ("periodic", "wall", "periodic")
    assert check_on_walls(summary_of(channel), walls) == ()
    assert check_on_walls(summary_of(np.load(SAMPLES / "channel-x4" / "fine.npy")), walls) == ()
    points = np.pad(channel, ((0, 0), (0, 0), (1, 1), (0, 0)))
    assert check_on_walls(summary_of(points), ("periodic", "open", "periodic")) == ()
    (warning,) = check_on_walls(summary_of(points), walls)
    assert "that of the wall at y, first plane; y, last plane. " in warning
    assert "resample='y'" in warning
    assert ", the " not in warning  # at which the page takes joined warnings apart
    (warning,) = check_on_walls(summary_of(points[:, :, :-1]), walls)
    assert "at y, first plane. " in warning
    points[0] += 15
    assert check_on_walls(summary_of(points), walls) == ()
    assert check_on_walls(summary_of(points), ("periodic", "wall:u=15..15", "periodic"))


def test_cells_beside_walls_whose_velocity_grows_as_a_square_or_not_at_all() -> None:
    faces = np.arange(9.0)[:, None]
    separating = noise(3, 6, 1, 6) * np.diff(faces**3, axis=0)
    assert check_on_walls(summary_of(separating), ("open", "wall", "open")) == ()
    still = np.zeros_like(separating)
    assert check_on_walls(summary_of(still), ("open", "wall", "open")) == ()
    still[:, :, 3:5] = separating[:, :, 3:5]
    assert check_on_walls(summary_of(still), ("open", "wall", "open")) == ()


def test_samples_are_told_apart() -> None:
    for flow, expected in (("isotropic", "continued"), ("channel", "broken")):
        coarse = np.load(SAMPLES / f"{flow}-x4" / "coarse.npy")
        assert ends_of(coarse) == ("continued", expected, "continued")


def test_what_is_told_of_a_field_unlike_those_learned() -> None:
    card = dataclasses.replace(TRILINEAR, name="learned", learned={"roughness": [0.8, 1.4], "skewness": [-0.4, -0.1]})
    assert is_like_learned(
        FieldSummary(traits={"roughness": 1.0, "skewness": -0.3, "divergence": 9.0}, cells=4096), card
    )
    noise = FieldSummary(traits={"roughness": 1.73, "skewness": 0.0}, cells=4096)
    (warning,) = check_likeness(noise, card)
    assert "the model learned has not learned to predict its errors on fields like this one" in warning
    assert "as noise does (roughness 1.73, learned 0.80 to 1.40)" in warning
    assert "as if its phases were random" in warning
    assert warning.endswith("the answer itself may be good")
    assert not is_like_learned(noise, card)
    assert check_likeness(noise, TRILINEAR) == ()
    divergent = dataclasses.replace(TRILINEAR, learned={"divergence": [0.1, 0.3]})
    (warning,) = check_likeness(FieldSummary(traits={"divergence": 0.9}, cells=4096), divergent)
    assert "cells are far from cubes, or its components are mixed up or of the wrong sign (divergence 0.90" in warning
    assert warning.endswith("may be good, unless its components are wrong")
