"""Velocities that cannot be used get the problem document that names why, and the next good request works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.service.api.refusals import GOOD, refused
from tests.service.wire import NETCDF, NPY, ZIP, dataset, files_of, joined, netcdf, noise, npy, zipped
from tests.service.wire import post_bytes as post

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr
    from fastapi.testclient import TestClient
    from numpy.typing import ArrayLike, DTypeLike, NDArray


def spoilt(value: float, dtype: type = np.float32) -> NDArray[Any]:
    array: NDArray[Any] = GOOD.astype(dtype)
    array[1, 1, 2, 3] = value
    return array


@pytest.mark.parametrize(
    "wrap", [npy, lambda array: netcdf(dataset(array)), lambda array: zipped(files_of(dataset(array)))]
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -999.9, 1e20, -1e36])
def test_what_is_no_velocity(client: TestClient, wrap: Callable[[NDArray[Any]], bytes], value: float) -> None:
    media_type = {b"\x93": NPY, b"\x89": NETCDF, b"P": ZIP}[wrap(GOOD)[:1]]
    for dtype in (np.float32, np.float64):
        error = refused(client, post(client, wrap(spoilt(value, dtype)), media_type), 422, "v")
        assert error["value"] == f"{float(dtype(value)):g} at (z, y, x) = (1, 2, 3)"


def test_float64_beyond_float32(client: TestClient) -> None:
    refused(client, post(client, npy(spoilt(1e300, np.float64))), 422, "v")


@pytest.mark.parametrize("dtype", ["i4", "u2", "c8", "c16", "?", "f2", "U4", "M8[s]", [("u", "f4"), ("v", "f4")]])
def test_dtypes_that_are_no_velocity(client: TestClient, dtype: DTypeLike) -> None:
    refused(client, post(client, npy(np.zeros((3, 4, 4, 4), dtype))), 422, "dtype")


@pytest.mark.parametrize("dtype", ["i4", "f2"])
def test_dtypes_of_variables_that_are_no_velocity(client: TestClient, dtype: str) -> None:
    volume = dataset(GOOD)
    refused(client, post(client, zipped(files_of(volume.assign(w=volume.w.astype(dtype)))), ZIP), 422, "w")


@pytest.mark.parametrize(
    "shape",
    [
        *((), (3,), (4, 4, 4), (1, 1, 3, 4, 4, 4)),
        *((2, 4, 4, 4), (4, 3, 4, 4), (4, 4, 4, 3), (3, 4, 4, 3), (3, 1, 4, 4), (3, 0, 4, 4)),
        (0, 3, 4, 4, 4),
    ],
)
def test_shapes_that_do_not_fit(client: TestClient, shape: tuple[int, ...]) -> None:
    error = refused(client, post(client, npy(noise(*shape))), 422, "shape")
    assert error["value"][-len(shape) :] == list(shape)[-len(error["value"]) :]


@pytest.mark.parametrize("shape", [(3, 4, 4, 4), (2, 3, 4, 4, 4)])
def test_frames_that_a_model_does_not_take(client: TestClient, shape: tuple[int, ...]) -> None:
    model = "conv-isotropic-x4-3frames"
    refused(client, post(client, npy(noise(*shape)), model=model), 422, "shape")
    refused(client, post(client, netcdf(dataset(noise(*shape))), NETCDF, model=model), 422, "time")


@pytest.mark.parametrize(
    ("query", "field", "value", "expected"),
    [
        ("boundry=open", "boundry", "unknown", "boundary, names, drop, model, error"),
        ("resample=y", "resample", "unknown", "boundary, names, drop, model, error"),
        ("boundary=open&boundary=wall", "boundary", "2 times", "once"),
    ],
)
def test_unknown_and_repeated_parameters(client: TestClient, query: str, field: str, value: str, expected: str) -> None:
    response = client.post(f"/v1/upscale?{query}", content=npy(GOOD), headers={"Content-Type": NPY})
    error = refused(client, response, 422, field)
    assert error["value"] == value
    assert {*error["expected"].split(", ")} == {*expected.split(", ")}
    assert client.get("/v1/models?page=2").status_code == client.get("/v1/views/box/m/u?page=2").status_code == 422


def test_a_parameter_of_another_type(client: TestClient) -> None:
    error = refused(client, post(client, npy(GOOD), error="maybe"), 422, "error")  # one error, though two parts read it
    assert (error["value"], error["expected"]) == ("maybe", "a valid boolean")


def test_a_component_without_units(client: TestClient) -> None:
    volume = dataset(GOOD)
    del volume.v.attrs["units"]
    error = refused(client, post(client, netcdf(volume), NETCDF), 422, "v")
    assert (error["value"], error["expected"]) == ("without units", "a component in m s-1, as u is")


def test_unknown_model(client: TestClient) -> None:
    error = refused(client, post(client, npy(GOOD), model="cubic-x4"), 404, "model")
    assert "trilinear-x4" in error["expected"]


@pytest.mark.parametrize("model", ["", "..", "../weights", "held-out", "a/b", "x" * 5000])
def test_no_name_leads_out_of_the_weights(client: TestClient, model: str) -> None:
    refused(client, post(client, npy(GOOD), model=model), 404, "model")


@pytest.mark.parametrize(
    "boundary", ["", "none", "periodic,wall", "periodic,wall,open,open", "periodical", "wall;open;wall"]
)
def test_unknown_boundary(client: TestClient, boundary: str) -> None:
    error = refused(client, post(client, npy(GOOD), boundary=boundary), 422, "boundary")
    assert error["value"] == boundary


@pytest.mark.parametrize("media_type", ["text/plain", "application/json", "image/png", "multipart/form-data"])
def test_unknown_container(client: TestClient, media_type: str) -> None:
    refused(client, post(client, npy(GOOD), media_type), 415, "Content-Type")


def test_unknown_bytes_of_unknown_type(client: TestClient) -> None:
    refused(client, post(client, b"u v w", "application/octet-stream"), 415, "Content-Type")


def test_one_container_called_another(client: TestClient) -> None:
    refused(client, post(client, npy(GOOD), ZIP), 400, "body")
    refused(client, post(client, netcdf(dataset(GOOD)), NPY), 400, "body")


def test_a_compressed_body(client: TestClient) -> None:
    headers = {"Content-Type": NPY, "Content-Encoding": "gzip"}
    response = client.post("/v1/upscale?model=trilinear-x4", content=npy(GOOD), headers=headers)
    refused(client, response, 415, "Content-Encoding")


def without(name: str) -> xr.Dataset:
    return dataset(GOOD).drop_vars(name)


def moved(axis: str, values: ArrayLike) -> xr.Dataset:
    return dataset(GOOD).assign_coords({axis: (axis, values)})


VOLUMES: dict[str, tuple[xr.Dataset, str]] = {
    "no v": (without("v"), "v"),
    "no velocity": (dataset(GOOD).drop_vars(["u", "v", "w"]), "variables"),
    "other names": (dataset(GOOD).rename(u="ux", v="uy", w="uz"), "variables"),
    "unknown dims": (dataset(GOOD).rename(x="lon"), "u"),
    "two dims": (dataset(GOOD).isel(z=0, drop=True), "u"),
    "a further dim": (dataset(GOOD).expand_dims(ensemble=2), "u"),
    "unlike dims": (dataset(GOOD).assign(v=dataset(GOOD).v.expand_dims(time=1)), "v"),
    "pressure": (dataset(GOOD, p=dataset(GOOD).u), "p"),
    "bounds": (dataset(GOOD, bounds=("x", np.zeros(6))), "bounds"),
    "unlike units": (dataset(GOOD).assign(w=dataset(GOOD).w.assign_attrs(units="cm s-1")), "w"),
    "two components": (joined(GOOD).isel(component=[0, 1]), "component"),
    "four components": (joined(GOOD).isel(component=[0, 1, 2, 2]), "component"),
    "unknown components": (joined(GOOD, coords={"component": [2, 3, 4]}), "component"),
    "two vector fields": (joined(GOOD).assign(vorticity=joined(GOOD).velocity), "variables"),
    "equal x": (moved("x", np.zeros(6)), "x"),
    "stretched y": (moved("y", np.arange(5.0) ** 1.5), "y"),
    "missing z": (moved("z", [0, 1, np.nan, 3]), "z"),
    "spelled z": (moved("z", np.array(list("abcd"))), "z"),
    "a coordinate over space": (dataset(GOOD).assign_coords(depth=("z", np.arange(4.0))), "depth"),
    "too small": (dataset(GOOD).isel(z=slice(3)), "shape"),
    "no times": (dataset(noise(0, 3, 4, 4, 4)), "shape"),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_datasets_that_do_not_fit(client: TestClient, name: str) -> None:
    volume, field = VOLUMES[name]
    refused(client, post(client, netcdf(volume), NETCDF), 422, field)
    refused(client, post(client, zipped(files_of(volume)), ZIP), 422, field)


def test_bodies_over_the_limit(serve: Callable[..., TestClient]) -> None:
    client = serve(max_body_bytes=4000)
    pieces = (bytes(1000) for _ in range(5))
    streamed = client.post("/v1/upscale?model=trilinear-x4", content=pieces, headers={"Content-Type": NPY})
    headers = {"Content-Type": NPY, "Content-Length": 5000 * "9"}
    said = client.post("/v1/upscale?model=trilinear-x4", content=npy(GOOD), headers=headers)
    refused(client, said, 413, "body")
    for answer in (post(client, bytes(4001)), streamed):
        refused(client, answer, 413, "body")
        for told in (answer.json()["detail"], answer.json()["errors"][0]["expected"]):
            assert told.endswith("at most 4000 bytes; upload it, and open a view of it or submit a job")


def test_volumes_over_the_limit(serve: Callable[..., TestClient]) -> None:
    client = serve(max_cells=150)
    answer = post(client, npy(noise(3, 4, 5, 8)))
    refused(client, answer, 413, "shape")
    assert "at most 150 cells in a request; upload it, and open a view of it or submit a job" in answer.text
    refused(client, post(client, netcdf(dataset(noise(2, 3, 4, 4, 5))), NETCDF), 413, "shape")


def test_other_errors_are_problem_documents(client: TestClient) -> None:
    for response, status in (
        (client.get("/v1/nothing"), 404),
        (client.get("/v1/upscale"), 405),
        (client.get("/v1/models/nothing"), 404),
        (client.delete("/v1/models"), 405),
    ):
        assert response.status_code == status
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["status"] == status
    assert client.get("/v1/upscale").headers["Allow"] == "POST"
    assert client.post("/v1/volumes/box/u/c/0").headers["Allow"] == "DELETE, GET, HEAD, PUT"


@pytest.mark.parametrize("naming", [{"names": "u:v,v:u"}, {"drop": "u"}, {"names": ":"}])
def test_names_of_a_bare_array(client: TestClient, naming: dict[str, str]) -> None:
    """They would be ignored."""
    (field,) = naming
    assert (
        refused(client, post(client, npy(GOOD), **naming), 422, field)["expected"]
        == "none, as bare arrays have no names"
    )
    files = {"reference": npy(noise(3, 16, 16, 16)), "coarse": npy(noise(3, 4, 4, 4))}
    query = {"model": "trilinear-x4", **naming}
    refused(client, client.post("/v1/validate", files=files, params=query), 422, field)


def test_empty_names(client: TestClient) -> None:
    error = refused(client, post(client, netcdf(dataset(GOOD)), NETCDF, names="u:"), 422, "names")
    assert error["expected"] == "a name after the colon, as in Ux:u"


PART = b'--a\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    ("media_type", "body", "found"),
    [
        ("multipart/form-data", b"x", "Missing boundary in multipart"),
        ("multipart/form-data; boundary=b", PART % b"reference", "Invalid multipart data"),
        ("multipart/form-data; boundary=a", PART % b"a" + PART % b"b" + PART % b"c", "Too many files. Maximum"),
    ],
)
def test_broken_forms(client: TestClient, media_type: str, body: bytes, found: str) -> None:
    answer = client.post("/v1/validate", content=body, headers={"Content-Type": media_type})
    error = refused(client, answer, 400, "body")
    assert error["value"].startswith(found)
    assert error["expected"] == "multipart/form-data, with its boundary, of parts named coarse and reference, each once"
