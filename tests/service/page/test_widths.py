"""The page on a phone and on a desk: nothing is wider than the window or cut off, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from service.jobs.spec import JobSpec
from tests.service.page.conftest import TWO_FRAMES, drop, put
from tests.service.page.views import settled, view
from tests.service.wire import dataset, files_of, netcdf, noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, Route

    from tests.service.page.conftest import Open, Service

WIDTHS = (390, 1280)
FLOWS = (
    *("isotropic", "inertial", "channel", "couette", "decaying"),
    *("rotating", "stratified", "sheared", "kolmogorov", "taylor-green"),
)
MEASURED = (
    *("mae_over_rms", "mae_over_trilinear"),
    *("error_coverage_50", "error_coverage_90", "error_predicted_over_found"),
)
# What is wider than its place, which would scroll sideways or is cut off.
WIDE = """() => [document.documentElement, ...document.querySelectorAll("main :not(select, input)")]
    .filter(each => each.clientWidth && each.scrollWidth > each.clientWidth + 1)
    .map(each => `${each.tagName} ${each.className}: ${each.textContent.slice(0, 60)}`)"""


def require_fit(page: Page) -> None:
    """Once all is drawn, nothing is wider than its place."""
    page.evaluate(TWO_FRAMES)
    assert page.evaluate(WIDE) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_sample_and_its_names_fit(service: Service, open_page: Open, width: int) -> None:
    page = open_page(service.address)
    page.set_viewport_size({"width": width, "height": 844})
    page.locator(".samples button", has_text="isotropic-x4").click()
    expect(page.locator("tbody tr", has_text="relative L2")).to_be_visible()
    require_fit(page)
    tops = page.locator(".slice canvas").evaluate_all("all => all.map(each => each.getBoundingClientRect().top)")
    pictures = 2 if width == 390 else 4
    assert len(set(tops[:pictures])) == len(set(tops[-2:])) == 1
    # They stay where they are when one points at them.
    page.locator(".slice canvas").nth(1).hover()
    box = page.locator(".slice canvas").nth(1).bounding_box()
    page.mouse.move(0, 0)
    assert page.locator(".slice canvas").nth(1).bounding_box() == box


@pytest.mark.parametrize("width", WIDTHS)
def test_names_and_units_of_any_length_fit(start: Callable[..., Service], open_page: Open, width: int) -> None:
    service = start()
    volume = dataset(noise(3, 4, 4, 4)).assign_attrs(boundary="wall:u=-1.25..1.25,open,periodic")
    for name in "uvw":
        volume[name].attrs["units"] = "metres" * 20
    long = "l" * 90 + str(width)
    put(service.address, long, files_of(volume))
    job = service.app.state.services.jobs.repository.add(
        JobSpec(source=f"{long}.", target="t" * 100, model="trilinear-x4"), "me"
    )
    service.app.state.services.jobs.repository.mark(job.id, "failed", "d" * 300)
    page = open_page(f"{service.address}/#/jobs")
    page.set_viewport_size({"width": width, "height": 844})
    expect(page.get_by_role("heading", name=long)).to_be_visible()
    require_fit(page)
    page.get_by_role("link", name="Volumes").click()
    view(page, long)
    settled(page)
    require_fit(page)
    page.get_by_role("button", name="Draw what is in the middle").click()
    expect(page.locator(".box")).to_have_attribute("aria-busy", "false")
    require_fit(page)
    page.get_by_role("link", name="Try").click()
    drop(page, netcdf(volume), f"{'f' * 150}.nc")
    expect(page.locator(".expected")).to_be_visible()
    require_fit(page)


@pytest.mark.parametrize("width", WIDTHS)
def test_cards_with_ten_flows_fit(service: Service, open_page: Open, width: int) -> None:
    def answer(route: Route) -> None:
        found = route.fetch().json()
        for card in found["models"]:
            run = {"samples": 8, **{key: {"mean": 0.5} for key in ("mae_over_rms", "mae_over_trilinear")}}
            run |= {
                key: {"mean": 0.9} for key in ("error_coverage_50", "error_coverage_90", "error_predicted_over_found")
            }
            card["measured"] = [{**run, "run": flow, "flow": flow, "cells": [64, 64, 64]} for flow in FLOWS]
        route.fulfill(json=found)

    page = open_page(f"{service.address}/#/models")
    page.set_viewport_size({"width": width, "height": 844})
    page.route("**/v1/models", answer)
    page.reload()
    rows = page.locator(".model", has_text="equivariant-general-x4").locator(".bars").first.locator("span")
    expect(rows).to_have_text([f"{flow} 64\N{SUPERSCRIPT THREE}" for flow in FLOWS])
    require_fit(page)
