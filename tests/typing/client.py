"""Uses of the client that must type-check; never run."""

from __future__ import annotations

from typing import Any, assert_type

import httpx2
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from eddylift import (
    AsyncClient,
    Boundary,
    Card,
    Check,
    Client,
    Discovery,
    EddyliftError,
    FieldError,
    ForecastCard,
    Job,
    JobStatus,
    Progress,
    Report,
    Reproduction,
    ServiceError,
    StoredVolume,
    Symmetry,
)


def show(progress: Progress) -> None:
    assert_type(progress.total, int | None)


def wait(array: NDArray[np.float64], dataset: xr.Dataset, field: xr.DataArray, boundary: Boundary) -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200))
    with Client("http://host:8000", "token", timeout=None, attempts=1, transport=transport) as client:
        assert_type(client, Client)
        assert_type(client.models(), list[Card])
        assert_type(client.model("trilinear-x4"), Card)
        assert_type(client.upscale(array, model="trilinear-x4", progress=show), NDArray[np.floating[Any]])
        assert_type(client.upscale(dataset, model="trilinear-x4", boundary=boundary), xr.Dataset)
        assert_type(client.upscale(field, model="trilinear-x4", boundary={"y": "wall"}), xr.DataArray)
        assert_type(client.upscale("coarse.nc", progress=True), NDArray[np.float32] | xr.Dataset)
        assert_type(client.discover(array, "y.npy", y_kind="vector", group="O"), Discovery)
        assert_type(client.forecast_models(), list[ForecastCard])
        assert_type(client.forecast(array, steps=20, model="relaxed-smoke"), NDArray[np.floating[Any]])
        assert_type(client.forecast(field, dx=0.5, boundary={"y": "wall"}), xr.DataArray)
        assert_type(client.forecast("frames.nc", names={"Ux": "u"}), NDArray[np.float32] | xr.Dataset)
        assert_type(client.upload(array, "box", progress=True), StoredVolume)
        assert_type(client.validate(None, array, model="trilinear-x4"), Report)
        assert_type(client.upload(dataset, "box", progress=show), StoredVolume)
        assert_type(client.volumes(), list[StoredVolume])
        assert_type(client.open("box", model="trilinear-x4", boundary={"y": "wall"}), xr.Dataset)
        assert_type(client.submit("box", "fine", model="trilinear-x4"), Job)
        assert_type(client.submit_discovery("box", "fine", group="O"), Job)
        assert_type(client.job("some").wait(progress=show), JobStatus)
        assert_type(client.validate(dataset, field, model="trilinear-x4", boundary="periodic"), Report)
        assert_type(client.upscale(field, error=True), xr.DataArray)
        assert_type(client.check(field), Check)
        assert_type(client.self_validate("trilinear-x4"), Reproduction)
        assert_type(client.symmetry("trilinear-x4"), Symmetry)
        assert_type(client.self_validate("trilinear-x4").reproduced, bool)
        assert_type(client.model("trilinear-x4").flow, str | None)


async def go(array: NDArray[np.float32], dataset: xr.Dataset) -> None:
    async with AsyncClient("http://host:8000", transport=httpx2.ASGITransport(lambda *_: None)) as client:  # type: ignore[arg-type]
        assert_type(client, AsyncClient)
        assert_type(await client.upscale(array, model="trilinear-x4"), NDArray[np.floating[Any]])
        assert_type(await client.upscale(dataset, model="trilinear-x4"), xr.Dataset)
        assert_type(await client.models(), list[Card])
        assert_type(await client.forecast(dataset, steps=2), xr.Dataset)


def catch(client: Client, integers: NDArray[np.int64]) -> None:
    try:
        client.upscale(integers, model="trilinear-x4")  # type: ignore[type-var]
        client.validate(None, None, model="trilinear-x4")  # type: ignore[arg-type]
        client.upscale(xr.Dataset(), model="trilinear-x4", boundary={"y": 1})  # type: ignore[dict-item]
    except ServiceError as error:
        assert_type(error.status, int)
        assert_type(error.errors, tuple[FieldError, ...])
        assert_type(error.retry_after, float | None)
    except EddyliftError:
        pass
