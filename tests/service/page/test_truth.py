"""Try with a true field, in a real browser: metrics are those of its cells, of its time, and of nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest
import torch
from playwright.sync_api import expect

from models.operators import coarsen
from tests.service.page.conftest import drop
from tests.service.wire import NETCDF, dataset, netcdf, noise, npy
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from playwright.sync_api import Page

    from tests.service.page.conftest import Open, Service

SLICES = "figure.slice"
FINE = noise(3, 16, 16, 16)


def means(fine: NDArray[np.float32]) -> NDArray[np.float32]:
    coarse: NDArray[np.float32] = coarsen(torch.from_numpy(fine), 4).numpy()
    return coarse


def truth_of(page: Page) -> str:
    return page.locator(".facts dd").last.inner_text()


@pytest.mark.parametrize("bare", ["coarse", "fine"])
def test_cells_need_not_be_cubes(service: Service, open_page: Open, bare: str) -> None:
    fine = dataset(FINE)
    coarse = dataset(means(FINE)).assign_coords(fine.coarsen(z=4, y=4, x=4).mean().coords)
    files = {"coarse": netcdf(coarse), "fine": netcdf(fine)}
    parts = {"coarse": ("coarse", files["coarse"], NETCDF), "reference": ("reference", files["fine"], NETCDF)}
    options = {"model": "equivariant-general-x4", "boundary": "periodic"}
    address = f"{service.address}/v1/validate"
    wanted = httpx2.post(address, params=options, files=parts, timeout=PATIENCE_S).json()["metrics"]
    files[bare] = npy(means(FINE) if bare == "coarse" else FINE)
    page = open_page(service.address)
    drop(page, files["coarse"], "coarse.npy" if bare == "coarse" else "coarse.nc")
    expect(page.locator(SLICES)).to_have_count(3)
    with page.expect_response("**/v1/validate*") as answer:
        drop(page, files["fine"], "fine.npy" if bare == "fine" else "fine.nc", place=1)
    found = answer.value.json()["metrics"]
    for name in ("divergence", "enstrophy_ratio", "dissipation_ratio"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-6), name
    expect(page.locator("tbody tr", has_text="divergence")).to_be_visible()
    expect(page.locator(".bar .unit").first).to_have_text("u \N{MIDDLE DOT} m s-1")


def test_a_truth_is_of_one_time_and_of_one_factor(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    drop(page, npy(np.stack([means(FINE), noise(3, 4, 4, 4)])))
    expect(page.locator(SLICES)).to_have_count(3)
    drop(page, npy(FINE), "true.npy", place=1)
    expect(page.locator(SLICES)).to_have_count(6)
    assert truth_of(page) == "true.npy"
    warning = page.locator(".note.warn", has_text="not the block mean of the reference")
    expect(page.locator("tbody tr", has_text="divergence")).to_be_visible()
    expect(warning).to_have_count(0)
    for change, back in (("1", "0"), ("relaxed-isotropic-x2", "equivariant-general-x4")):
        for value, slices in ((change, 3), (back, 6)):
            if value.isdecimal():
                page.get_by_label("Time level").fill(value)
                page.get_by_label("Time level").blur()
            else:
                page.get_by_label("Model").select_option(value)
            expect(page.locator(SLICES)).to_have_count(slices)
            assert truth_of(page) == ("true.npy" if slices == 6 else "not known")
    page.get_by_label("Time level").fill("1")
    page.get_by_label("Time level").blur()
    expect(page.locator(SLICES)).to_have_count(3)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download .npy").click()
    assert download.value.suggested_filename == "field-equivariant-general-x4-level-1.npy"
    drop(page, npy(FINE), "other.npy", place=1)
    expect(warning).to_be_visible()


def test_a_truth_in_other_units_or_of_another_place_is_refused(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    drop(page, netcdf(dataset(noise(3, 4, 4, 4))), "coarse.nc")
    expect(page.locator(SLICES)).to_have_count(3)
    knots = dataset(FINE)
    for name in "uvw":
        knots[name].attrs["units"] = "km/h"
    drop(page, netcdf(knots.drop_vars([*"zyx"])), "true.nc", place=1)
    expect(page.get_by_role("alert")).to_contain_text("expected the units of the coarse velocity, m s-1")
    drop(page, netcdf(dataset(FINE)), "true.nc", place=1)
    expect(page.get_by_role("alert")).to_contain_text(
        "The true field is 4 \N{MULTIPLICATION SIGN} 8 \N{MULTIPLICATION SIGN} 16 long; expected "
        "1 \N{MULTIPLICATION SIGN} 2 \N{MULTIPLICATION SIGN} 4"
    )
    expect(page.locator(SLICES)).to_have_count(3)
