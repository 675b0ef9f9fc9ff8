from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.held_out import HeldOutSamples
from tests.service.wire import NETCDF, NPY, ZIP, dataset, files_of, from_npy, netcdf, noise, npy, zipped

if TYPE_CHECKING:
    import httpx2
    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue


def test_the_samples_are_those_of_the_weights(client: TestClient, catalogue: Catalogue) -> None:
    samples = HeldOutSamples(catalogue.folder)
    listed = client.get("/v1/samples").json()["samples"]
    assert [each["name"] for each in listed] == samples.names() == ["isotropic-x2", "isotropic-x4"]
    quarter = listed[1]
    shipped = samples.find("isotropic")
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


def test_a_model_warns_of_the_coordinates_of_a_file(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare array, as which the velocity goes on, has none."""
    volume = dataset(noise(3, 3, 4, 4, 4)).assign_coords(time=[0.0, 1.0, 3.0])

    def warnings(model: str) -> list[str]:
        answer = client.post(f"/v1/velocity?model={model}", content=netcdf(volume), headers={"Content-Type": NETCDF})
        assert answer.status_code == 200, answer.text
        return answer.headers.get_list("X-Eddylift-Warning")

    (uneven,) = warnings("conv-isotropic-x4-3frames")
    assert "the times are spaced by 1 to 2" in uneven
    assert warnings("relaxed-isotropic-x4") == []
    registry = client.app.state.services.engine.registry  # type: ignore[attr-defined]
    learned = dataclasses.replace(registry.card("relaxed-isotropic-x4"), learned={"roughness": [0.0, 9.0]})
    monkeypatch.setattr(registry, "find", lambda _: learned)
    (long,) = warnings("learned")
    assert "the cells are 4 times as long along x as along z" in long


def test_a_true_velocity_in_other_units_is_refused(client: TestClient) -> None:
    def post(units: str) -> httpx2.Response:
        body = netcdf(dataset(noise(3, 4, 5, 6)))
        return client.post("/v1/velocity", params={"units": units}, content=body, headers={"Content-Type": NETCDF})

    assert post("m/s").status_code == 200
    assert post("km/h").json()["errors"][0]["field"] == "reference.units"


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
