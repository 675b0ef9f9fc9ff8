"""Validation of series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import xarray as xr

from models.blocks import PERIODIC
from models.superresolution import upscale
from tests.service.api.validation import FINE, means, measured, post
from tests.service.orders import THREE
from tests.service.wire import NETCDF, NPY, ZIP, dataset, files_of, netcdf, noise, npy, zipped

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from numpy.typing import NDArray

    from models.catalogue import Catalogue


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
    assert "expected 2, one for each answer, or 4, one for each time of the coarse volume" in unfit.json()["detail"]


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


@pytest.mark.parametrize("over", [(), ("time",)])
def test_the_only_time_of_a_reference(client: TestClient, over: tuple[str, ...]) -> None:
    """It may be a scalar, as `isel(time=3)` leaves it."""

    def at(time: float, velocity: NDArray[np.float32], *over: str) -> tuple[bytes, str]:
        volume = dataset(velocity[None] if over else velocity).drop_vars([*"zyx"])
        times = xr.Variable(over, [time] if over else time, {"units": DAYS})
        return netcdf(volume.assign_coords(time=times)), NETCDF

    for time, status in ((3.0, 200), (4.0, 422)):
        answer = post(client, None, coarse=at(3.0, means(FINE)), reference=at(time, FINE, *over))
        assert answer.status_code == status, answer.text
