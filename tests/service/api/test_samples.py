from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.service.wire import NETCDF, NPY, ZIP, dataset, files_of, from_npy, netcdf, noise, npy, zipped

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue


def test_the_samples_are_those_of_the_weights(client: TestClient, catalogue: Catalogue) -> None:
    listed = client.get("/v1/samples").json()["samples"]
    assert [each["name"] for each in listed] == catalogue.samples() == ["isotropic-x2", "isotropic-x4"]
    quarter = listed[1]
    shipped = catalogue.held_out("isotropic")
    assert shipped is not None
    cells = list(shipped.coarse.shape[2:])
    assert (quarter["factor"], quarter["frames"], quarter["cells"]) == (4, 1, cells)
    assert quarter["boundary"] == ["periodic"] * 3
    for part, expected in (("coarse", shipped.coarse[0]), ("fine", shipped.fine)):
        answer = client.get(f"/v1/samples/isotropic-x4/{part}")
        np.testing.assert_array_equal(from_npy(answer.content), expected)
        again = client.get(f"/v1/samples/isotropic-x4/{part}", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304


@pytest.mark.parametrize("path", ["nothing/fine", "..%2fisotropic-x4/fine"])
def test_there_is_no_other_sample(client: TestClient, path: str) -> None:
    assert client.get(f"/v1/samples/{path}").status_code == 404
    assert client.get("/v1/samples/isotropic-x4/middle").status_code == 422


def test_the_velocity_of_any_file(client: TestClient) -> None:
    velocity = noise(3, 4, 5, 6)
    volume = dataset(velocity).assign_attrs(boundary="periodic,wall,open")
    for media_type, body in ((NETCDF, netcdf(volume)), (ZIP, zipped(files_of(volume)))):
        answer = client.post("/v1/velocity", content=body, headers={"Content-Type": media_type})
        np.testing.assert_array_equal(from_npy(answer.content), velocity)
        assert answer.headers["Eddylift-Boundary"] == "periodic,wall,open"
        assert answer.headers["Eddylift-Length"] == "1,2.5,6"
        assert answer.headers["Eddylift-Units"] == "m%20s-1,m"
        assert answer.headers["Eddylift-Coordinates"] == "ascending,ascending,ascending"
    falling = netcdf(volume.isel(y=slice(None, None, -1)).drop_vars("x"))
    answer = client.post("/v1/velocity", content=falling, headers={"Content-Type": NETCDF})
    np.testing.assert_array_equal(from_npy(answer.content), velocity)
    assert answer.headers["Eddylift-Coordinates"] == "ascending,descending,none"
    levels = noise(2, 3, 16, 16, 16)
    answer = client.post("/v1/velocity?factor=4", content=npy(levels.astype(np.float64)), headers={"Content-Type": NPY})
    np.testing.assert_array_equal(from_npy(answer.content), levels)
    assert "Eddylift-Boundary" not in answer.headers


def test_lengths_in_different_units_are_refused(client: TestClient) -> None:
    mixed = dataset(noise(3, 4, 5, 6))
    mixed.x.attrs["units"] = "km"
    answer = client.post("/v1/velocity", content=netcdf(mixed), headers={"Content-Type": NETCDF})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "x")
    dropped = client.post("/v1/velocity?drop=z,y,x", content=netcdf(mixed), headers={"Content-Type": NETCDF})
    assert dropped.status_code == 200


def test_what_is_no_velocity_is_refused_as_by_upscale(client: TestClient) -> None:
    bad = noise(3, 4, 4, 4)
    bad[1, 2, 3, 0] = np.nan
    for path in ("/v1/velocity", "/v1/upscale"):
        answer = client.post(path, content=npy(bad), headers={"Content-Type": NPY})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "v"
