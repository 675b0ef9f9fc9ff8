"""Volumes that are sent to be validated, and what must be answered."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch

from models.blocks import parse_boundary
from models.metrics.report import report
from models.operators import coarsen
from models.superresolution import SuperResolution, upscale
from tests.service.orders import LEARNED
from tests.service.wire import noise

if TYPE_CHECKING:
    import httpx2
    import numpy as np
    from fastapi.testclient import TestClient
    from numpy.typing import NDArray

    from models.catalogue import Catalogue
    from models.metrics.compare import Value

Part = tuple[bytes, str]
FINE = noise(3, 16, 16, 16)


def post(client: TestClient, query: dict[str, str] | None = None, **volumes: Part) -> httpx2.Response:
    files = {name: (name, content, media_type) for name, (content, media_type) in volumes.items()}
    return client.post("/v1/validate", params={"model": LEARNED, **(query or {})}, files=files)


def means(fine: NDArray[np.float32], factor: int = 4) -> NDArray[np.float32]:
    coarse: NDArray[np.float32] = coarsen(torch.from_numpy(fine), factor).numpy()
    return coarse


def measured(
    catalogue: Catalogue,
    fine: NDArray[np.float32],
    boundary: str = "periodic",
    length: tuple[float, float, float] = (2 * math.pi,) * 3,
    model: str = LEARNED,
) -> dict[str, Value]:
    """What the service must answer."""
    network, walls = catalogue.load(model), parse_boundary(boundary)
    coarse = means(fine, network.factor)
    answer, plain = (upscale(each, coarse, walls) for each in (network, SuperResolution(factor=network.factor)))
    tensors = (torch.from_numpy(each) for each in (answer, fine, coarse))
    return report(*tensors, baseline=torch.from_numpy(plain), boundary=walls, length=length)


def same(found: dict[str, Any], wanted: dict[str, Value]) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        if value is None:
            assert found[name] is None
        else:
            assert found[name] == pytest.approx(value, rel=1e-6, nan_ok=True), name
