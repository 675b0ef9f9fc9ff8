"""Velocity under other names, in other orders and along descending axes, and what cannot be made finer."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr

from eddylift import InvalidInputError
from eddylift._codecs import as_dataset
from eddylift._preparation import Preparation
from eddylift._velocity import find, put_back, split, standard, take

if TYPE_CHECKING:
    from numpy.typing import NDArray

AXES = ("z", "y", "x")


def named(array: NDArray[np.float32], names: tuple[str, ...], dims: tuple[str, ...] = AXES) -> xr.Dataset:
    coordinates = {dim: np.arange(n) + 0.5 for dim, n in zip(dims, array.shape[1:], strict=True)}
    return xr.Dataset({name: (dims, part) for name, part in zip(names, array, strict=True)}, coordinates)


def joined(array: NDArray[np.float32], labels: list[object] | None) -> xr.Dataset:
    field = xr.DataArray(np.moveaxis(array, 0, -1), dims=(*AXES, "component"), name="vel")
    return (field if labels is None else field.assign_coords(component=labels)).to_dataset()


def test_the_option_names_is_told_where_no_names_are_usual(array: NDArray[np.float32]) -> None:
    for volume in (
        named(array, ("a", "b", "c"), ("lev", "lat_", "lon_")),
        named(array, ("u", "v", "w"), ("p", "q", "r")),
    ):
        with pytest.raises(InvalidInputError, match=r"names renames variables and dims, .*--names Ux:u,lev:z\)$"):
            find(volume)


@pytest.mark.parametrize(
    ("names", "dims"),
    [
        (("Ux", "Uy", "Uz"), AXES),
        (("U", "V", "W"), AXES),
        (("velocity_x", "velocity_y", "velocity_z"), AXES),
        (("uo", "vo", "wo"), ("depth", "latitude", "longitude")),
        (("u", "v", "w"), ("Z", "Y", "X")),
        (("u", "v", "w"), ("lev", "lat", "lon")),
        (("vel_u", "vel_v", "vel_w"), ("k", "j", "i")),
    ],
)
def test_usual_names_are_offered_as_the_option_to_give(
    array: NDArray[np.float32], names: tuple[str, ...], dims: tuple[str, ...]
) -> None:
    volume = named(array, names, dims)
    pairs = {old: new for old, new in zip((*names, *dims), "uvwzyx", strict=True) if old != new}
    spelled = ",".join(f"{old}:{new}" for old, new in pairs.items())
    with pytest.raises(InvalidInputError) as caught:
        find(volume)
    assert str(caught.value).endswith(f"; pass names={pairs} (on the command line --names {spelled})")
    (prepared,) = Preparation(names=spelled).apply(volume)
    np.testing.assert_array_equal(take(prepared, find(prepared)).to_dataarray(), array)


def test_attributes_of_missing_data_go_to_the_service_and_stay_off_the_answer(array: NDArray[np.float32]) -> None:
    """Also of what was opened without decoding; a range of packed numbers is unpacked as they are."""
    raw = named(array, ("u", "v", "w"))
    raw["u"].attrs = {"_FillValue": -999.0, "missing_value": [-1.0, -2.0], "valid_min": -5.0, "units": "m/s"}
    raw["v"].attrs = {"scale_factor": 0.5, "add_offset": 1.0, "long_name": "v"}
    raw["w"].attrs, raw["w"].encoding = {"valid_max": np.int16(8)}, {"scale_factor": 0.5, "dtype": np.dtype("i2")}
    sent = take(raw, find(raw))
    assert sent["u"].attrs == {"missing_value": [-999.0, -1.0, -2.0], "valid_min": -5.0, "units": "m/s"}
    assert sent["v"].attrs == {"scale_factor": 0.5, "add_offset": 1.0}
    assert sent["w"].attrs == {"valid_max": 4.0}
    answer = put_back(raw, find(raw), sent.drop_attrs())
    assert [answer[name].attrs for name in "uvw"] == [{"units": "m/s"}, {"long_name": "v"}, {}]


def test_positions_far_from_zero_are_as_even_as_their_type_allows(array: NDArray[np.float32]) -> None:
    far = (1e5 + 0.05 * np.arange(array.shape[-1])).astype("f4")
    assert find(named(array, ("u", "v", "w")).assign_coords(x=far)).variables == ("u", "v", "w")


def test_labels_that_are_numbers(array: NDArray[np.float32]) -> None:
    for labels in ([2, 0, 1], [3.0, 1.0, 2.0]):
        assert find(joined(array, [*labels])).order == (1, 2, 0)


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ('["periodic", "wall", "periodic"]', "periodic,wall,periodic"),
        ('{"y": "wall"}', "periodic,wall,periodic"),
        (np.array(["open", "wall", "open"]), "open,wall,open"),
        (np.int64(1), "1"),
        ("slip", "slip"),
        ({"r": "wall"}, "{'r': 'wall'}"),
    ],
)
def test_the_attribute_boundary(array: NDArray[np.float32], said: object, sent: str) -> None:
    volume = named(array, ("u", "v", "w")).assign_attrs(boundary=said)
    assert take(volume, find(volume)).attrs == {"boundary": sent}
    answer = take(volume, find(volume)).assign_attrs(boundary="open,open,open")
    assert put_back(volume, find(volume), answer).attrs == {"boundary": "open,open,open"}


def test_what_the_service_reads_of_coordinates(array: NDArray[np.float32]) -> None:
    """The direction of z, and a scalar time, as `isel(time=3)` leaves it; dates that are objects are not sent."""
    volume = named(array, ("u", "v", "w")).assign_coords(time=((), 3.0, {"units": "s", "long_name": "t"}))
    volume["z"].attrs = {"positive": "down", "axis": "Z"}
    sent = take(volume, find(volume))
    assert sent["z"].attrs == {"positive": "down"}
    assert (sent["time"].dims, sent["time"].item(), sent["time"].attrs) == ((), 3.0, {"units": "s"})
    assert "time" not in take(volume.assign_coords(time=dt.date(2020, 1, 1)), find(volume)).coords
    xr.testing.assert_identical(put_back(volume, find(volume), sent).coords.to_dataset(), volume.coords.to_dataset())


def test_times_called_t(array: NDArray[np.float32]) -> None:
    with pytest.raises(InvalidInputError, match=r"pass names=\{'t': 'time'\} \(on the command line --names t:time\)"):
        find(named(array, ("u", "v", "w")).expand_dims("t"))


def test_dims_that_xarray_made_up(array: NDArray[np.float32]) -> None:
    parts = named(array, ("u", "v", "w"))
    last, alone = np.moveaxis(array, 0, -1), parts.to_dataarray().rename(variable="dim_0")
    fields = (parts.to_dataarray(), alone, alone.transpose(..., "dim_0"))
    for field in (*fields, *map(xr.DataArray, (array, array[None], last, last[None]))):
        with pytest.raises(InvalidInputError) as caught:
            find(as_dataset(field))
        offered = str(caught.value).rpartition("--names ")[2].removesuffix(")")
        (prepared,) = Preparation(names=offered).apply(as_dataset(field))
        np.testing.assert_array_equal(split(prepared, find(prepared))["v"].squeeze(), array[1])


def test_the_order_of_dims_that_xarray_made_up_is_told(array: NDArray[np.float32]) -> None:
    """As it is not known: they could be x, y, z. Where no dim or more than one has three cells, nothing is offered."""
    with pytest.raises(
        InvalidInputError, match=r"; if its dims are in this order, pass names=\{'dim_0': 'component', "
    ):
        find(as_dataset(xr.DataArray(array)))
    for shape in ((3, 4, 4, 3), (4, 4, 4, 4)):
        with pytest.raises(InvalidInputError, match=r"; names renames variables and dims, as"):
            find(as_dataset(xr.DataArray(np.zeros(shape))))


def test_a_staggered_grid(array: NDArray[np.float32]) -> None:
    staggered = {name: ((*AXES[:2], f"x_{name}"), part) for name, part in zip(("ux", "uy", "uz"), array, strict=True)}
    with pytest.raises(InvalidInputError, match=r"; on a staggered grid, first interpolate the components to"):
        find(xr.Dataset(staggered))


def test_what_cannot_be_a_volume(array: NDArray[np.float32]) -> None:
    with pytest.raises(InvalidInputError, match=r"got Array; call its method compute\(\) first$"):
        as_dataset(xr.DataArray(array).chunk().data)
    field = xr.DataArray(array, dims=("component", *AXES), coords={"velocity": 1.0})
    with pytest.raises(InvalidInputError, match=r"^velocity: a dim or coordinate of the array; expected another name"):
        as_dataset(field)
    with pytest.raises(
        InvalidInputError, match=r"got \(5, 5, 5, 3\); np\.moveaxis\(array, -1, -4\) moves the components"
    ):
        as_dataset(np.zeros((5, 5, 5, 3)))


def test_what_looks_like_nothing_is_not_guessed(array: NDArray[np.float32]) -> None:
    with pytest.raises(InvalidInputError, match=r"got a\(z, y, x\), b\(z, y, x\), c\(z, y, x\); names renames"):
        find(named(array, ("a", "b", "c")))


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (None, (0, 1, 2)),
        (["u", "v", "w"], (0, 1, 2)),
        ([b"u", b"v", b"w"], (0, 1, 2)),
        (["x", "y", "z"], (0, 1, 2)),
        ([1, 2, 3], (0, 1, 2)),
        (["w", "v", "u"], (2, 1, 0)),
        (["Uy", "Uz", "Ux"], (2, 0, 1)),
    ],
)
def test_labels_say_which_component_is_which(
    array: NDArray[np.float32], labels: list[object] | None, order: tuple[int, ...]
) -> None:
    volume = joined(array, labels)
    velocity = find(volume)
    assert velocity.order == order
    sent = take(volume, velocity)
    np.testing.assert_array_equal(sent.to_dataarray(), array[list(order)])
    xr.testing.assert_identical(put_back(volume, velocity, sent), volume)
    stored = standard(volume, velocity)
    np.testing.assert_array_equal(stored["vel"].transpose("component", ...), array[list(order)])
    assert "component" not in stored.coords or stored["component"].values.tolist() == ["u", "v", "w"]


@pytest.mark.parametrize("labels", [["u", "v", "p"], [0, 2, 3], ["u", "u", "w"]])
def test_labels_that_do_not_say(array: NDArray[np.float32], labels: list[object]) -> None:
    with pytest.raises(InvalidInputError, match=r"a dim component of u, v, w"):
        find(joined(array, labels))


@pytest.mark.parametrize("dtype", ["f8", "u2"])
def test_descending_axes_are_sent_as_they_are(array: NDArray[np.float32], dtype: str) -> None:
    """The service reverses them, and must know that they descend when it compares two volumes."""
    falling = named(array, ("u", "v", "w")).assign_coords(y=np.arange(array.shape[-2], dtype=dtype)[::-1])
    velocity = find(falling)
    sent = take(falling, velocity)
    xr.testing.assert_equal(sent, falling)
    xr.testing.assert_identical(put_back(falling, velocity, sent), falling)
    xr.testing.assert_equal(standard(falling, velocity), falling)
    np.testing.assert_array_equal(split(falling, velocity)["u"], array[0, :, ::-1])


def test_what_else_lies_over_space_is_offered_to_be_dropped(array: NDArray[np.float32]) -> None:
    volume = named(array, ("u", "v", "w"))
    more = volume.assign(p=volume["u"], U=("y", np.arange(3.0))).assign_coords(metric=("x", np.arange(4.0)))
    with pytest.raises(InvalidInputError, match=r"drop=\['p', 'U', 'metric'\] \(on the command line --drop p,U,metric"):
        find(more)
    (prepared,) = Preparation(drop=["p", "U", "metric"]).apply(more)
    xr.testing.assert_identical(prepared, volume)


def with_bounds(volume: xr.Dataset, *axes: str) -> xr.Dataset:
    """Give the cells CF bounds."""
    for axis in axes:
        volume = volume.assign({f"{axis}_bnds": ((axis, "nv"), volume[axis].values[:, None] + [-0.5, 0.5])})
        volume = volume.assign_coords({axis: volume[axis].assign_attrs(bounds=f"{axis}_bnds", units="m")})
    return volume


def test_cf_bounds_are_not_taken_for_fields(array: NDArray[np.float32]) -> None:
    """The answer has none, as those of the coarse cells do not fit it."""
    volume = with_bounds(named(array, ("u", "v", "w")), *AXES)
    for bounded in (volume, volume.expand_dims("time"), xr.decode_cf(volume, decode_coords="all")):
        velocity = find(bounded)
        sent = take(bounded, velocity)
        assert {*sent.variables} == {*"uvwzyx"}
        fine = sent.isel(x=[0, 0, 1, 1])
        answer = put_back(bounded, velocity, fine)
        assert ({*answer.variables}, answer["x"].attrs) == ({*"uvwzyx"}, {"units": "m"})
    for attribute in ("p", "x", "u", "z_bnds"):
        volume["y"].attrs["bounds"] = attribute
        with pytest.raises(InvalidInputError, match=r"^y_bnds: a variable over space"):
            find(volume)


def test_a_stretched_axis_is_told_before_its_bounds(array: NDArray[np.float32]) -> None:
    volume = named(array, ("u", "v", "w")).assign_coords(y=[0.0, 1.0, 3.0])
    with pytest.raises(InvalidInputError, match=r"^y is .* its end points; if these are centres of cells, first store"):
        find(volume)
    with pytest.raises(InvalidInputError, match=r"^y is stretched, .* between its bounds, y_bnds$"):
        find(with_bounds(volume, "y"))


def test_names_and_variables_that_are_not_there(array: NDArray[np.float32]) -> None:
    volume = named(array, ("u", "v", "w"))
    with pytest.raises(InvalidInputError, match=r"^names has Ux; the volume has u, v, w, x, y, z$"):
        Preparation(names={"Ux": "u"}).apply(volume)
    with pytest.raises(InvalidInputError, match=r"^drop has p; the volume has"):
        Preparation(drop=["p"]).apply(volume)
    for names in ({"u": "v"}, {"u": "y"}, {"x": "y"}, {"x": "i", "y": "i"}):
        with pytest.raises(InvalidInputError, match=r"^names cannot be .*: the volume would have two of one name$"):
            Preparation(names=names).apply(volume.drop_vars(AXES))
    with pytest.raises(InvalidInputError, match=r"got a bare array$"):
        Preparation(drop=["p"]).apply(array)


def test_a_data_array_has_its_dims_and_coordinates_renamed(array: NDArray[np.float32]) -> None:
    field = xr.DataArray(array, dims=("component", "lev", "y", "x"), coords={"velocity": 1.0, "p": 2.0}, name="flow")
    (prepared,) = Preparation(names={"velocity": "speed", "lev": "z"}, drop=["p"]).apply(field)
    expected = xr.DataArray(array, dims=("component", *AXES), coords={"speed": 1.0}, name="flow")
    xr.testing.assert_identical(prepared, expected)
    told = "the volume has component, speed, x, y, z, and is a DataArray, whose own name does not matter"
    for name in ("flow", "velocity"):
        for option, value in (("names", {name: "u"}), ("drop", [name])):
            with pytest.raises(InvalidInputError, match=rf"^{option} has {name}; {told}$"):
                Preparation(**{option: value}).apply(prepared.rename(name))  # type: ignore[arg-type]


def test_options_may_be_text_or_lists(array: NDArray[np.float32]) -> None:
    volume = named(array, ("Ux", "v", "w")).assign(p=3.0)
    (as_text,) = Preparation("Ux : u", "p", "y, z", "open").apply(volume)
    (as_lists,) = Preparation({"Ux": "u"}, ["p"], ["y", "z"], "open").apply(volume)
    xr.testing.assert_identical(as_text, as_lists)
    assert set(as_text.data_vars) == {"u", "v", "w"}
    for option in ("names", "drop", "resample"):
        with pytest.raises(InvalidInputError, match=rf"^{option}: 5; expected text or a list$"):
            Preparation(**{option: 5}).apply(volume)  # type: ignore[arg-type]


def test_a_pair_may_be_named_differently(array: NDArray[np.float32]) -> None:
    coarse, reference = named(array, ("u", "v", "w")), named(array, ("U", "v", "w"))
    prepared = Preparation(names={"U": "u"}).apply(coarse, reference)
    xr.testing.assert_identical(prepared[0], prepared[1])


@pytest.mark.parametrize(
    "y", [("y", np.array(["2000-01-01", "2000-01-02", "2000-01-03"], "M8[ns]")), (("y", "x"), np.zeros((3, 4)))]
)
def test_positions_that_are_no_numbers(array: NDArray[np.float32], y: tuple[object, object]) -> None:
    parts = {name: (AXES, part) for name, part in zip("uvw", array, strict=True)}
    with pytest.raises(
        InvalidInputError, match=r"^y: .*; expected the positions of the cells along y as numbers; drop='y' leaves"
    ):
        find(xr.Dataset({**parts, "y": y}))
