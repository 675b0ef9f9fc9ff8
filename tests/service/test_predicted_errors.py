"""With error=true an answer has the error that the model expects; where no model is named, the general one answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import xarray as xr

from models.blocks import PERIODIC
from models.operators import coarsen
from models.superresolution import SuperResolution, upscale
from service.engine.inference import VolumeRequest
from tests.service.conftest import parts
from tests.service.orders import DEFAULT, LEARNED, finish, order
from tests.service.wire import NETCDF, NPY, dataset, fetch, from_netcdf, from_npy, joined, netcdf, noise, npy, send

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx2
    from fastapi.testclient import TestClient
    from numpy.typing import NDArray

    from models.catalogue import Catalogue

    Serve = Callable[..., TestClient]

COARSE = noise(3, 6, 5, 4)


@pytest.fixture
def wanted(catalogue: Catalogue) -> NDArray[np.float32]:
    """Velocity and error, (4, z, y, x), as the model itself answers."""
    return upscale(catalogue.load(DEFAULT), COARSE, PERIODIC, error=True)


@pytest.fixture
def stored(serve: Serve, tmp_path: Path) -> TestClient:
    """A service with a volume, and blocks smaller than it."""
    client = serve(data=tmp_path / "data", block=4)
    send(client, "box", dataset(COARSE))
    return client


def post(client: TestClient, content: bytes, media_type: str = NPY, **query: str) -> httpx2.Response:
    params = {"error": "true", **query}
    return client.post("/v1/upscale", params=params, content=content, headers={"Content-Type": media_type})


def test_an_array_has_the_error_as_a_fourth_channel(client: TestClient, wanted: NDArray[np.float32]) -> None:
    answer = post(client, npy(COARSE))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Eddylift-Model"] == DEFAULT
    np.testing.assert_array_equal(from_npy(answer.content), wanted)
    assert float(answer.headers["X-Eddylift-Expected-MAE"]) == pytest.approx(wanted[3].mean(), rel=1e-5)
    plain = post(client, npy(COARSE), error="false")
    np.testing.assert_array_equal(from_npy(plain.content), wanted[:3])
    assert "X-Eddylift-Expected-MAE" not in plain.headers


def test_a_dataset_has_the_error_as_a_variable(client: TestClient, wanted: NDArray[np.float32]) -> None:
    fine = from_netcdf(post(client, netcdf(dataset(COARSE)), NETCDF).content)
    assert [*fine.data_vars] == ["u", "v", "w", "error"]
    assert fine.error.dims == fine.u.dims
    assert fine.error.attrs["units"] == fine.u.attrs["units"]
    assert "absolute error" in fine.error.attrs["long_name"]
    np.testing.assert_array_equal(fine.error, wanted[3])
    np.testing.assert_array_equal(fine.w, wanted[2])
    series = from_netcdf(post(client, netcdf(dataset(np.stack([COARSE, 2 * COARSE]))), NETCDF).content)
    assert series.error.dims == ("time", "z", "y", "x")
    np.testing.assert_allclose(series.error[1], 2 * wanted[3], rtol=1e-5)


def test_the_error_has_no_component_dim(client: TestClient, wanted: NDArray[np.float32]) -> None:
    fine = from_netcdf(post(client, netcdf(joined(COARSE, ("y", "component", "x", "z"))), NETCDF).content)
    assert fine.error.dims == ("y", "x", "z")
    np.testing.assert_array_equal(fine.error.transpose("z", "y", "x"), wanted[3])
    np.testing.assert_array_equal(fine.velocity.transpose("component", "z", "y", "x"), wanted[:3])


def test_a_model_that_predicts_no_error_is_refused(stored: TestClient) -> None:
    job = {"source": "box", "target": "fine", "model": LEARNED, "error": True}
    for refused in (
        post(stored, npy(COARSE), model=LEARNED),
        stored.get(f"/v1/views/box/{LEARNED};error=true/zarr.json"),
        stored.post("/v1/jobs", json=job),
    ):
        assert refused.status_code == 422, refused.text
        assert DEFAULT in refused.json()["detail"]


@pytest.mark.parametrize(
    ("volume", "query"),
    [
        (dataset(COARSE, error=xr.Variable((), 0.01)), {}),
        (dataset(COARSE, p=xr.Variable("error", [1.0])), {}),
        (dataset(COARSE).rename(u="error"), {"names": "error:u"}),
    ],
    ids=["variable", "dim", "renamed"],
)
def test_a_name_that_is_taken_is_refused_before_anything_is_computed(
    stored: TestClient, monkeypatch: pytest.MonkeyPatch, volume: xr.Dataset, query: dict[str, str]
) -> None:
    monkeypatch.setattr(parts(stored).engine, "upscale", lambda *_, **__: pytest.fail("it was computed"))
    send(stored, "taken", volume)
    found = [post(stored, netcdf(volume), NETCDF, **query)]
    if not query:  # a view has the service's names
        found.append(stored.get(f"/v1/views/taken/{DEFAULT};error=true/zarr.json"))
    for refused in found:
        assert refused.status_code == 422, refused.text
        assert "error: in the volume" in refused.json()["detail"]


def test_blocks_with_and_without_errors_are_batched_apart(client: TestClient) -> None:
    """Together they would have a channel too few or too many."""
    engine = parts(client).engine
    model = engine.registry.get(DEFAULT)
    both = [VolumeRequest(DEFAULT, model, COARSE[None, None], PERIODIC, 32, error=error) for error in (True, False)]
    assert both[0].next_key != both[1].next_key
    assert [engine.batcher.queue.submit(request).result().fine.shape[1] for request in both] == [4, 3]


@pytest.mark.parametrize("layout", ["apart", "joined"])
def test_a_view_has_an_array_of_errors(stored: TestClient, catalogue: Catalogue, layout: str) -> None:
    tiled = upscale(catalogue.load(DEFAULT), COARSE, PERIODIC, block=4, error=True)
    if layout == "joined":
        send(stored, "joined", joined(COARSE))
    name = "box" if layout == "apart" else "joined"
    found = fetch(stored, f"{name}/default;error=true")
    plain = fetch(stored, f"{name}/{DEFAULT}")
    velocity = np.stack([found[each] for each in "uvw"]) if layout == "apart" else found.velocity.values
    np.testing.assert_array_equal(velocity, tiled[:3])
    np.testing.assert_array_equal(found.error, tiled[3])
    assert "absolute error" in found.error.attrs["long_name"]
    assert found.attrs["eddylift_model"] == plain.attrs["eddylift_model"] == DEFAULT
    assert "error" not in plain
    chunk = f"/v1/views/{name}/default;error=true/error/c/0/0/0"
    assert stored.head(chunk).headers["Content-Length"] == str(len(stored.get(chunk).content))
    assert found.attrs["eddylift_fingerprint"] != plain.attrs["eddylift_fingerprint"]


def test_a_job_writes_errors_and_reports_their_mean(stored: TestClient, tmp_path: Path, catalogue: Catalogue) -> None:
    fine = noise(3, 24, 20, 16)
    coarse = coarsen(torch.from_numpy(fine)).numpy()
    send(stored, "coarse", dataset(coarse).drop_vars(["z", "y", "x"]))
    send(stored, "true", dataset(fine).drop_vars(["z", "y", "x"]))
    done = finish(stored, order(stored, source="coarse", model=None, error=True, reference="true"))
    tiled = upscale(catalogue.load(DEFAULT), coarse, PERIODIC, block=4, error=True)
    assert done["model"] == done["report"]["model"] == DEFAULT
    assert done["report"]["expected_mae"] == pytest.approx(tiled[3].mean(), rel=1e-5)
    with xr.open_zarr(tmp_path / "data" / "volumes" / "fine", consolidated=True) as written:
        np.testing.assert_array_equal(written.error, tiled[3])
        np.testing.assert_array_equal(written.u, tiled[0])
    sent = {"reference": ("reference.npy", npy(fine))}
    report = stored.post("/v1/validate", files=sent).json()
    assert report["model"] == DEFAULT
    assert report["expected_mae"] == pytest.approx(tiled[3].mean(), rel=1e-5)
    assert report["metrics"]["mae"] == pytest.approx(done["report"]["metrics"]["mae"], rel=1e-5)
    assert stored.post("/v1/validate", params={"model": LEARNED}, files=sent).json()["expected_mae"] is None


def test_what_an_answer_is_expected_to_be_worth(client: TestClient, wanted: NDArray[np.float32]) -> None:
    answer = client.post("/v1/check", content=npy(COARSE), headers={"Content-Type": NPY})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    correction = np.abs(wanted[:3] - upscale(SuperResolution(), COARSE, PERIODIC)).mean()
    assert found["model"] == DEFAULT
    assert found["expected_mae"] == pytest.approx(wanted[3].mean(), rel=1e-5)
    assert found["correction"] == pytest.approx(correction, rel=1e-5)
    assert found["expected_mae_over_correction"] == pytest.approx(wanted[3].mean() / correction, rel=1e-5)
    still = client.post("/v1/check", content=npy(np.ones_like(COARSE)), headers={"Content-Type": NPY}).json()
    assert (still["expected_mae"], still["correction"], still["expected_mae_over_correction"]) == (0, 0, None)
    refused = client.post("/v1/check", params={"model": LEARNED}, content=npy(COARSE), headers={"Content-Type": NPY})
    assert refused.status_code == 422
    assert DEFAULT in refused.json()["detail"]


def test_a_model_must_be_named_where_there_is_no_general_one(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, data=tmp_path / "data")
    send(client, "box", dataset(COARSE))
    for refused in (
        post(client, npy(COARSE), error="false"),
        client.post("/v1/validate", files={"reference": ("reference.npy", npy(noise(3, 16, 16, 16)))}),
        client.post("/v1/jobs", json={"source": "box", "target": "fine"}),
        client.get("/v1/views/box/default/zarr.json"),
    ):
        assert refused.status_code == 422, refused.text
        assert "one of trilinear-x4" in refused.json()["detail"]
