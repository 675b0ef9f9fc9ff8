"""Cards are served as they are, and a device that computes otherwise than theirs is found out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from models.convolution import NOWHERE
from models.held_out import HeldOutSamples
from tests.service.api.validation import measured
from tests.service.conftest import serve_as
from tests.service.orders import HALF, LEARNED, THREE
from tests.service.wire import Cramped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue
    from models.convolution import Axes


@pytest.mark.parametrize(("model", "factor"), [(LEARNED, 4), (HALF, 2)])
def test_a_device_reproduces_a_card(client: TestClient, catalogue: Catalogue, model: str, factor: int) -> None:
    answer = client.post(f"/v1/models/{model}/validate").json()
    assert answer["model"] == model
    assert answer["device"] == "cpu"
    assert answer["precision"] == "float32"
    assert answer["reproduced"] is True
    assert answer["mae_over_rms"] == pytest.approx(answer["card_mae_over_rms"], rel=1e-5)
    assert answer["metrics"]["mae_over_rms"] == answer["mae_over_rms"]
    held_out = HeldOutSamples(catalogue.folder).find("isotropic", factor=factor)
    assert held_out is not None
    plain = measured(catalogue, held_out.fine, model=f"trilinear-x{factor}")
    assert answer["trilinear_mae_over_rms"] == pytest.approx(plain["mae_over_rms"])


def test_a_device_that_computes_otherwise_is_found_out(serve: Callable[..., TestClient], catalogue: Catalogue) -> None:
    class Coarser(Cramped):
        def forward(self, coarse: torch.Tensor, circular: Axes = NOWHERE) -> torch.Tensor:
            return 2 * super().forward(coarse, circular)

    client = serve()
    serve_as(LEARNED, client, Coarser(99, MemoryError()))
    answer = client.post(f"/v1/models/{LEARNED}/validate").json()
    assert answer["reproduced"] is False
    assert answer["card_mae_over_rms"] == catalogue.card(LEARNED).sample["mae_over_rms"]


def test_a_card_that_promises_nothing_is_not_reproduced(client: TestClient) -> None:
    answer = client.post("/v1/models/trilinear-x4/validate").json()
    assert answer["card_mae_over_rms"] is None
    assert answer["reproduced"] is False
    assert answer["mae_over_rms"] == answer["trilinear_mae_over_rms"]


def test_models_without_a_sample(client: TestClient, serve: Callable[..., TestClient], tmp_path: Path) -> None:
    assert client.post(f"/v1/models/{THREE}/validate").status_code == 404
    assert client.post("/v1/models/nothing/validate").status_code == 404
    assert serve(tmp_path).post("/v1/models/trilinear-x4/validate").status_code == 404


def test_cards_are_served_as_they_are(client: TestClient, catalogue: Catalogue) -> None:
    cards = client.get("/v1/models").json()["models"]
    assert [card["name"] for card in cards] == catalogue.names()
    for card in cards:
        assert card == client.get(f"/v1/models/{card['name']}").json()
        assert card == {**catalogue.card(card["name"]).to_dict(), "boundary": ["periodic"] * 3}
    learned = next(card for card in cards if card["name"] == LEARNED)
    assert dataclasses.asdict(catalogue.card(LEARNED))["architecture"] == learned["architecture"]
