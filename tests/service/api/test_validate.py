"""Metrics are those of ``models.metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.blocks import parse_boundary
from tests.service.api.validation import FINE, Part, means, measured, post, same
from tests.service.orders import HALF, LEARNED
from tests.service.wire import NETCDF, NPY, dataset, in_units, netcdf, noise, npy

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue


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


def test_a_reference_whose_points_lie_on_walls(client: TestClient) -> None:
    points = np.random.default_rng(0).random((3, 16, 16, 16), np.float32)
    points[:, :, [0, -1]] = 0
    answer = post(client, {"boundary": "periodic,wall,periodic"}, reference=(npy(points), NPY)).json()
    assert any(
        "the velocity of the reference is that of the wall at y, first plane; y, last plane" in each
        for each in answer["warnings"]
    )


def test_what_is_undefined_is_null(client: TestClient) -> None:
    answer = post(client, reference=(npy(np.ones((3, 16, 16, 16), np.float32)), NPY))
    assert answer.status_code == 200
    assert answer.json()["metrics"]["relative_l2"] is None


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
    answer = post(client, reference=(npy(FINE), NPY))
    assert answer.status_code == 413
    assert answer.json()["detail"].endswith("at most 10000 bytes; upload both, and submit a job with a reference")
