"""The models that are shipped, as this machine serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from models.catalogue import Catalogue
from service.settings import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi.testclient import TestClient

SHIPPED = Catalogue(CHECKOUT / "weights")
MEASURED = [name for name in SHIPPED.names() if SHIPPED.card(name).sample]


@pytest.mark.slow
@pytest.mark.skipif(not MEASURED, reason="no measured models in weights/")
def test_cards_are_reproduced(serve: Callable[..., TestClient]) -> None:
    client = serve(SHIPPED.folder)
    for name in MEASURED:
        answer = client.post(f"/v1/models/{name}/validate").json()
        assert answer["reproduced"], answer
        if name != "trilinear-x4":
            assert answer["mae_over_rms"] < answer["trilinear_mae_over_rms"]
