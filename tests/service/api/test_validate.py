"""Metrics are those of ``models.metrics``, and a device that computes otherwise is found out."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from models.blocks import PERIODIC, parse_boundary
from models.convolution import NOWHERE
from models.held_out import HeldOutSamples
from models.metrics.report import report
from models.operators import coarsen
from models.superresolution import SuperResolution, upscale
from service.formats.layout import BareLayout
from service.formats.volume import Volume
from tests.service.conftest import serve_as
from tests.service.wire import NETCDF, NPY, ZIP, Cramped, dataset, files_of, in_units, netcdf, noise, npy, zipped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx2
    from fastapi.testclient import TestClient
    from numpy.typing import NDArray

    from models.catalogue import Catalogue
    from models.convolution import Axes
    from models.metrics.compare import Value

LEARNED, HALF = "relaxed-isotropic-x4", "relaxed-isotropic-x2"
THREE = "conv-isotropic-x4-3frames"
Part = tuple[bytes, str]


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


FINE = noise(3, 16, 16, 16)


@pytest.mark.parametrize("boundary", ["periodic", "periodic,wall,periodic"])
def test_a_reference_alone_is_made_coarse_here(client: TestClient, catalogue: Catalogue, boundary: str) -> None:
    response = post(client, {"boundary": boundary}, reference=(npy(FINE), NPY))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["model"] == LEARNED
    assert answer["boundary"] == list(parse_boundary(boundary))
    assert answer["levels"] == 1
    same(answer["metrics"], measured(catalogue, FINE, boundary))
    same(answer["trilinear"], measured(catalogue, FINE, boundary, model="trilinear-x4"))
    assert (answer["metrics"]["resolved_wavenumber"] is None) == ("wall" in boundary)
    assert (answer["metrics"]["mae_near_wall"] is None) == ("wall" not in boundary)


def test_a_reference_is_finer_by_the_factor_of_the_model(client: TestClient, catalogue: Catalogue) -> None:
    alone = post(client, {"model": HALF}, reference=(npy(FINE), NPY)).json()
    same(alone["metrics"], measured(catalogue, FINE, model=HALF))
    same(alone["trilinear"], measured(catalogue, FINE, model="trilinear-x2"))
    pair = {"coarse": (npy(means(FINE, 2)), NPY), "reference": (npy(FINE), NPY)}
    assert post(client, {"model": HALF}, **pair).json() == alone
    refused = post(client, {"model": LEARNED}, **pair)
    assert refused.status_code == 422
    assert "4 times the coarse one" in refused.json()["detail"]
    moved = dataset(FINE).assign_coords(y=dataset(FINE).y + 0.25)
    pair = {
        "coarse": (netcdf(dataset(FINE).coarsen(z=2, y=2, x=2).mean()), NETCDF),
        "reference": (netcdf(moved), NETCDF),
    }
    refused = post(client, {"model": HALF}, **pair)
    assert "cell centres at -0.25, +0.25 of the cells of coarse.y" in refused.json()["detail"]


def test_a_coarse_volume_may_be_sent(client: TestClient) -> None:
    alone = post(client, reference=(npy(FINE), NPY)).json()
    both = post(client, reference=(npy(FINE), "application/octet-stream"), coarse=(npy(means(FINE)), NPY))
    assert both.json() == alone


def test_a_coarse_volume_that_is_no_block_mean(client: TestClient) -> None:
    coarse, times = means(FINE), np.stack([FINE] * 3)
    for other in (FINE[:, 2::4, 2::4, 2::4], coarse.swapaxes(1, 3), 100 * coarse, np.roll(coarse, 1, 1)):
        answer = post(client, reference=(npy(FINE), NPY), coarse=(npy(other), NPY)).json()
        assert "the coarse volume is not the block mean of the reference" in answer["warnings"][-1]
    rounded = coarse.astype(np.float16).astype(np.float32)
    assert not post(client, reference=(npy(FINE), NPY), coarse=(npy(rounded), NPY)).json()["warnings"]
    uniform = np.full_like(FINE, 3.1)
    uniform[1:] = -0.13
    same = uniform[:, ::4, ::4, ::4]
    assert not post(client, reference=(npy(uniform), NPY), coarse=(npy(same), NPY)).json()["warnings"]
    other = np.stack([-coarse, coarse, -coarse])
    series = post(client, reference=(npy(times), NPY), coarse=(npy(other), NPY)).json()
    assert "not the block mean" in series["warnings"][-1]


def test_lengths_are_those_of_the_coordinates(client: TestClient, catalogue: Catalogue) -> None:
    fine = noise(3, 16, 20, 24)
    answer = post(client, reference=(netcdf(dataset(fine)), NETCDF)).json()
    # Spacings of 0.25, 0.5 and 1 along z, y and x.
    same(answer["metrics"], measured(catalogue, fine, length=(4.0, 10.0, 24.0)))
    bare = post(client, reference=(npy(fine), NPY)).json()
    cube = 2 * math.pi / 24
    same(bare["metrics"], measured(catalogue, fine, length=(16 * cube, 20 * cube, 24 * cube)))


def test_lengths_may_be_those_of_the_coarse_volume(client: TestClient, catalogue: Catalogue) -> None:
    """Axis by axis, and in one unit."""
    velocity = noise(3, 16, 20, 24)
    fine = dataset(velocity)
    coarse = dataset(means(velocity)).assign_coords(fine.coarsen(z=4, y=4, x=4).mean().coords)
    for lacks in (["z", "y", "x"], ["y"]):
        sent = {"coarse": (netcdf(coarse), NETCDF), "reference": (netcdf(fine.drop_vars(lacks)), NETCDF)}
        answer = post(client, None, **sent).json()
        same(answer["metrics"], measured(catalogue, velocity, length=(4.0, 10.0, 24.0)))
    mixed = coarse.assign_coords(y=coarse.y.assign_attrs(units="km"))
    refused = post(client, None, **{**sent, "coarse": (netcdf(mixed), NETCDF)}).json()
    assert refused["errors"][0]["field"] == "coarse.y"
    dropped = post(client, {"drop": "z,y,x"}, **sent).json()
    cube = 2 * math.pi / 24
    same(dropped["metrics"], measured(catalogue, velocity, length=(16 * cube, 20 * cube, 24 * cube)))


def test_lengths_of_bare_arrays(client: TestClient, catalogue: Catalogue) -> None:
    fine = noise(3, 16, 20, 24)
    sent = {"coarse": (npy(means(fine)), NPY), "reference": (npy(fine), NPY)}
    same(
        post(client, {"length": "4,10,24"}, **sent).json()["metrics"],
        measured(catalogue, fine, length=(4.0, 10.0, 24.0)),
    )
    for length in ("4,10", "4,10,0", "4,10,inf", "4,10,nan", "cubes"):
        refused = post(client, {"length": length}, **sent).json()
        assert refused["errors"] == [
            {"field": "length", "value": length, "expected": "a positive number for each of z, y, x: 1.2,2,2.4"}
        ]
    sent["coarse"] = (netcdf(dataset(means(fine)).drop_vars("x")), NETCDF)
    refused = post(client, {"length": "4,10,24"}, **sent).json()
    assert refused["detail"].endswith("as the volumes have coordinates; drop=z,y leaves them out")
    assert post(client, {"length": "4,10,24", "drop": "z,y"}, **sent).status_code == 200


def test_coordinates_along_some_axes_alone_are_told(client: TestClient) -> None:
    fine = dataset(noise(3, 16, 20, 24))

    def warnings(*lacks: str) -> list[str]:
        return list(post(client, reference=(netcdf(fine.drop_vars(lacks)), NETCDF)).json()["warnings"])

    assert warnings() == warnings("z", "y", "x") == []
    (warning,) = warnings("z", "x")
    assert warning.startswith("the coordinates are along y alone, so derivatives and spectra take cells as cubes")
    assert warning.endswith("along z and x too")


def test_several_times_are_samples(client: TestClient, catalogue: Catalogue) -> None:
    fine = noise(2, 3, 16, 16, 16)
    answer = post(client, reference=(zipped(files_of(dataset(fine))), ZIP)).json()
    assert answer["levels"] == 2
    each = [measured(catalogue, level, length=(4.0, 8.0, 16.0)) for level in fine]
    for name in ("mae", "relative_l2", "skewness", "consistency"):
        assert answer["metrics"][name] == pytest.approx(np.mean(np.array([row[name] for row in each]), axis=0))


def test_three_frames_are_held_against_the_middle_one(client: TestClient, catalogue: Catalogue) -> None:
    fine = noise(3, 3, 16, 16, 16)
    answer = post(client, {"model": THREE}, reference=(npy(fine), NPY))
    assert answer.status_code == 200, answer.text
    wanted = torch.from_numpy(upscale(catalogue.load(THREE), means(fine), PERIODIC))
    mae = float((wanted - torch.from_numpy(fine[1])).abs().double().mean())
    assert answer.json()["metrics"]["mae"] == pytest.approx(mae)
    middle = post(client, {"model": THREE}, coarse=(npy(means(fine)), NPY), reference=(npy(fine[1]), NPY))
    assert middle.json() == answer.json()
    assert answer.json()["trilinear"]["skill"] == 0


def test_a_series_is_held_against_the_times_that_have_an_answer(client: TestClient) -> None:
    fine = noise(4, 3, 16, 16, 16)
    coarse = (npy(means(fine)), NPY)
    every = post(client, {"model": THREE}, coarse=coarse, reference=(npy(fine), NPY))
    inner = post(client, {"model": THREE}, coarse=coarse, reference=(npy(fine[1:3]), NPY))
    assert every.json()["levels"] == 2
    assert every.json() == inner.json()
    assert "the first 1 and the last 1 of 4" in every.json()["warnings"][0]
    unfit = post(client, {"model": THREE}, coarse=coarse, reference=(npy(fine[:3]), NPY))
    assert "expected 2, one for each answer, or 4, one for each time that was sent" in unfit.json()["detail"]


def test_what_is_undefined_is_null(client: TestClient) -> None:
    answer = post(client, reference=(npy(np.ones((3, 16, 16, 16), np.float32)), NPY))
    assert answer.status_code == 200
    assert answer.json()["metrics"]["relative_l2"] is None


def test_times_without_a_value_do_not_count(client: TestClient) -> None:
    """A flow in a plane, which starts from rest."""
    plane = FINE * np.array([1, 1, 0], np.float32)[:, None, None, None]
    series = np.stack([0 * plane, plane])
    found, alone = (
        post(client, {"model": "trilinear-x4"}, reference=(npy(fine), NPY)).json()["metrics"]
        for fine in (series, plane)
    )
    assert found["mae"] == pytest.approx(alone["mae"] / 2)
    for name in ("relative_l2", "skill", "spectrum_error_low", "resolved_wavenumber", "enstrophy_ratio"):
        assert found[name] == pytest.approx(alone[name]), name
    u, v, w = found["skewness"]
    assert [u, v] == pytest.approx(alone["skewness"][:2])
    assert w is None


SHIFTED = dataset(FINE).assign_coords(x=dataset(FINE).x + 1.5)


MIXED = dataset(FINE).assign_coords(x=dataset(FINE).x.assign_attrs(units="km"))


BAD: dict[str, tuple[int, str, dict[str, Part]]] = {
    "nothing": (400, "reference", {"coarse": (npy(noise(3, 4, 4, 4)), NPY)}),
    "another part": (400, "target", {"reference": (npy(FINE), NPY), "target": (npy(FINE), NPY)}),
    "another factor": (
        422,
        "reference.shape",
        {"reference": (npy(FINE), NPY), "coarse": (npy(noise(3, 8, 8, 8)), NPY)},
    ),
    "no whole cells": (422, "reference.shape", {"reference": (npy(noise(3, 16, 18, 16)), NPY)}),
    "too small": (422, "reference.shape", {"reference": (npy(noise(3, 12, 16, 16)), NPY)}),
    "another kind": (415, "reference.Content-Type", {"reference": (b"u v w", "text/plain")}),
    "truncated": (400, "reference.body", {"reference": (npy(FINE)[:-1], NPY)}),
    "no number": (
        422,
        "coarse.u",
        {"reference": (npy(FINE), NPY), "coarse": (npy(np.full((3, 4, 4, 4), np.nan)), NPY)},
    ),
    "missing": (422, "reference.u", {"reference": (npy(np.full((3, 16, 16, 16), -999.9)), NPY)}),
    "more times": (
        422,
        "reference.levels",
        {
            "reference": (netcdf(dataset(noise(2, 3, 16, 16, 16))), NETCDF),
            "coarse": (npy(noise(3, 4, 4, 4)), NPY),
        },
    ),
    "other units": (
        422,
        "reference.units",
        {
            "reference": (netcdf(in_units(FINE, "cm/s")), NETCDF),
            "coarse": (netcdf(in_units(means(FINE), "m s-1")), NETCDF),
        },
    ),
    "other units along x": (422, "reference.x", {"reference": (netcdf(MIXED), NETCDF)}),
    "shifted": (
        422,
        "reference.x",
        {
            "reference": (netcdf(SHIFTED), NETCDF),
            "coarse": (
                netcdf(
                    dataset(means(FINE)).assign_coords(
                        {
                            axis: 2 + 4 * step * (np.arange(4) + 0.5)
                            for axis, step in {"z": 0.25, "y": 0.5, "x": 1.0}.items()
                        }
                    )
                ),
                NETCDF,
            ),
        },
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit(client: TestClient, name: str) -> None:
    status, field, volumes = BAD[name]
    response = post(client, None, **volumes)
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert post(client, reference=(npy(FINE), NPY)).status_code == 200


DAYS = "days since 2000-01-01"


@pytest.mark.parametrize(
    ("coarse", "reference", "fit"),
    [
        (([0.0, 1.0], DAYS), ([0.0, 1.0], DAYS), True),
        (([0.0, 1.0], DAYS), ([5.0, 6.0], DAYS), False),
        (([0.0, 1.0], DAYS), ([24.0, 48.0], "hours since 1999-12-31"), True),
        (([0.0, 1.0], DAYS), ([0.0, 24.0], "hours since 1999-12-31"), False),
        (([0.1, 0.2], "s"), (np.array([0.1, 0.2], "f4"), "seconds"), True),
        (([0.1, 0.2], "s"), ([100.0, 200.0], "ms"), True),
        (([0.1, 0.2], "U/h"), ([0.2, 0.3], "U/h"), False),
        (([1.0, 2.0], DAYS), ([1.0, 2.0], "s"), True),
        (([0.0, 1.0], "days since noon"), ([5.0, 6.0], "s"), True),
    ],
)
def test_times_of_a_reference(client: TestClient, coarse: tuple, reference: tuple, *, fit: bool) -> None:  # type: ignore[type-arg]
    """They are compared if both have dates, or numbers of one unit."""
    fine = np.stack([FINE, FINE])
    sent = {
        name: (
            netcdf(dataset(velocity).drop_vars([*"zyx"]).assign_coords(time=("time", times, {"units": units}))),
            NETCDF,
        )
        for name, velocity, (times, units) in (("coarse", means(fine), coarse), ("reference", fine, reference))
    }
    answer = post(client, None, **sent)
    assert answer.status_code == (200 if fit else 422), answer.text
    assert fit or answer.json()["errors"][0]["field"] == "reference.time"


def test_ends_that_may_be_swapped(client: TestClient) -> None:
    """Of an axis that descends in one file, the other one without coordinates may hold either end first."""
    down = {"y": slice(None, None, -1)}
    fine = dataset(FINE)
    coarse = fine.coarsen(z=4, y=4, x=4).mean()
    bare = (npy(FINE), NPY)
    refused = post(client, coarse=(netcdf(coarse.isel(down)), NETCDF), reference=bare)
    assert refused.json()["detail"].startswith("reference.y: missing; expected coordinates, as those of coarse.y desc")
    refused = post(client, coarse=(npy(means(FINE)), NPY), reference=(netcdf(fine.isel(down)), NETCDF))
    assert refused.json()["detail"].startswith("coarse.y: missing; expected coordinates, as those of reference.y desc")
    both = [
        post(client, coarse=(netcdf(one), NETCDF), reference=(netcdf(other), NETCDF)).json()
        for one, other in ((coarse.isel(down), fine), (coarse, fine.isel(down)), (coarse, fine))
    ]
    assert both[0] == both[1] == both[2]


def test_bodies_that_are_no_forms(client: TestClient) -> None:
    url = f"/v1/validate?model={LEARNED}"
    response = client.post(url, content=npy(FINE), headers={"Content-Type": NPY})
    assert response.status_code == 415
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
        response = client.post(url, content=npy(FINE), headers={"Content-Type": content_type})
        assert response.status_code == 400
        assert response.headers["Content-Type"] == "application/problem+json"
    text = client.post(url, files={"reference": (None, "1 2 3")})
    assert text.status_code == 400
    assert text.json()["errors"][0]["field"] == "reference"
    assert post(client, reference=(npy(FINE), NPY), coarse=(npy(FINE), NPY)).status_code == 422


def test_forms_over_the_limit(serve: Callable[..., TestClient]) -> None:
    client = serve(max_body_bytes=10_000)
    assert post(client, reference=(npy(FINE), NPY)).status_code == 413


def test_lengths_without_coordinates_are_of_cubic_cells() -> None:
    volume = Volume(np.zeros((1, 3, 4, 8, 2), np.float32), BareLayout(None), has_times=False)
    assert volume.length == pytest.approx((math.pi, 2 * math.pi, math.pi / 2))


# Against the card


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


def test_openapi_explains_every_metric(client: TestClient) -> None:
    found = post(client, reference=(npy(FINE), NPY)).json()["metrics"]
    described = client.get("/openapi.json").json()["components"]["schemas"]["Metrics"]["properties"]
    assert described.keys() == found.keys()
    assert described["mae"]["description"] == "mean absolute error of all components; unit: velocity; better: lower"
