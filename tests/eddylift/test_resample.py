"""Stretched axes on uniform cells: exact means of what is linear between the points."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eddylift import EddyliftWarning, InvalidInputError, open_volume
from eddylift._preparation import Preparation
from eddylift._resample import mean_weights, to_uniform

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eddylift import Boundary


def channel(points: int = 48) -> xr.Dataset:
    """A stretched channel with a linear profile of u, a parabola of v, and noise in w."""
    y = np.tanh(1.9 * np.linspace(-1, 1, points)) / np.tanh(1.9)
    noise = np.random.default_rng(0).standard_normal((4, points, 5))
    profiles = {"u": 2 * y + 1, "v": 1 - y**2, "w": noise[0, :, 0]}
    fields = {name: (("z", "y", "x"), np.broadcast_to(row[:, None], noise.shape)) for name, row in profiles.items()}
    return xr.Dataset(fields, {"y": ("y", y, {"units": "m"}), "z": np.arange(4.0), "x": np.arange(5.0)})


def test_the_mean_of_each_cell_is_that_of_the_linear_interpolant() -> None:
    volume = channel()
    uniform = to_uniform(volume, "y")
    centres, points = uniform["y"].values, volume["y"].values
    step = centres[1] - centres[0]
    np.testing.assert_allclose(np.diff(centres), step)
    assert (centres[0] - step / 2, centres[-1] + step / 2) == pytest.approx((points[0], points[-1]))
    for name in "uvw":
        row = volume[name].values[0, :, 0]
        for centre, found in zip(centres, uniform[name].values[0, :, 0], strict=True):
            # Linear pieces are integrated exactly by the trapezoids between all their corners.
            corners = points[(points > centre - step / 2) & (points < centre + step / 2)]
            corners = np.concatenate([[centre - step / 2], corners, [centre + step / 2]])
            assert found == pytest.approx(np.trapezoid(np.interp(corners, points, row), corners) / step, abs=1e-12)
    assert uniform.attrs["eddylift_resampled"] == ("y: 48 uniform cells from -1 to 1, means of the linear interpolant")
    assert uniform["y"].attrs == {"units": "m"}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=20), st.integers(1, 30))
def test_integrals_are_kept_and_lines_are_exact(steps: list[float], cells: int) -> None:
    points = np.concatenate([[0.0], np.cumsum(steps)])
    edges = np.linspace(points[0], points[-1], cells + 1)
    weights = mean_weights(points, edges)
    values = np.cos(points)
    np.testing.assert_allclose((weights @ values).sum() * np.diff(edges)[0], np.trapezoid(values, points), atol=1e-9)
    np.testing.assert_allclose(weights @ points, (edges[:-1] + edges[1:]) / 2, rtol=1e-9, atol=1e-9)


def test_several_axes_any_order_of_dims_and_either_direction() -> None:
    volume = channel().transpose("x", "y", "z")
    both = to_uniform(volume.isel(y=slice(None, None, -1)), ["z", "y"])
    xr.testing.assert_allclose(both, to_uniform(to_uniform(volume, "z"), "y"))
    assert both["u"].dims == ("x", "y", "z")
    assert both.attrs["eddylift_resampled"].startswith(
        "z: 4 uniform cells from 0 to 3, means of the linear interpolant; y:"
    )


def test_a_number_of_cells() -> None:
    """As for Chebyshev points, on the walls, whose number is no multiple of four."""
    volume = channel().assign_coords(y=-np.cos(np.pi * np.arange(48) / 47), wall_distance=("y", np.zeros(48)))
    uniform = to_uniform(volume, ["z", "y:20"])
    assert uniform.sizes == {"z": 4, "y": 20, "x": 5}
    assert {*uniform.coords} == {"z", "y", "x"}
    assert "y: 20 uniform cells from -1 to 1" in uniform.attrs["eddylift_resampled"]
    np.testing.assert_allclose(uniform.y, (np.arange(20) + 0.5) / 10 - 1)
    np.testing.assert_allclose(to_uniform(volume, ["y:20"]).w.mean("y"), volume.w.integrate("y") / 2, atol=1e-12)


def test_data_arrays_say_so_too() -> None:
    field = channel().to_dataarray("component", name="flow")
    (uniform,) = Preparation(resample="y", boundary="wall").apply(field)
    assert uniform.name == "flow"
    assert uniform.attrs["eddylift_resampled"].startswith("y: 48 uniform cells")


@pytest.mark.parametrize("dims", [("y", "nv"), ("y_face",)])
def test_cells_lie_between_their_bounds(dims: tuple[str, ...]) -> None:
    """Centres of cells do not lie on the walls."""
    edges = np.tanh(np.linspace(-2, 2, 49)) / np.tanh(2)
    bounds = np.stack([edges[:-1], edges[1:]], 1) if len(dims) > 1 else edges
    centred = channel().assign_coords(y=("y", (edges[1:] + edges[:-1]) / 2, {"units": "m", "bounds": "y_bnds"}))
    centred = centred.assign(u=2 * centred.y + 1 + 0 * centred.u, y_bnds=(dims, bounds))
    uniform = to_uniform(centred, "y")
    np.testing.assert_allclose(uniform.y, (np.arange(48) + 0.5) / 24 - 1)
    np.testing.assert_allclose(uniform.u, 2 * uniform.y + 1 + 0 * uniform.u, atol=1e-12)
    assert "y_bnds" not in uniform.variables
    assert uniform.y.attrs == {"units": "m"}
    with pytest.raises(InvalidInputError, match="y_bnds: the bounds of y; expected numbers that enclose its positions"):
        to_uniform(centred.assign(y_bnds=0.9 * centred.y_bnds), "y")


def test_a_warning_if_bounds_are_missing_or_have_another_shape() -> None:
    """As where they were dropped: the points are centres of cells, then."""
    volume = channel().assign_coords(y=channel().y.assign_attrs(bounds="y_bnds"))
    told = r"^resample: y; its bounds, y_bnds, are missing or have another shape, so its first and last"
    for each in (volume, volume.assign(y_bnds=("y_face", np.arange(5.0)))):
        with pytest.warns(EddyliftWarning, match=told):
            to_uniform(each, "y", "open")


def test_a_warning_if_walls_are_not_at_the_outer_points() -> None:
    volume = channel()
    noise = xr.DataArray(np.random.default_rng(0).standard_normal((4, 48, 5)), dims=("z", "y", "x"))
    turbulent = volume.assign(u=volume.u + noise, v=0 * noise, w=noise * (1 - volume.y**2), p=noise)
    still = turbulent.assign(u=volume.u + noise * (1 - volume.y**2))
    assert to_uniform(still, "y", "wall")
    assert to_uniform(turbulent, "y", "open")
    for each in (turbulent, turbulent[["u", "v", "w"]].to_dataarray("component").to_dataset(name="velocity")):
        with pytest.warns(EddyliftWarning, match=r"resample: y; .* not on the walls.* give CF bounds \(y_bnds\)"):
            to_uniform(each, "y", "periodic,wall:u=-1..3,periodic")
    centred = turbulent.assign_coords(y=volume.y.assign_attrs(bounds="y_bnds"))
    assert to_uniform(centred.assign(y_bnds=(("y", "nv"), np.stack([volume.y - 0.1, volume.y + 0.1], 1))), "y", "wall")


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_no_warning_where_each_plane_is_uniform_or_vorticity_varies(kind: str) -> None:
    """As in laminar Couette flow, whose moving walls have a velocity that numbers round."""
    volume = channel()
    couette = volume.assign(u=0.1 + volume.y / 3 + 0 * volume.u, w=0 * volume.u).astype(kind)
    assert to_uniform(couette, "y", "wall")
    noise = np.random.default_rng(0).standard_normal((3, 4, 48, 5)).astype(kind)
    assert to_uniform(couette.assign(vorticity=(("component", "z", "y", "x"), noise)), "y", "wall")


def test_missing_data_of_what_is_no_velocity_can_be_left_out() -> None:
    volume = channel().assign(p=channel().u.where(channel().y > 0))
    with pytest.raises(InvalidInputError, match=r"p: nan .*cut out a part without any; or leave p out by drop$"):
        to_uniform(volume, "y")
    with pytest.raises(InvalidInputError, match=r"u: nan .*cut out a part without any$"):
        to_uniform(volume.assign(u=volume.p), "y")


@pytest.mark.parametrize(
    ("said", "boundary", "refused"),
    [
        ("periodic", None, True),
        ("periodic", "wall", False),
        ("wall,wall,wall", ["periodic", " Periodic ", "wall"], True),
        ('{"y": "wall"}', None, False),
        ("wall", {"z": "wall"}, True),
        ("wall", {"y": "open"}, False),
    ],
)
def test_periodic_axes_are_not_resampled(said: str, boundary: Boundary | None, *, refused: bool) -> None:
    """Their period is not known: it is longer than from the first to the last point."""
    volume = channel().assign_attrs(boundary=said)
    with pytest.raises(InvalidInputError, match=r"resample: y; .*not periodic") if refused else nullcontext():
        Preparation(resample="y", boundary=boundary).apply(volume)


def test_the_boundary_that_is_given_wins(tmp_path: Path) -> None:
    """Of a file too, over its attribute."""
    volume = channel().assign_attrs(boundary="periodic")
    volume.to_netcdf(tmp_path / "channel.nc", engine="h5netcdf")
    opened = open_volume(tmp_path / "channel.nc", resample="y", boundary={"y": "wall"})
    assert opened.attrs["boundary"] == "periodic,wall,periodic"


def test_two_volumes_get_no_number_of_cells() -> None:
    """A coarse and a fine volume differ in it."""
    volume = channel().assign_attrs(boundary="wall")
    assert Preparation(boundary=None, resample="y:40").apply(volume)[0].sizes["y"] == 40
    with pytest.raises(InvalidInputError, match="resample: y:40; expected no number of cells for two volumes"):
        Preparation(boundary=None, resample="y:40").apply(volume, volume)


@pytest.mark.parametrize("kind", [xr.Dataset, xr.DataArray])
def test_an_axis_that_is_periodic_by_default_is_not_resampled(kind: type) -> None:
    volume = channel() if kind is xr.Dataset else channel().to_dataarray("component")
    for others in ([], [volume]):
        with pytest.raises(InvalidInputError, match="resample: y; expected a boundary too"):
            Preparation(boundary=None, resample="y").apply(volume, *others)
        assert Preparation(boundary="wall", resample="y").apply(volume, *others)
        assert Preparation(boundary=None, resample="y").apply(volume.assign_attrs(boundary="wall"), *others)


@pytest.mark.parametrize(
    ("volume", "axes", "message"),
    [
        (channel(), ["y:0"], "resample: y:0; expected an axis and its number of cells, such as y:128"),
        (channel(), ["y:"], "resample: y:; expected an axis and its number of cells"),
        (channel(), ["y:many"], "resample: y:many; expected an axis and its number of cells"),
        (channel(), "r", "resample: r; expected an axis whose points have positions"),
        (channel().drop_vars("y"), "y", "resample: y; expected an axis"),
        (channel().isel(y=[0]), "y", "y cannot be resampled: expected two or more"),
        (channel().isel(y=[0, 0, 1]), "y", "y cannot be resampled: expected two or more"),
        (channel().assign(mask=("y", np.arange(48))), "y", "mask is int64 and cannot be resampled"),
    ],
)
def test_what_cannot_be_resampled(volume: xr.Dataset, axes: Sequence[str], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        to_uniform(volume, axes)
