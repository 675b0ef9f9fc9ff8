"""A service small enough to see through, and both clients to call it with."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import numpy as np
import pytest
import stamina
import xarray as xr

import eddylift

if TYPE_CHECKING:
    from numpy.typing import NDArray

CARDS: list[dict[str, Any]] = [
    {"name": "trilinear-x4", "family": "trilinear", "flow": None, "group": None, "frames": 1, "parameters": 0},
    {
        "name": "relaxed-isotropic-x4",
        "family": "relaxed",
        "flow": "isotropic",
        "group": "O",
        "frames": 1,
        "parameters": 123456,
        "boundary": ["periodic", "wall", "periodic"],
        "measured": [{"cells": [96, 96, 96], "mae_over_trilinear": {"mean": 0.25, "std": 0.01}}],
    },
]
FORECAST_CARD = {
    "name": "relaxed-smoke",
    "family": "relaxed",
    "flow": "smoke",
    "frames": 10,
    "boundary": ["wall", "wall"],
    "measured": {"domain": {"relaxed": 0.25, "persistence": 0.5}},
}
REPORT = {
    "model": "trilinear-x4",
    "boundary": ["periodic", "periodic", "periodic"],
    "levels": 1,
    "metrics": {"mae": 0.5, "skewness": [-0.4, -0.5, -0.6], "spectrum_error_low": None},
    "trilinear": {"mae": 1.0, "skewness": [0.0, 0.0, 0.0], "spectrum_error_low": None},
    "expected_mae": None,
}
CHECK = {
    "model": "equivariant-general-x4",
    "boundary": ["periodic", "periodic", "periodic"],
    "levels": 1,
    "expected_mae": 0.1,
    "correction": 0.4,
    "expected_mae_over_correction": 0.25,
    "fitting": ["general"],
}
REPRODUCTION = {
    "model": "trilinear-x4",
    "device": "cpu",
    "precision": "float32",
    "mae_over_rms": 0.125,
    "card_mae_over_rms": 0.125,
    "trilinear_mae_over_rms": 0.125,
    "reproduced": True,
    "metrics": {"mae": 0.5},
}
SYMMETRY = {
    "model": "relaxed-isotropic-x4",
    "equivariance_error": {"x,y,z": 0.0, "-y,x,z": 0.1},
    "relaxation": {"network.lift": {"A1": 1.0}},
}
DISCOVERY = {
    "group": "C2",
    "elements": ["x,y", "-x,-y"],
    "kept": ["x,y"],
    "symbol": "1",
    "exact": False,
    "layers": {"lift": {"kept": ["x,y"], "symbol": "1", "irreps": {"A": 0.9, "B": 0.1}}},
    "moved": ["A", "B"],
    "p_values": {"x,y": 1.0, "-x,-y": 0.0005},
    "common": {"x,y": 0.0, "-x,-y": 0.75},
    "common_errors": {"x,y": 0.0, "-x,-y": 0.125},
    "equivariance_errors": {"x,y": 0.0, "-x,-y": 0.25},
    "error_inside": 0.0,
    "error_outside": 0.25,
    "mse": 0.1,
    "mse_zero": 1.0,
    "mse_copy": 0.5,
    "unfitted": [],
    "unlike": [],
    "verdict": "1: 1 of the 2 elements of C2 are kept on the average.",
}
HEALTH = {
    "status": "ready",
    "models": ["trilinear-x4"],
    "failures": {"x": "torn"},
    "precisions": {},
    "warnings": {},
    "jobs": None,
    "data": "Permission denied",
}
JOB: dict[str, Any] = {
    "id": "abc",
    "task": "upscale",
    "source": "box",
    "target": None,
    "model": "trilinear-x4",
    "boundary": None,
    "names": {},
    "drop": [],
    "reference": "true",
    "x_kind": None,
    "y_kind": None,
    "group": None,
    "error": False,
    "state": "done",
    "detail": None,
    "created": 0.0,
    "report": REPORT,
    "stage": "comparing",
    "blocks": 3,
    "blocks_done": 3,
    "warnings": [],
    "voxels_per_second": None,
    "seconds_left": None,
}
DOCUMENTS: dict[tuple[str, str], object] = {
    ("GET", "/v1/models/relaxed-isotropic-x4/symmetry"): SYMMETRY,
    ("GET", "/health/ready"): HEALTH,
    ("GET", "/v1/jobs"): {"jobs": [JOB]},
    ("GET", "/v1/jobs/abc"): JOB,
    ("GET", "/v1/models"): {"models": CARDS},
    ("GET", "/v1/forecast/models"): {"models": [FORECAST_CARD]},
    ("GET", "/v1/models/trilinear-x4"): CARDS[0],
    ("GET", "/v1/models/relaxed-isotropic-x4"): CARDS[1],
    ("POST", "/v1/models/trilinear-x4/validate"): REPRODUCTION,
    ("POST", "/v1/validate"): REPORT,
    ("POST", "/v1/check"): CHECK,
    ("POST", "/v1/discover"): DISCOVERY,
}
Step = httpx2.Response | Exception


def problem(status: int, headers: dict[str, str] | None = None, **members: object) -> httpx2.Response:
    document = {"type": "about:blank", "title": "Title", "status": status, **members}
    return httpx2.Response(
        status, json=document, headers={"Content-Type": "application/problem+json", **(headers or {})}
    )


def finer(array: NDArray[Any]) -> NDArray[Any]:
    """Every cell of the last three axes, four times along each."""
    for axis in (-3, -2, -1):
        array = array.repeat(4, axis)
    return array


def finer_axis(centres: NDArray[Any]) -> NDArray[Any]:
    """Centres of the fine cells along an axis."""
    step = centres[1] - centres[0]
    fine: NDArray[Any] = np.add.outer(centres, step * np.array([-3, -1, 1, 3]) / 8).ravel()
    return fine


def about(request: httpx2.Request, content_type: str) -> dict[str, str]:
    """Headers of an answer of a model."""
    said = {name: request.url.params.get(name, "default") for name in ("model", "boundary")}
    return {"Content-Type": content_type, **{f"Eddylift-{name.title()}": value for name, value in said.items()}}


class FakeService:
    """Answers as the service does, with every coarse cell repeated; what is in `script` comes first.

    Frame k of a forecast is the last one that was sent plus k.
    """

    def __init__(self) -> None:
        self.script: list[Step] = []
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, Exception):
                raise step
            # A response belongs to one request.
            return httpx2.Response(step.status_code, headers=step.headers, content=step.content)
        call = request.method, request.url.path
        if call in DOCUMENTS:
            return httpx2.Response(200, json=DOCUMENTS[call])
        if call == ("DELETE", "/v1/volumes/box"):
            return httpx2.Response(204)
        if call == ("POST", "/v1/upscale"):
            content = self._upscale(request)
            return httpx2.Response(200, content=content, headers=about(request, request.headers["Content-Type"]))
        if call == ("POST", "/v1/forecast"):
            later = np.arange(1, int(request.url.params["steps"]) + 1, dtype=np.float32)
            answer = io.BytesIO()
            np.save(answer, np.load(io.BytesIO(request.content))[-1] + later[:, None, None, None])
            return httpx2.Response(200, content=answer.getvalue(), headers=about(request, "application/x-npy"))
        return problem(404, detail="there is no such thing")

    def _upscale(self, request: httpx2.Request) -> bytes:
        sent = io.BytesIO(request.content)
        if request.headers["Content-Type"] == "application/x-npy":
            answer = io.BytesIO()
            np.save(answer, finer(np.load(sent)))
            return answer.getvalue()
        coarse = xr.load_dataset(sent, engine="h5netcdf")
        fine = {
            name: (array.dims, finer(array.to_numpy()), array.attrs)
            for name, array in coarse.data_vars.items()
            if array.dims[-3:] == ("z", "y", "x")
        }
        coordinates = {axis: finer_axis(coarse[axis].to_numpy()) for axis in "zyx" if axis in coarse.coords}
        kept = coarse.drop_dims(("z", "y", "x")).assign_coords(coordinates)
        return bytes(kept.assign(fine).assign_attrs(coarse.attrs).to_netcdf(engine="h5netcdf"))


@pytest.fixture
def service() -> FakeService:
    return FakeService()


Ask = Callable[..., Any]


@pytest.fixture(params=["Client", "AsyncClient"])
def ask(request: pytest.FixtureRequest, service: FakeService) -> Ask:
    """Call a method of a client, by name: of each of the two in turn."""
    transport = httpx2.MockTransport(service)

    def wait(method: str, *args: object, token: str | None = None, **options: object) -> object:
        with eddylift.Client("http://fake", token, transport=transport) as client:
            return getattr(client, method)(*args, **options)

    async def go(method: str, *args: object, token: str | None = None, **options: object) -> object:
        async with eddylift.AsyncClient("http://fake", token, transport=transport) as client:
            return await getattr(client, method)(*args, **options)

    def run(method: str, *args: object, token: str | None = None, **options: object) -> object:
        return anyio.run(partial(go, method, *args, token=token, **options))

    return wait if request.param == "Client" else run


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Repeat calls at once."""
    stamina.set_testing(testing=True, attempts=100, cap=True)
    yield
    stamina.set_testing(testing=False)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def array() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((3, 2, 3, 4), np.float32)


@pytest.fixture
def dataset(array: NDArray[np.float32]) -> xr.Dataset:
    return xr.Dataset(
        {name: (("z", "y", "x"), values, {"units": "m/s"}) for name, values in zip("uvw", array, strict=True)},
        coords={"x": ("x", np.arange(4.0), {"units": "m"}), "y": np.arange(3.0)},
        attrs={"title": "a box"},
    )
