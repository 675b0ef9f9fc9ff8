"""Both clients and the command line against the service itself, with the model that needs no weights.

A test file may have other `settings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr

from eddylift import Client
from models.blocks import parse_boundary
from models.held_out import HeldOut, HeldOutSamples
from models.superresolution import SuperResolution, upscale
from service.app import create_app
from service.settings import Settings
from tests.service.servers import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI
    from numpy.typing import NDArray

TRILINEAR = "trilinear-x4"
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    weights = tmp_path_factory.mktemp("weights")
    fine = np.random.default_rng(2).standard_normal((3, 16, 16, 16), np.float32)
    coarse = fine.reshape(3, 4, 4, 4, 4, 4, 4).mean(axis=(2, 4, 6))
    HeldOutSamples(weights).write("isotropic", HeldOut(coarse[None], fine))
    data = tmp_path_factory.mktemp("data")
    # Blocks are computed one by one, to the bits of `expected`.
    return Settings(weights=weights, device="cpu", threads=1, max_body_bytes=LIMIT, data=data, block=3, region=1)


@pytest.fixture(scope="module")
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    with serving(app) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


@pytest.fixture
def coarse() -> NDArray[np.float32]:
    return slow_at_ends(np.random.default_rng(1).standard_normal((3, 4, 5, 6), np.float32))


def slow_at_ends(velocity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Noise that approaches walls at rest at the ends of each axis, so that nobody warns of walls."""
    for axis in (1, 2, 3):
        velocity.swapaxes(0, axis)[[0, -1]] *= 0.3
    return velocity


def expected(coarse: NDArray[np.float32], boundary: str = "periodic") -> NDArray[np.float32]:
    return upscale(SuperResolution().eval(), coarse, parse_boundary(boundary), block=3)


def channel(cells: tuple[int, int, int] = (5, 6, 4)) -> xr.Dataset:
    velocity = slow_at_ends(np.random.default_rng(4).standard_normal((3, *cells), np.float32))
    parts = {name: (("z", "y", "x"), part) for name, part in zip("uvw", velocity, strict=True)}
    centres = {axis: (np.arange(n) + 0.5) * 2.0 for axis, n in zip("zyx", cells, strict=True)}
    return xr.Dataset(parts, centres, {"boundary": "periodic,wall,periodic"})


def on_walls(volume: xr.Dataset) -> xr.Dataset:
    """The same with points on walls at rest at the ends of y, in place of cells beside them."""
    return volume.where(~volume["y"].isin(volume["y"][[0, -1]]), 0)


def wanted(volume: xr.Dataset, boundary: str = "periodic,wall,periodic") -> NDArray[np.float32]:
    return expected(np.stack([volume[name].values for name in "uvw"]), boundary)
