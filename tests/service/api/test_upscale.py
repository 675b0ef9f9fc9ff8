"""Served answers are the model's own, in the container and layout that came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import xarray as xr

from models.blocks import parse_boundary
from models.operators import coarsen
from models.superresolution import upscale
from tests.service.wire import (
    NETCDF,
    NPY,
    ZIP,
    dataset,
    files_of,
    from_netcdf,
    from_npy,
    from_zip,
    joined,
    netcdf,
    noise,
    npy,
    zipped,
)
from tests.service.wire import post_bytes as post

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient
    from numpy.typing import NDArray

    from models.catalogue import Catalogue

LEARNED = "relaxed-isotropic-x4"
BOUNDARIES = ["periodic", "wall", "open", "periodic,wall,open"]


def answered(client: TestClient, array: NDArray[Any], **query: str) -> NDArray[np.float32]:
    response = post(client, npy(array), **query)
    assert response.status_code == 200, response.text
    return from_npy(response.content)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("model", ["trilinear-x4", LEARNED])
def test_an_answer_has_the_bits_of_the_model(
    client: TestClient, catalogue: Catalogue, model: str, boundary: str
) -> None:
    coarse = noise(3, 6, 5, 4)
    wanted = upscale(catalogue.load(model), coarse, parse_boundary(boundary))
    served = answered(client, coarse, model=model, boundary=boundary)
    assert served.dtype == np.float32
    np.testing.assert_array_equal(served, wanted)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("model", ["trilinear-x4", LEARNED])
def test_blocks_computed_together_have_the_bits_of_blocks_computed_alone(
    serve: Callable[..., TestClient], catalogue: Catalogue, model: str, boundary: str
) -> None:
    client = serve(block=4)
    coarse = noise(3, 7, 8, 9)
    wanted = upscale(catalogue.load(model), coarse, parse_boundary(boundary), block=4)
    np.testing.assert_array_equal(answered(client, coarse, model=model, boundary=boundary), wanted)
    assert 'eddylift_batch_blocks_bucket{le="1.0",model="' + model + '"} 0.0' in client.get("/metrics").text


def test_an_answer_says_what_made_it(client: TestClient, catalogue: Catalogue) -> None:
    headers = post(client, npy(noise(3, 4, 4, 4)), model=LEARNED, boundary="wall").headers
    assert headers["Content-Type"] == NPY
    assert headers["Eddylift-Model"] == LEARNED
    assert headers["Eddylift-Weights-SHA256"] == catalogue.card(LEARNED).sha256
    assert headers["Eddylift-Boundary"] == "wall,wall,wall"
    steps = [step.partition(";dur=") for step in headers["Server-Timing"].split(", ")]
    assert [name for name, _, _ in steps] == ["receive", "read", "queue", "compute", "write"]
    assert all(float(milliseconds) >= 0 for _, _, milliseconds in steps)


def test_a_boundary_not_given_is_periodic(client: TestClient) -> None:
    coarse = noise(3, 4, 5, 4)
    np.testing.assert_array_equal(answered(client, coarse), answered(client, coarse, boundary="periodic"))


@pytest.mark.parametrize(
    "other",
    [
        lambda array: array.astype(">f4"),
        lambda array: array.astype(np.float64),
        lambda array: array.astype(">f8"),
        np.asfortranarray,
    ],
    ids=["big-endian", "float64", "big-endian float64", "Fortran order"],
)
def test_arrays_may_be_stored_in_other_ways(
    client: TestClient, other: Callable[[NDArray[np.float32]], NDArray[Any]]
) -> None:
    coarse = noise(3, 4, 5, 6)
    np.testing.assert_array_equal(answered(client, other(coarse)), answered(client, coarse))


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_both_versions_of_npy_are_read(client: TestClient, version: tuple[int, int], tmp_path: Path) -> None:
    coarse = noise(3, 4, 4, 4)
    with (tmp_path / "coarse.npy").open("wb") as file:
        np.lib.format.write_array(file, coarse, version)
    response = post(client, (tmp_path / "coarse.npy").read_bytes())
    np.testing.assert_array_equal(from_npy(response.content), answered(client, coarse))


def test_a_container_may_go_unnamed(client: TestClient) -> None:
    coarse = noise(3, 4, 4, 4)
    assert post(client, npy(coarse), "application/x-www-form-urlencoded").headers["Content-Type"] == NPY
    assert post(client, netcdf(dataset(coarse)), "application/octet-stream").headers["Content-Type"] == NETCDF
    assert post(client, zipped(files_of(dataset(coarse))), "").headers["Content-Type"] == ZIP


def test_a_uniform_flow_stays_one(client: TestClient) -> None:
    coarse = np.broadcast_to(np.array([1, -2, 0.5], np.float32)[:, None, None, None], (3, 4, 4, 4))
    fine = answered(client, coarse, model=LEARNED)
    np.testing.assert_array_equal(fine, np.broadcast_to(coarse[:, :1, :1, :1], (3, 16, 16, 16)))


def test_times_of_an_array_are_volumes_of_their_own(client: TestClient) -> None:
    coarse = noise(2, 3, 4, 5, 6)
    each = np.stack([answered(client, level) for level in coarse])
    np.testing.assert_array_equal(answered(client, coarse), each)
    np.testing.assert_array_equal(answered(client, coarse[:1]), each[:1])


def test_three_frames_slide_over_a_longer_series(client: TestClient, catalogue: Catalogue) -> None:
    name = next(name for name in catalogue.names() if catalogue.card(name).frames == 3)
    coarse = noise(5, 3, 4, 5, 6)
    model = catalogue.load(name)
    wanted = np.stack([upscale(model, coarse[at : at + 3], ("periodic",) * 3) for at in range(3)])
    response = post(client, npy(coarse), model=name)
    np.testing.assert_array_equal(from_npy(response.content), wanted)
    told = "the model takes 3 times: the first 1 and the last 1 of 5 have no answer"
    assert response.headers["X-Eddylift-Warning"] == told
    fine = from_netcdf(post(client, netcdf(dataset(coarse)), NETCDF, model=name).content)
    np.testing.assert_array_equal(fine.u.values, wanted[:, 0])
    np.testing.assert_array_equal(fine.time, dataset(coarse).time[1:4])


def test_three_frames_make_one_fine_field(client: TestClient, catalogue: Catalogue) -> None:
    name = next(name for name in catalogue.names() if catalogue.card(name).frames == 3)
    coarse = noise(3, 3, 4, 5, 6)
    wanted = upscale(catalogue.load(name), coarse, ("periodic",) * 3)
    response = post(client, npy(coarse), model=name)
    np.testing.assert_array_equal(from_npy(response.content), wanted)
    assert "X-Eddylift-Warning" not in response.headers
    volume = dataset(coarse)
    fine = from_netcdf(post(client, netcdf(volume), NETCDF, model=name).content)
    np.testing.assert_array_equal(fine.u.values[0], wanted[0])
    np.testing.assert_array_equal(fine.time, volume.time[1:2])


ROUND_TRIPS: dict[str, tuple[str, Callable[[xr.Dataset], bytes], Callable[[bytes], xr.Dataset]]] = {
    "netcdf": (NETCDF, netcdf, from_netcdf),
    "deflated netcdf": (
        NETCDF,
        lambda volume: netcdf(
            volume, encoding={name: {"zlib": True, "shuffle": True, "fletcher32": True} for name in volume.data_vars}
        ),
        from_netcdf,
    ),
    "zarr v3": (ZIP, lambda volume: zipped(files_of(volume)), from_zip),
    "zarr v2": (ZIP, lambda volume: zipped(files_of(volume, version=2)), from_zip),
    "zarr with consolidated metadata": (
        ZIP,
        lambda volume: zipped(files_of(volume, consolidated=True)),
        from_zip,
    ),
    "zarr in a folder": (
        ZIP,
        lambda volume: zipped(files_of(volume), root="my.zarr/"),
        lambda content: from_zip(content, root="my.zarr/"),
    ),
    "sharded zarr": (
        ZIP,
        lambda volume: zipped(
            files_of(
                volume,
                encoding={
                    name: {"chunks": (2,) * array.ndim, "shards": (4,) * array.ndim}
                    for name, array in volume.data_vars.items()
                    if array.ndim
                },
            )
        ),
        from_zip,
    ),
}


@pytest.fixture(params=ROUND_TRIPS)
def send(request: pytest.FixtureRequest, client: TestClient) -> Callable[..., xr.Dataset]:
    """Send a dataset and read the answer, in each container."""
    media_type, write, read = ROUND_TRIPS[request.param]

    def there_and_back(volume: xr.Dataset, **query: str) -> xr.Dataset:
        response = post(client, write(volume), media_type, **query)
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"] == media_type
        return read(response.content)

    return there_and_back


def test_a_dataset_comes_back_finer(client: TestClient, send: Callable[..., xr.Dataset]) -> None:
    coarse = noise(3, 4, 5, 6)
    volume = dataset(coarse, viscosity=xr.Variable((), 0.01, {"units": "m2 s-1"}))
    fine = send(volume, boundary="periodic,wall,open")
    wanted = answered(client, coarse, boundary="periodic,wall,open")
    assert set(fine.data_vars) == set(volume.data_vars)
    for part, name in zip(wanted, "uvw", strict=True):
        assert fine[name].dims == ("z", "y", "x")
        assert fine[name].dtype == np.float32
        assert fine[name].attrs == volume[name].attrs
        np.testing.assert_array_equal(fine[name], part)
    for axis, step in {"z": 0.25, "y": 0.5, "x": 1.0}.items():
        offsets = step * np.array([-3, -1, 1, 3]) / 8
        np.testing.assert_allclose(fine[axis], np.add.outer(volume[axis].values, offsets).ravel())
        assert fine[axis].attrs == volume[axis].attrs
    xr.testing.assert_identical(fine.viscosity, volume.viscosity)
    assert fine.attrs["title"] == "noise"
    assert fine.attrs["eddylift_model"] == "trilinear-x4"
    assert fine.attrs["eddylift_boundary"] == "periodic,wall,open"
    earlier, line = fine.attrs["history"].splitlines()
    assert earlier == "made by a test"
    assert "eddylift: model trilinear-x4" in line


def test_a_model_says_how_much_finer(send: Callable[..., xr.Dataset]) -> None:
    coarse = noise(3, 4, 5, 6)
    fine = send(dataset(coarse), model="relaxed-isotropic-x2")
    assert fine.u.shape == (8, 10, 12)
    np.testing.assert_allclose(fine.y, np.add.outer(dataset(coarse).y.values, [-0.125, 0.125]).ravel())
    np.testing.assert_allclose(coarsen(torch.from_numpy(fine.w.values), 2), coarse[2], rtol=1e-4, atol=1e-5)
    assert fine.attrs["eddylift_factor"] == "2"


def test_times_are_volumes_of_their_own(client: TestClient, send: Callable[..., xr.Dataset]) -> None:
    coarse = noise(2, 3, 4, 4, 4)
    coarse[1] *= 5
    volume = dataset(coarse)
    fine = send(volume, model=LEARNED)
    assert fine.v.dims == ("time", "z", "y", "x")
    for time, alone in enumerate(coarse):
        np.testing.assert_array_equal(fine.v[time], answered(client, alone, model=LEARNED)[1])
    xr.testing.assert_identical(fine.time, volume.time)


@pytest.mark.parametrize("labels", [np.array(list("uvw")), np.array(list("uvw"), object)], ids=["fixed", "variable"])
def test_components_may_be_joined(client: TestClient, send: Callable[..., xr.Dataset], labels: NDArray[Any]) -> None:
    coarse = noise(3, 4, 5, 6)
    volume = joined(coarse, ("z", "y", "x", "component"), coords={"component": labels}, attrs={"title": "joined"})
    fine = send(volume)
    assert fine.velocity.dims == ("z", "y", "x", "component")
    assert fine.component.values.tolist() == ["u", "v", "w"]
    np.testing.assert_array_equal(np.moveaxis(fine.velocity.values, -1, 0), answered(client, coarse))


def test_coordinates_keep_their_precision_and_may_be_missing(client: TestClient) -> None:
    volume = dataset(noise(3, 4, 4, 4)).drop_vars(["z"]).assign_coords(x=np.arange(4), y=np.arange(4, dtype=np.float32))
    fine = from_netcdf(post(client, netcdf(volume), NETCDF).content)
    assert set(fine.coords) == {"x", "y"}
    assert fine.y.dtype == np.float32
    np.testing.assert_array_equal(fine.x, (np.arange(16) + 0.5) / 4 - 0.5)


def test_packed_integers_are_the_numbers_they_stand_for(client: TestClient) -> None:
    volume = dataset(np.round(noise(3, 4, 4, 4), 2))
    packing = {name: {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -32768} for name in "uvw"}
    fine = from_netcdf(post(client, netcdf(volume, encoding=packing), NETCDF).content)
    assert fine.u.dtype == np.float32
    np.testing.assert_allclose(
        fine.u, answered(client, np.stack([volume[name].values for name in "uvw"]))[0], atol=1e-5
    )


def test_boundaries_of_the_data_and_warnings(client: TestClient) -> None:
    coarse = noise(3, 4, 5, 6)
    said = netcdf(dataset(coarse).assign_attrs(boundary="open,wall,open"))
    response = post(client, said, NETCDF, model=LEARNED)
    assert response.headers["Eddylift-Boundary"] == "open,wall,open"
    assert f"{LEARNED} was trained on periodic,periodic,periodic" in response.headers["X-Eddylift-Warning"]
    np.testing.assert_array_equal(
        from_netcdf(response.content).u, answered(client, coarse, model=LEARNED, boundary="open,wall,open")[0]
    )
    assert from_netcdf(response.content).attrs["boundary"] == "open,wall,open"
    other = post(client, said, NETCDF, model=LEARNED, boundary="periodic")
    assert other.headers["Eddylift-Boundary"] == "periodic,periodic,periodic"
    assert from_netcdf(other.content).attrs["boundary"] == "periodic,periodic,periodic"
    assert "X-Eddylift-Warning" not in other.headers


def test_a_periodic_axis_that_is_not(client: TestClient) -> None:
    sheared = noise(3, 8, 8, 8)
    sheared[0] += 20 * np.arange(8, dtype=np.float32)[:, None]
    warning = post(client, npy(sheared)).headers["X-Eddylift-Warning"]
    assert warning.startswith("the velocity jumps between the last plane and the first one along y")
    assert warning.endswith("give boundary=periodic,open,periodic; at walls, periodic,wall,periodic")
    assert "X-Eddylift-Warning" not in post(client, npy(sheared), boundary="periodic,open,periodic").headers
    warning = post(client, npy(sheared), boundary="periodic,wall,periodic").headers["X-Eddylift-Warning"]
    assert warning.startswith("the velocity does not approach that of these walls: y, last plane")


def test_names_and_drop(client: TestClient) -> None:
    coarse = noise(3, 4, 5, 6)
    volume = dataset(coarse, p=dataset(coarse).u).rename(u="Ux", v="Uy", w="Uz")
    for names, drop in (("Ux:u,Uy:v,Uz:w", "p"), ("Ux: u, Uy :v, Uz:w ", " p")):
        response = post(client, netcdf(volume), NETCDF, names=names, drop=drop)
        np.testing.assert_array_equal(from_netcdf(response.content).Uz, answered(client, coarse)[2])
    assert post(client, netcdf(volume), NETCDF, names="Ux", drop="p").json()["errors"][0]["field"] == "names"


def test_a_periodic_axis_with_its_first_plane_twice(client: TestClient) -> None:
    coarse = noise(3, 4, 5, 6)
    twice = npy(np.concatenate([coarse, coarse[..., :1]], -1))
    refused = post(client, twice)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "x"
    assert post(client, twice, boundary="periodic,periodic,open").status_code == 200
