"""What a client asks, and what comes of the answers."""

from __future__ import annotations

import gc
import importlib.util
import json
import math
import pickle
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import httpx2
import numpy as np
import pytest
import xarray as xr

import eddylift
from eddylift import InvalidInputError, NotFoundError, Progress, _display, _paths
from tests.eddylift import conftest
from tests.eddylift.conftest import CARDS, JOB, REPORT, REPRODUCTION, SYMMETRY, FakeService, finer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.eddylift.conftest import Ask


def test_models(ask: Ask) -> None:
    assert ask("models") == CARDS


def test_model(ask: Ask) -> None:
    assert ask("model", "trilinear-x4") == CARDS[0]


def test_answers_have_attributes_and_items(ask: Ask) -> None:
    report = ask("validate", None, np.zeros((3, 4, 4, 4), np.float32), model="trilinear-x4")
    assert report.metrics["mae"] == report["metrics"]["mae"] == 0.5
    assert {"levels", "trilinear"} <= set(dir(report))
    assert (
        "<tr><th>mae</th><td>0.5</td><td>1</td><td>velocity</td><td>lower</td><td>mean absolute error"
        in report._repr_html_()
    )
    with pytest.raises(AttributeError, match=r"^Report has no skill; it has model, boundary, levels"):
        _ = report.skill
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301 our own
    card = ask("model", "relaxed-isotropic-x4")
    assert (card.flow, card.boundary[1]) == ("isotropic", "wall")
    assert repr(card).startswith("Card(name='relaxed-isotropic-x4', family='relaxed', flow='isotropic'")
    assert "<th>family</th><td>&#x27;relaxed&#x27;</td>" in card._repr_html_()
    job = ask("job", "abc")
    assert job.status.report.trilinear["mae"] == 1
    assert repr(job).endswith("Job('abc': box to None by trilinear-x4, done, 3 of 3 blocks)")
    assert ask("health").failures == {"x": "torn"}


