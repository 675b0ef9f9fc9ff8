"""Frames in, the next frames out."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from models.forecasting.catalogue import DEFAULT, SAMPLE, ForecastCard, ForecastCatalogue
from models.forecasting.forecaster import Forecaster, Units
from models.forecasting.network import ForecastArchitecture, ForecastNetwork
from service.app import create_app
from service.settings import Settings
from tests.service.conftest import parts
from tests.service.wire import NPY, from_npy, npy
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tests.service.conftest import Serve

WEIGHTS = Path(__file__).parents[3] / "weights"
CATALOGUE = ForecastCatalogue(WEIGHTS)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The shipped forecasting models, and of the others only those that need no folder."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "forecast").symlink_to(CATALOGUE.folder)
    app = create_app(Settings(weights=folder, device="cpu", threads=1))
    with TestClient(app, raise_server_exceptions=False) as started:
        wait_until(lambda: started.get("/health/ready").is_success)
        yield started


@pytest.fixture(scope="module")
def frames() -> NDArray[np.float32]:
    sample: NDArray[np.float32] = np.load(CATALOGUE.folder / DEFAULT / SAMPLE)
    return sample


def post(client: TestClient, frames: NDArray[np.floating], **options: object) -> NDArray[np.float32]:
    query = {name: str(value) for name, value in options.items()}
    answer = client.post("/v1/forecast", content=npy(frames), params=query, headers={"Content-Type": NPY})
    assert answer.is_success, answer.text
    assert answer.headers["Eddylift-Model"] == DEFAULT
    assert answer.headers["Eddylift-Boundary"] == options.get("boundary", "wall,wall")
    return from_npy(answer.content)


def test_the_shipped_model_forecasts_its_sample(client: TestClient, frames: NDArray[np.float32]) -> None:
    """As it does without the service, and closer to what followed than the last frame is."""
    given, wanted = frames[:10], frames[10:]
    found = post(client, given, steps=len(wanted))
    whole = CATALOGUE.load(DEFAULT)(torch.from_numpy(given)[None], len(wanted), (False, False))
    assert np.array_equal(found, whole[0].numpy())
    errors = [np.sqrt(np.square(each - wanted).mean()) for each in (found, given[-1:])]
    assert errors[0] < 0.8 * errors[1]


def test_units_boundary_and_more_frames(client: TestClient, frames: NDArray[np.float32]) -> None:
    given, units = frames[:12], Units(dx=0.5, dt=0.25)
    found = post(client, given, steps=3, boundary="periodic,wall", dx=0.5, dt=0.25)
    whole = CATALOGUE.load(DEFAULT)(torch.from_numpy(given[2:])[None], 3, (True, False), units)
    assert np.allclose(found, whole[0].numpy(), atol=1e-6)
    assert not np.allclose(found, post(client, given, steps=3), atol=1e-3)


@pytest.mark.parametrize(
    ("options", "doubtful"), [({}, False), ({"dx": 8}, False), ({"dx": 12}, True), ({"dt": 12}, True)]
)
def test_velocities_far_from_those_that_a_model_has_learned_are_told(
    client: TestClient, frames: NDArray[np.float32], options: dict[str, float], *, doubtful: bool
) -> None:
    answer = client.post(
        "/v1/forecast", content=npy(frames[:10]), params={"steps": 1, **options}, headers={"Content-Type": NPY}
    )
    warnings = answer.headers.get_list("X-Eddylift-Warning")
    assert [each.startswith("the velocity varies by ") for each in warnings] == [True] * doubtful


def test_requests_at_once_get_their_own_answers(client: TestClient, frames: NDArray[np.float32]) -> None:
    starts = range(4)
    alone = [post(client, frames[start : start + 10], steps=2) for start in starts]
    with ThreadPoolExecutor(len(starts)) as pool:
        together = list(pool.map(lambda start: post(client, frames[start : start + 10], steps=2), starts))
    assert np.allclose(alone, together, atol=1e-6)


def test_cards_say_how_good_models_are(client: TestClient) -> None:
    cards = {card["name"]: card for card in client.get("/v1/forecast/models").json()["models"]}
    card = cards[DEFAULT]
    assert card == CATALOGUE.card(DEFAULT).to_dict()
    assert card["measured"]["domain"]["relaxed"] < card["measured"]["domain"]["persistence"]


def test_replaced_weights_answer_under_their_own_card(serve: Serve, tmp_path: Path) -> None:
    """A model whose card is broken costs the list nothing."""
    catalogue, client, given = ForecastCatalogue(tmp_path), serve(weights=tmp_path), torch.randn(1, 3, 2, 8, 8)
    architecture = ForecastArchitecture("relaxed", "C4", 1, 1, frames=3)
    card = ForecastCard(DEFAULT, "relaxed", "smoke", 3, ("wall", "wall"), architecture.to_dict(), 1, {}, {})
    for _ in range(2):
        model = Forecaster(ForecastNetwork(architecture))
        saved = catalogue.save(model, card, np.zeros((4, 2, 8, 8), np.float32))
        found = post(client, given[0].numpy(), steps=2)
        assert np.allclose(found, model.frozen()(given, 2, (False, False))[0].numpy(), atol=1e-6)
        assert client.get("/v1/forecast/models").json()["models"] == [saved.to_dict()]
        (catalogue.folder / "broken").mkdir(exist_ok=True)
        (catalogue.folder / "broken" / "card.json").write_text("{")


def test_a_model_of_viscous_flows_needs_the_viscosity(serve: Serve, tmp_path: Path) -> None:
    architecture = ForecastArchitecture("conv", "C1", 1, 1, frames=3, viscous=True)
    card = ForecastCard(DEFAULT, "conv", "planar", 3, ("wall", "wall"), architecture.to_dict(), 1, {}, {})
    model, given = Forecaster(ForecastNetwork(architecture)), np.ones((3, 2, 8, 8), np.float32)
    ForecastCatalogue(tmp_path).save(model, card, np.zeros((4, 2, 8, 8), np.float32))
    client = serve(weights=tmp_path)
    for nu in ({}, {"nu": 0}):
        refused = client.post("/v1/forecast", content=npy(given), params=nu, headers={"Content-Type": NPY})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "nu")
    wanted = model.frozen()(torch.from_numpy(given)[None], 2, (False, False), Units(nu=0.5))
    assert np.allclose(post(client, given, steps=2, nu=0.5), wanted[0].numpy(), atol=1e-6)


def test_memory_is_not_measured_while_a_model_is_loaded(
    client: TestClient, frames: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What that takes would count as what the measured model takes."""
    inside, load = parts(client), ForecastCatalogue.load
    held: list[bool] = []

    def watched(catalogue: ForecastCatalogue, card: ForecastCard) -> Forecaster:
        held.append(inside.engine.registry.device.quiet.locked())
        return load(catalogue, card)

    monkeypatch.setattr(ForecastCatalogue, "load", watched)
    inside.forecasts._models.clear()
    post(client, frames[:10], steps=1)
    assert held == [True]


