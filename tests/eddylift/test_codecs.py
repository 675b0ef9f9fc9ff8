from __future__ import annotations

import io
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from eddylift import InvalidInputError, UnexpectedAnswerError
from eddylift._codecs import (
    NETCDF,
    NPY,
    PIECE,
    Answer,
    Body,
    Volume,
    encode,
    multipart,
    read_netcdf,
    read_npy,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def sent(body: Body) -> Answer:
    return Answer(body.content_type, io.BytesIO(b"".join(body.pieces())))


def round_trip(volume: Volume) -> Volume:
    """What a service that makes nothing finer would answer."""
    body, read = encode(volume)
    answer: Volume = read(sent(body))
    return answer


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f8", "f2"])
def test_arrays_travel_as_float32(array: NDArray[np.float32], dtype: str) -> None:
    body, _ = encode(array.astype(dtype))
    assert body.content_type == NPY
    fine = read_npy(sent(body))
    assert fine.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(fine, array.astype(dtype).astype("f4"))


@pytest.mark.parametrize("dtype", ["i4", "c8", "?"])
def test_what_is_not_real_is_left_to_the_service_to_refuse(array: NDArray[np.float32], dtype: str) -> None:
    assert round_trip(array.astype(dtype)).dtype == dtype


def test_arrays_of_any_memory_order(array: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(round_trip(np.asfortranarray(array)[..., ::-2]), array[..., ::-2])


def test_masked_values_are_refused(array: NDArray[np.float32]) -> None:
    masked = np.ma.masked_greater(array, 1)
    with pytest.raises(InvalidInputError, match=rf"^the volume has {masked.mask.sum()} masked values"):
        encode(masked)


@pytest.mark.parametrize("volume", [[1.0], None, "field.nc"])
def test_other_kinds_are_refused(volume: object) -> None:
    with pytest.raises(InvalidInputError, match=f"got {type(volume).__name__}"):
        encode(volume)  # type: ignore[arg-type]


def test_objects_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"Python objects"):
        encode(np.array([{}]))


def test_datasets_keep_coordinates_and_attributes(dataset: xr.Dataset) -> None:
    dataset = dataset.expand_dims(time=np.array(["2024-01-01", "2024-01-02"], "M8[ns]")).assign_coords(
        station=("probe", list("abcd"))
    )
    xr.testing.assert_identical(round_trip(dataset), dataset)


def test_velocity_travels_as_float32_and_nothing_else_travels(dataset: xr.Dataset) -> None:
    beside = {"run": 1.5, "step": ("probe", [16777217.0]), "flag": True, "done": np.timedelta64(1, "ns")}
    wide = dataset.astype("f8").assign(beside).assign_attrs(params={"Re": 5000}, doi=None, dealiased=True, tags=[])
    body, read = encode(wide)
    travelled = read_netcdf(sent(body))
    assert set(travelled.variables) == {"u", "v", "w", "x", "y"}
    assert travelled.attrs == {}
    back = read(sent(body))
    assert {back[name].dtype for name in "uvw"} == {np.dtype("f4")}
    xr.testing.assert_identical(back.drop_vars(list("uvw")), wide.drop_vars(list("uvw")))
    assert back["u"].attrs == {"units": "m/s"}
    assert list(back.data_vars) == list(wide.data_vars)


@pytest.mark.parametrize("boundary", ["periodic,wall,periodic", ["periodic", "wall", "periodic"]])
def test_the_boundary_of_a_volume_travels(dataset: xr.Dataset, boundary: object) -> None:
    body, _ = encode(dataset.assign_attrs(boundary=boundary))
    assert read_netcdf(sent(body)).attrs == {"boundary": "periodic,wall,periodic"}


def test_an_answer_at_one_of_several_times_has_what_belongs_to_it(dataset: xr.Dataset) -> None:
    series = dataset.expand_dims(time=[0.5, 1.5, 2.5]).assign(step=("time", [1, 2, 3]))
    body, read = encode(series)
    middle = read_netcdf(sent(body)).isel(time=[1]).to_netcdf(engine="h5netcdf")
    xr.testing.assert_identical(read(Answer(NETCDF, io.BytesIO(middle))), series.isel(time=[1]))


@pytest.mark.parametrize(
    "times",
    [
        xr.Variable("time", [2.5, 1.5], {"units": "eddy turnovers"}),
        xr.Variable("time", np.array(["2024-01-02", "2024-01-01"], "M8[ns]")),
    ],
    ids=["numbers", "dates"],
)
def test_times_and_units_of_axes_travel(dataset: xr.Dataset, times: xr.Variable) -> None:
    volume = dataset.expand_dims(time=2).assign_coords(
        time=times, y=("y", dataset.y.values, {"units": "m", "bounds": "y_b"})
    )
    travelled = xr.decode_cf(read_netcdf(sent(encode(volume)[0])))
    xr.testing.assert_identical(travelled["time"].variable, times.to_index_variable())
    assert travelled["y"].attrs == {"units": "m"}
    unnamed = dataset.expand_dims(time=["a", "b"])
    assert "time" not in read_netcdf(sent(encode(unnamed)[0])).coords


@pytest.mark.parametrize(
    "attributes",
    [
        {"units": "days since 2000-01-01", "calendar": "noleap"},
        {"units": "days since 2000-01-01", "calendar": "none"},
        {"units": "days since 0000-01-01"},
        {"units": "months since 2000-01-01"},
        {"units": "seconds since start"},
    ],
)
def test_times_that_cannot_be_decoded_stay_on_the_answer(dataset: xr.Dataset, attributes: dict[str, str]) -> None:
    series = dataset.expand_dims(time=2).assign_coords(time=("time", [0.5, 1.5], attributes))
    xr.testing.assert_identical(round_trip(series), series)


@pytest.mark.parametrize("times", [np.array(["2024-01-01", "2024-01-02"], "M8[ns]"), np.array([1, 2], "m8[ns]")])
def test_dates_and_durations_may_have_units_of_their_own(dataset: xr.Dataset, times: NDArray[Any]) -> None:
    noted = ("time", times, {"units": "days since 2000-01-01", "calendar": "standard"})
    series = dataset.expand_dims(time=2).assign_coords(time=noted)
    xr.testing.assert_identical(round_trip(series), series)


def test_notes_of_the_service_go_below_an_earlier_history(dataset: xr.Dataset) -> None:
    for volume in (dataset, dataset.to_dataarray("component")):
        body, read = encode(volume.assign_attrs(history="made", title="box"))
        noted = read_netcdf(sent(body)).assign_attrs(history="lifted", eddylift_model="m").to_netcdf(engine="h5netcdf")
        found = read(Answer(NETCDF, io.BytesIO(noted))).attrs
        assert found == {"history": "made\nlifted", "title": "box", "eddylift_model": "m"}


@pytest.mark.parametrize("stored", [{"dtype": "int16"}, {}])
def test_packing_of_the_file_a_dataset_came_from_is_dropped(dataset: xr.Dataset, stored: dict[str, str]) -> None:
    dataset["u"].encoding = {**stored, "scale_factor": 10.0, "_FillValue": -999}
    xr.testing.assert_identical(round_trip(dataset), dataset)


@pytest.mark.parametrize("name", [None, "flow", "velocity"])
def test_data_arrays_keep_their_name(array: NDArray[np.float32], name: str | None) -> None:
    field = xr.DataArray(array, dims=("component", "z", "y", "x"), coords={"component": list("uvw")}, name=name)
    xr.testing.assert_identical(round_trip(field), field)


def test_dataset_with_a_variable_called_name(dataset: xr.Dataset) -> None:
    assert isinstance(round_trip(dataset.assign(name=1.0)), xr.Dataset)


@pytest.mark.parametrize("read", [read_npy, read_netcdf])
def test_answers_of_another_type(read: Callable[[Answer], object]) -> None:
    with pytest.raises(UnexpectedAnswerError, match=r"^the answer is text/html, expected application/"):
        read(Answer("text/html", io.BytesIO()))


@pytest.mark.parametrize("cut", [0, 7, 60, 200])
def test_torn_answers(array: NDArray[np.float32], dataset: xr.Dataset, cut: int) -> None:
    for volume, read in ((array, read_npy), (dataset, read_netcdf)):
        body, _ = encode(volume)
        with pytest.raises(UnexpectedAnswerError, match=r"^the answer is not a whole"):
            read(Answer(body.content_type, io.BytesIO(b"".join(body.pieces())[:cut])))


def test_pickles_are_never_loaded() -> None:
    file = io.BytesIO()
    np.save(file, np.array([{}]), allow_pickle=True)
    file.seek(0)
    with pytest.raises(UnexpectedAnswerError):
        read_npy(Answer(NPY, file))


def test_answers_without_velocity(dataset: xr.Dataset) -> None:
    body, read = encode(dataset)
    other = read_netcdf(sent(body)).drop_vars("w").to_netcdf(engine="h5netcdf")
    with pytest.raises(UnexpectedAnswerError, match=r"^the answer holds u\(z, y, x\), v\(z, y, x\), expected u, v, w"):
        read(Answer(NETCDF, io.BytesIO(other)))


def test_bodies_go_out_in_pieces() -> None:
    content = np.random.default_rng(0).bytes(2 * PIECE + 3)
    body = Body(NPY, (b"head", memoryview(content), b""))
    assert body.size == len(content) + 4
    assert [len(piece) for piece in body.pieces()] == [4, PIECE, PIECE, 3]
    assert b"".join(body.pieces()) == b"head" + content


def test_multipart_is_read_by_others(array: NDArray[np.float32], dataset: xr.Dataset) -> None:
    parts = {"coarse": encode(array)[0], "reference": encode(dataset)[0]}
    body = multipart(parts)
    head = f"Content-Type: {body.content_type}\r\n\r\n".encode()
    message = message_from_bytes(head + b"".join(body.pieces()), policy=default)
    assert not message.defects
    found = {str(part.get_param("name", header="content-disposition")): part for part in message.iter_parts()}
    assert {name: part.get_content_type() for name, part in found.items()} == {"coarse": NPY, "reference": NETCDF}
    for name, part in found.items():
        assert part.get_filename() == name
        assert part.get_payload(decode=True) == b"".join(parts[name].pieces())