@pytest.mark.parametrize("kind", [eddylift.Client, eddylift.AsyncClient])
def test_the_address_may_be_in_the_environment(kind: type[eddylift.Client], monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(*arguments: str) -> tuple[str, str | None]:
        client = kind(*arguments)
        return repr(client), client._http.headers.get("Authorization")

    assert seen() == (f"{kind.__name__}('http://127.0.0.1:8000')", None)
    monkeypatch.setenv("EDDYLIFT_URL", "http://there:1234")
    monkeypatch.setenv("EDDYLIFT_TOKEN", "secret")
    assert seen() == (f"{kind.__name__}('http://there:1234')", "Bearer secret")
    # A token is for the service that it came with.
    assert seen("http://elsewhere") == (f"{kind.__name__}('http://elsewhere')", None)


def test_unknown_model(ask: Ask) -> None:
    with pytest.raises(NotFoundError, match=r"there is no such thing") as caught:
        ask("model", "no-such")
    assert caught.value.status == 404


@pytest.mark.parametrize("name", ["../../health", "a/b", "a?b", "a#b", "ä b"])
def test_names_cannot_lead_elsewhere(ask: Ask, service: FakeService, name: str) -> None:
    with pytest.raises(NotFoundError):
        ask("model", name)
    assert service.requests[0].url.path == f"/v1/models/{name}"
    assert service.requests[0].url.raw_path.count(b"/") == 3


@pytest.mark.parametrize("name", ["sim/run1", "..", ".hidden", "a b", "", 101 * "a"])
def test_what_is_no_name_of_a_volume_is_not_sent(ask: Ask, service: FakeService, name: str) -> None:
    volume = np.ones((3, 4, 4, 4), np.float32)
    for call in (
        lambda: ask("upload", volume, name, replace=True),
        lambda: ask("delete_volume", name),
        lambda: _paths.view_path(name, None, None, None, None, error=False),
        lambda: ask("download", name, "copy.zarr"),
    ):
        with pytest.raises(InvalidInputError, match=r"^name: .*; expected up to 100 letters, digits, dots"):
            call()
    assert not service.requests


@pytest.mark.parametrize(
    ("names", "drop"),
    [({"Ux": "u", "lev": "z"}, ["p", "rho"]), ("Ux:u, lev:z", "p, rho"), (["Ux:u", "lev:z"], ("p", "rho"))],
)
def test_stored_volumes_are_read_with_names_and_without_variables(
    ask: Ask, service: FakeService, names: object, drop: object
) -> None:
    service.script = [httpx2.Response(200, json=JOB)] * 2
    ask("submit", "box", "fine", names=names, drop=drop)
    ask("submit_discovery", "box", "fine", names=names, drop=drop)
    for request in service.requests:
        order = json.loads(request.content)
        assert (order["names"], order["drop"]) == ({"Ux": "u", "lev": "z"}, ["p", "rho"])
    with (
        eddylift.Client("http://fake", transport=httpx2.MockTransport(service)) as client,
        pytest.raises(NotFoundError),
    ):
        client.open("box", names=names, drop=drop)  # type: ignore[arg-type]
    assert service.requests[-1].url.path == "/v1/views/box/default;names=Ux:u,lev:z;drop=p,rho/zarr.json"


def test_upscale_array(ask: Ask, service: FakeService, array: NDArray[np.float32]) -> None:
    fine = ask("upscale", array, model="trilinear-x4", boundary="periodic")
    np.testing.assert_array_equal(fine, finer(array))
    (request,) = service.requests
    assert dict(request.url.params) == {"model": "trilinear-x4", "boundary": "periodic"}
    assert request.headers["Content-Type"] == "application/x-npy"
    assert int(request.headers["Content-Length"]) == len(request.content)


def test_upscale_dataset(ask: Ask, dataset: xr.Dataset) -> None:
    fine = ask("upscale", dataset, model="trilinear-x4")
    assert dict(fine.sizes) == {"z": 8, "y": 12, "x": 16}
    assert fine["u"].attrs == {"units": "m/s"}
    assert fine.attrs == {"title": "a box"}
    np.testing.assert_array_equal(fine["w"], finer(dataset["w"].to_numpy()))


def test_upscale_data_array(ask: Ask, array: NDArray[np.float32]) -> None:
    fine = ask("upscale", xr.DataArray(array, dims=("component", "z", "y", "x"), name="flow"), model="trilinear-x4")
    assert fine.name == "flow"
    np.testing.assert_array_equal(fine, finer(array))


@pytest.mark.parametrize(
    ("boundary", "spelled"),
    [
        (None, None),
        ("periodic,wall,open", "periodic,wall,open"),
        ({"y": "wall"}, "periodic,wall,periodic"),
        ({"x": "open", "z": "wall"}, "wall,periodic,open"),
        ({}, "periodic,periodic,periodic"),
    ],
)
def test_boundary(
    ask: Ask, service: FakeService, array: NDArray[np.float32], boundary: object, spelled: str | None
) -> None:
    ask("upscale", array, model="trilinear-x4", boundary=boundary)
    assert service.requests[0].url.params.get("boundary") == spelled


def test_volumes_by_their_paths(ask: Ask, array: NDArray[np.float32], dataset: xr.Dataset, tmp_path: Path) -> None:
    np.save(tmp_path / "coarse.npy", array)
    dataset.to_netcdf(tmp_path / "coarse.nc", engine="h5netcdf")
    np.testing.assert_array_equal(ask("upscale", tmp_path / "coarse.npy"), finer(array))
    fine = ask("upscale", str(tmp_path / "coarse.nc"), names={"u": "v", "v": "u"})
    np.testing.assert_array_equal(fine["v"], finer(array[0]))
    assert ask("check", tmp_path / "coarse.npy").expected_mae == 0.1
    assert ask("validate", None, tmp_path / "coarse.nc").metrics["mae"] == 0.5
    with pytest.raises(eddylift.InvalidInputError, match=r"missing\.npy does not exist"):
        ask("upscale", tmp_path / "missing.npy")


def test_progress_as_bars(ask: Ask, array: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(_display.Bars, "__call__", lambda _, where: seen.append(where.stage))
    ask("upscale", array, progress=True)
    assert list(dict.fromkeys(seen)) == ["upload", "wait", "download"]
    seen.clear()
    ask("self_validate", "trilinear-x4", progress=True)
    assert list(dict.fromkeys(seen)) == ["wait", "download"]


def test_boundary_of_a_strange_axis(ask: Ask, service: FakeService, array: NDArray[np.float32]) -> None:
    with pytest.raises(InvalidInputError, match=r"^boundary names the axes r, expected some of z, y, x$"):
        ask("upscale", array, model="trilinear-x4", boundary={"r": "wall"})
    assert not service.requests


@pytest.mark.parametrize("with_coarse", [True, False])
def test_validate(ask: Ask, service: FakeService, array: NDArray[np.float32], *, with_coarse: bool) -> None:
    assert ask("validate", array if with_coarse else None, finer(array), model="trilinear-x4") == REPORT
    (request,) = service.requests
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert request.content.count(b'; name="reference"') == 1
    assert request.content.count(b'; name="coarse"') == with_coarse
    assert dict(request.url.params) == {"model": "trilinear-x4"}
    ask("validate", None, finer(array), length=(1.2, 2, 2.4))
    assert service.requests[-1].url.params["length"] == "1.2,2,2.4"


def test_warnings_of_the_service(ask: Ask, service: FakeService) -> None:
    headers = [("X-Eddylift-Warning", "periodic, though the card says wall"), ("X-Eddylift-Warning", "two")]
    service.script = [httpx2.Response(200, json={**REPORT, "warnings": ["two", "three"]}, headers=headers)]
    with pytest.warns(eddylift.EddyliftWarning) as caught:
        ask("validate", None, finer(np.zeros((3, 1, 1, 1))), model="trilinear-x4")
    assert [str(each.message) for each in caught] == ["periodic, though the card says wall", "two", "three"]


def test_warnings_of_a_job_are_issued_once(service: FakeService) -> None:
    running = {**JOB, "state": "running", "report": None, "warnings": ["one"]}
    done = {**JOB, "warnings": ["one"], "report": {**REPORT, "warnings": ["one", "two"]}}
    service.script = [httpx2.Response(200, json=each) for each in (running, running, done, {"jobs": [done]})]
    with eddylift.Client("http://fake", transport=httpx2.MockTransport(service)) as client:
        with pytest.warns(eddylift.EddyliftWarning) as caught:
            client.submit("box", "fine").wait()
        assert [str(each.message) for each in caught] == ["one", "two"]
        assert client.jobs()[0].status["warnings"] == ["one"]


def test_views_leave_the_transport_open(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of the client, which closes it."""
    closed: list[bool] = []
    transport = httpx2.MockTransport(service)
    monkeypatch.setattr(transport, "close", lambda: closed.append(True))
    document = {"zarr_format": 3, "node_type": "group", "attributes": {"eddylift_fingerprint": "abc"}}
    consolidated = {"kind": "inline", "must_understand": False, "metadata": {}}
    for fingerprint in ("", ";fingerprint=abc"):
        call = "GET", f"/v1/views/box/default{fingerprint}/zarr.json"
        monkeypatch.setitem(conftest.DOCUMENTS, call, {**document, "consolidated_metadata": consolidated})
    with eddylift.Client("http://fake", transport=transport) as client:
        assert client.open("box").sizes == {}
        gc.collect()
        assert not closed
    assert closed


def test_views_need_zarr(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is sent or opened."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    message = "opening a view needs the zarr package"
    client = eddylift.Client("http://fake", transport=httpx2.MockTransport(service))
    with client, pytest.raises(InvalidInputError, match=message):
        client.open("box")
    with pytest.raises(InvalidInputError, match=message):
        anyio.run(eddylift.AsyncClient("http://127.0.0.1:9").open, "box")
    assert not service.requests


def test_views_are_not_opened_past_a_transport(service: FakeService) -> None:
    client = eddylift.AsyncClient("http://fake", transport=httpx2.MockTransport(service))
    with pytest.raises(InvalidInputError, match=r"transport: an asynchronous one; expected none"):
        anyio.run(client.open, "box")
    assert not service.requests


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("models", []),
        ("self_validate", ["trilinear-x4"]),
        ("check", [np.zeros((3, 4, 4, 4))]),
        ("upscale", [np.zeros((3, 4, 4, 4))]),
        ("validate", [None, np.zeros((3, 4, 4, 4))]),
        ("forecast", [np.zeros((10, 2, 4, 4))]),
        ("discover", 2 * [np.zeros((1, 1, 4, 4))]),
        ("upload", [xr.Dataset({"p": (("z", "y", "x"), np.zeros((4, 4, 4)))}), "box"]),
    ],
)
def test_warnings_point_to_the_caller(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, method: str, given: list[object]
) -> None:
    answer = FakeService.__call__

    def doubtful(service: FakeService, request: httpx2.Request) -> httpx2.Response:
        response = answer(service, request)
        response.headers["X-Eddylift-Warning"] = "doubtful"
        return response

    monkeypatch.setattr(FakeService, "__call__", doubtful)
    with pytest.warns(eddylift.EddyliftWarning) as caught, suppress(NotFoundError):
        ask(method, *given)
    assert {each.filename for each in caught} == {conftest.__file__}


def test_warnings_point_past_the_context_managers_of_the_client(service: FakeService, dataset: xr.Dataset) -> None:
    with eddylift.Client("http://fake", transport=httpx2.MockTransport(service)) as client:
        with pytest.warns(eddylift.EddyliftWarning, match="not on the walls") as caught, suppress(NotFoundError):
            client.upload(dataset, "box", boundary="wall", resample=["y"])
        assert [each.filename for each in caught] == [__file__]


def test_symmetry(ask: Ask) -> None:
    assert ask("symmetry", "relaxed-isotropic-x4") == SYMMETRY


def test_self_validate(ask: Ask) -> None:
    assert ask("self_validate", "trilinear-x4") == REPRODUCTION


def test_token(ask: Ask, service: FakeService) -> None:
    ask("models")
    ask("models", token="secret")  # noqa: S106 the fake has no secrets
    assert [request.headers.get("Authorization") for request in service.requests] == [None, "Bearer secret"]


def test_progress(ask: Ask, array: NDArray[np.float32]) -> None:
    seen: list[Progress] = []
    fine = ask("upscale", array, model="trilinear-x4", progress=seen.append)
    sent, received = 128 + array.nbytes, 128 + fine.nbytes
    assert seen == [
        Progress("upload", 0, sent),
        Progress("upload", sent, sent),
        Progress("wait", 0, None),
        Progress("download", 0, received),
        Progress("download", received, received),
    ]


def test_address_with_a_path(service: FakeService) -> None:
    with (
        eddylift.Client("https://host/lift/", transport=httpx2.MockTransport(service)) as client,
        pytest.raises(NotFoundError),
    ):
        client.models()
    assert str(service.requests[0].url) == "https://host/lift/v1/models"


def test_what_is_no_volume(ask: Ask) -> None:
    with pytest.raises(InvalidInputError, match=r"a volume is a numpy array, .* or the path of one to read, got list"):
        ask("upscale", [1.0])


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("kind", [eddylift.Client, eddylift.AsyncClient])
def test_what_is_no_timeout(kind: type[eddylift.Client], timeout: float) -> None:
    with pytest.raises(InvalidInputError, match=r"^timeout: .*; expected seconds, more than 0, or None"):
        kind("http://fake", timeout=timeout)


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://host", "http://", "", "http://host:port", "host"])
@pytest.mark.parametrize("kind", [eddylift.Client, eddylift.AsyncClient])
def test_what_is_no_address(kind: type[eddylift.Client], address: str) -> None:
    with pytest.raises(InvalidInputError, match=r"is not an address"):
        kind(address)


@pytest.mark.parametrize("token", ["", "a\nb", "ä"])
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^the token is empty"):
        eddylift.Client("http://fake", token)


def test_answers_are_json_as_sent(ask: Ask, service: FakeService) -> None:
    card = {"name": "x", "later": {"more": [1, None]}}
    service.script = [httpx2.Response(200, content=json.dumps(card))]
    assert ask("model", "x") == card
