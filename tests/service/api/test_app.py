"""Starting, probing and describing the service."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from models.catalogue import Catalogue, describe
from models.networks import Architecture, Network
from models.superresolution import SuperResolution
from models.weights import WEIGHTS
from service.__main__ import main, parse, reachable
from service.app import create_app
from service.engine.registry import choose
from service.settings import CHECKOUT, Settings
from tests.service.conftest import is_loaded, parts
from tests.service.wire import NPY, noise, npy
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


UPSCALE = "/v1/upscale?model=trilinear-x4"


def test_until_it_is_warm_it_lives_but_is_not_ready(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = threading.Event()
    app = create_app(Settings(weights=catalogue.folder, device="cpu"))
    warm = app.state.services.engine.registry.warm
    monkeypatch.setattr(app.state.services.engine.registry, "warm", lambda: loaded.wait(PATIENCE_S) and warm())
    with TestClient(app) as client:
        assert client.get("/health/live").json()["status"] == "alive"
        for response in (client.get("/health/ready"), client.post(UPSCALE, content=npy(noise(3, 4, 4, 4)))):
            assert response.status_code == 503
            assert response.headers["Retry-After"] == "1"
            assert response.headers["Content-Type"] == "application/problem+json"
        assert "eddylift_ready 0.0" in client.get("/metrics").text
        assert client.get("/v1/models").status_code == 200
        loaded.set()
        wait_until(lambda: client.get("/health/ready").is_success and is_loaded(client))
        assert client.get("/health/ready").json() == {
            "status": "ready",
            "models": catalogue.names(),
            "failures": {},
            "precisions": dict.fromkeys(catalogue.names(), "float32"),
            "warnings": {},
            "jobs": None,
            "data": None,
        }
        assert "eddylift_ready 1.0" in client.get("/metrics").text
    assert not app.state.services.engine.batcher.alive


def test_a_dead_worker_is_told(serve: Callable[..., TestClient]) -> None:
    client = serve()
    parts(client).engine.batcher.close()
    for path in ("/health/live", "/health/ready"):
        assert client.get(path).status_code == client.head(path).status_code == 503
    assert "eddylift_ready 0.0" in client.get("/metrics").text


def test_models_that_cannot_be_loaded_do_not_stop_the_others(serve: Callable[..., TestClient], tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    model = SuperResolution(Network(Architecture("conv", "C1", 2, 1)))
    card = catalogue.save(model, describe(model, flow="isotropic"))
    weights = tmp_path / card.name / WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    client = serve(tmp_path)
    health = client.get("/health/ready").json()
    assert health["models"] == ["trilinear-x4"]
    assert "sha256" in health["failures"][card.name]
    headers = {"Content-Type": NPY}
    response = client.post(f"/v1/upscale?model={card.name}", content=npy(noise(3, 4, 4, 4)), headers=headers)
    assert response.status_code == 503
    assert str(tmp_path) not in response.text
    assert client.post(UPSCALE, content=npy(noise(3, 4, 4, 4)), headers=headers).status_code == 200


def test_a_model_dropped_into_the_folder_is_served(serve: Callable[..., TestClient], tmp_path: Path) -> None:
    client = serve(tmp_path)
    model = SuperResolution(Network(Architecture("conv", "C1", 2, 1)))
    card = Catalogue(tmp_path).save(model, describe(model, flow="mine"))
    assert card.name in [served["name"] for served in client.get("/v1/models").json()["models"]]
    response = client.post(
        f"/v1/upscale?model={card.name}", content=npy(noise(3, 4, 4, 4)), headers={"Content-Type": NPY}
    )
    assert response.headers["Eddylift-Weights-SHA256"] == card.sha256


def test_metrics(client: TestClient) -> None:
    client.post(UPSCALE, content=npy(noise(3, 4, 4, 4)), headers={"Content-Type": NPY})
    client.get("/v1/models/trilinear-x4")
    client.get("/surely/not/there")
    response = client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    for line in (
        'eddylift_requests_total{method="POST",route="/v1/upscale",status="200"}',
        'eddylift_requests_total{method="GET",route="/v1/models/{name}",status="200"}',
        'eddylift_requests_total{method="GET",route="unknown",status="404"}',
        'eddylift_request_seconds_count{route="/v1/upscale"}',
        'eddylift_errors_total{kind="not-found"}',
        "eddylift_queue_blocks 0.0",
        "eddylift_open_requests 0.0",
        'eddylift_batch_blocks_bucket{le="1.0",model="trilinear-x4"}',
        'eddylift_batch_requests_count{model="trilinear-x4"}',
        'eddylift_compute_seconds_sum{model="trilinear-x4"}',
        'eddylift_fine_voxels_total{model="trilinear-x4"}',
        "eddylift_queue_seconds_count",
    ):
        assert line in response.text
    assert "not/there" not in response.text


def test_two_apps_do_not_mix(serve: Callable[..., TestClient]) -> None:
    one, other = serve(), serve()
    one.post(UPSCALE, content=npy(noise(3, 4, 4, 4)), headers={"Content-Type": NPY})
    assert "/v1/upscale" in one.get("/metrics").text
    assert "/v1/upscale" not in other.get("/metrics").text


def test_the_interface_is_described(client: TestClient) -> None:
    assert client.get("/docs").status_code == 200
    document = client.get("/openapi.json").json()
    upscale = document["paths"]["/v1/upscale"]["post"]
    assert set(upscale["requestBody"]["content"]) == {NPY, "application/netcdf", "application/zip"}
    assert set(upscale["responses"]["200"]["content"]) >= set(upscale["requestBody"]["content"])
    assert {parameter["name"] for parameter in upscale["parameters"]} == {"model", "boundary", "names", "drop", "error"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], path
            assert operation["description"], path
            if path.startswith("/v1/") and (method == "post" or "{" in path):
                problem = operation["responses"]["422"]["content"]
                assert list(problem) == ["application/problem+json"], path


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Settings().weights == CHECKOUT / "weights"
    monkeypatch.setenv("EDDYLIFT_BATCH_WAIT_MS", "20")
    monkeypatch.setenv("EDDYLIFT_WEIGHTS", str(tmp_path))
    settings = Settings()
    assert settings.batch_wait_ms == 20
    assert settings.weights == tmp_path
    monkeypatch.setenv("EDDYLIFT_MAX_REQUESTS", "-1")
    with pytest.raises(ValueError, match="max_requests"):
        Settings()
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_devices_by_name() -> None:
    assert choose("cpu").type == "cpu"
    assert choose("auto").type in ("cpu", "cuda")


def test_the_command_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert vars(parse([])) == {"host": "127.0.0.1", "port": 8000, "command": None}
    started: list[tuple[str, int]] = []
    monkeypatch.setattr(
        "service.runtime.server.Server.run", lambda server: started.append((server.config.host, server.config.port))
    )
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("EDDYLIFT_TOKENS", "off")
    assert main(["--host", "0.0.0.0", "--port", "81"]) == 0  # noqa: S104 what is warned of
    assert started == [("0.0.0.0", 81)]  # noqa: S104 as told
    assert "anyone" in caplog.text
    assert not reachable("127.0.0.1")
    assert not reachable("localhost")
    assert not reachable("::1")
    assert reachable("example.org")


def test_the_symmetry_of_a_card_is_served(
    serve: Callable[..., TestClient], catalogue: Catalogue, tmp_path: Path
) -> None:
    found = {
        "equivariance_error": {"x,y,z": 0.0, "-y,x,z": 0.25},
        "relaxation": {"network.lift": {"A1": 0.5, "E": 0.5}},
    }
    card = catalogue.card("relaxed-isotropic-x4")
    Catalogue(tmp_path).write(dataclasses.replace(card, symmetry=found, architecture=None))
    client = serve(tmp_path)
    answer = client.get("/v1/models/relaxed-isotropic-x4/symmetry").json()
    assert answer == {"model": "relaxed-isotropic-x4", **found}
    missing = client.get("/v1/models/trilinear-x4/symmetry")
    assert missing.status_code == 404
    assert missing.json()["type"].endswith("no-symmetry")