def test_a_model_whose_card_was_measured_again_is_not_loaded_again(
    client: TestClient, frames: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = frames[:10]
    before = post(client, given, steps=2)
    card = dataclasses.replace(CATALOGUE.card(DEFAULT), measured={})
    monkeypatch.setattr(ForecastCatalogue, "card", lambda *_: card)
    monkeypatch.delattr(ForecastCatalogue, "load")
    assert np.array_equal(post(client, given, steps=2), before)


@pytest.mark.parametrize(
    ("body", "options", "status", "field"),
    [
        (np.zeros((9, 2, 8, 8), np.float32), {}, 422, "time"),
        (np.zeros((10, 3, 8, 8), np.float32), {}, 422, "shape"),
        (np.zeros((10, 2, 8), np.float32), {}, 422, "shape"),
        (np.full((10, 2, 8, 8), np.nan, np.float32), {}, 422, "u"),
        (np.zeros((10, 2, 8, 8), int), {}, 422, "dtype"),
        (np.zeros((10, 2, 8, 8), np.float32), {"boundary": "open"}, 422, "boundary"),
        (np.zeros((10, 2, 8, 8), np.float32), {"dx": "0"}, 422, "dx"),
        (np.zeros((10, 2, 8, 8), np.float32), {"nu": "nan"}, 422, "nu"),
        (np.zeros((10, 2, 8, 8), np.float32), {"dt": "1e39"}, 422, "dt"),
        (np.zeros((10, 2, 8, 8), np.float32), {"nu": "4e38"}, 422, "nu"),
        (np.zeros((10, 2, 8, 8), np.float32), {"dx": "1e-20", "dt": "1e20"}, 422, "dx"),
        (np.zeros((10, 2, 8, 8), np.float32), {"dx": "1e-20", "nu": "1"}, 422, "dx"),
        (np.ones((10, 2, 8, 8), np.float32), {"dx": "1e-13"}, 422, "dx"),
        (np.zeros((10, 2, 8, 8), np.float32), {"steps": "0"}, 422, "steps"),
        (np.zeros((10, 2, 8, 8), np.float32), {"model": "none"}, 404, "model"),
        (np.zeros((190, 2, 100, 100), np.float32), {"steps": "100"}, 413, "shape"),
    ],
)
def test_what_does_not_fit_is_refused(
    client: TestClient, body: NDArray[np.generic], options: dict[str, str], status: int, field: str
) -> None:
    answer = client.post("/v1/forecast", content=npy(body), params=options, headers={"Content-Type": NPY})
    assert answer.status_code == status, answer.text
    assert field in answer.json()["errors"][0]["field"]


def test_a_value_that_is_no_velocity_is_placed_in_the_plane(client: TestClient) -> None:
    body = np.zeros((10, 2, 8, 8), np.float32)
    body[3, 1, 5, 6] = np.nan
    answer = client.post("/v1/forecast", content=npy(body), headers={"Content-Type": NPY})
    (error,) = answer.json()["errors"]
    assert (error["field"], error["value"]) == ("v", "nan at (level, y, x) = (3, 5, 6)")


def test_other_containers_are_refused(client: TestClient) -> None:
    answer = client.post("/v1/forecast", content=b"CDF\x01", headers={"Content-Type": "application/netcdf"})
    assert answer.status_code == 415
