"""Try, in a real browser: what is chosen is what is computed, whatever else happens meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.service.page.conftest import DROP, drop
from tests.service.wire import dataset, netcdf, noise, npy
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request, Route

    from tests.service.page.conftest import Open, Service

SLICES = "figure.slice"
RELAXED = "relaxed-isotropic-x4"


def hold(page: Page, pattern: str) -> list[Route]:
    """Hold requests back; gives those that came."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(pattern, keep)
    return held


def boundary_of(request: Request) -> str:
    return parse_qs(urlsplit(request.url).query)["boundary"][0]


def test_a_field_is_computed_after_a_true_one_was_refused(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    hold(page, "**/v1/upscale*")
    with page.expect_request("**/v1/upscale*"):
        drop(page, npy(noise(3, 4, 4, 4)))
    page.unroute("**/v1/upscale*")
    drop(page, npy(noise(3, 4, 4, 4)), place=1)
    expect(page.locator(SLICES)).to_have_count(3)
    expect(page.get_by_role("alert")).to_contain_text("expected at least 16 cells")


def test_a_model_is_computed_after_a_file_was_refused(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    drop(page, npy(noise(3, 4, 4, 4)))
    expect(page.locator(".u-legend", has_text="equivariant-general-x4")).to_be_visible()
    hold(page, f"**/v1/upscale*{RELAXED}*")
    with page.expect_request(f"**/v1/upscale*{RELAXED}*"):
        page.get_by_label("Model").select_option(RELAXED)
    page.unroute(f"**/v1/upscale*{RELAXED}*")
    drop(page, b"no field")
    expect(page.locator(".u-legend", has_text=RELAXED)).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("Content-Type")
    # Nothing is computed anew if nothing was chosen anew.
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/v1/upscale" in request.url else None)
    with page.expect_response("**/v1/velocity*"):
        drop(page, b"no field either")
    expect(page.locator(".note.busy")).to_have_count(0)
    assert asked == []


def test_a_boundary_that_is_chosen_while_a_file_is_read_holds(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    along = page.get_by_label("Boundary along y")
    along.select_option("open")
    held = hold(page, "**/v1/velocity*")
    drop(page, npy(noise(3, 4, 4, 4)))
    expect(page.locator(".note.busy")).to_contain_text("Reading")
    along.select_option("wall")
    wait_until(lambda: page.evaluate("1") == 1 and bool(held))
    with page.expect_request("**/v1/upscale*") as asked:
        held[0].continue_()
    assert boundary_of(asked.value) == "periodic,wall,periodic"
    expect(page.locator(SLICES)).to_have_count(3)
    expect(page.locator(".slices")).to_contain_text("Boundary along z, y, x: periodic, wall, periodic")
    # That of one file is not that of the next.
    page.unroute("**/v1/velocity*")
    with page.expect_request("**/v1/upscale*") as asked:
        drop(page, npy(noise(3, 4, 4, 4)))
    assert boundary_of(asked.value) == "periodic,periodic,periodic"
    expect(page.locator(SLICES)).to_have_count(3)


def test_walls_that_move_can_be_left_and_chosen_again(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    moving = "wall:u=-1..1"
    drop(page, netcdf(dataset(noise(3, 4, 4, 4)).assign_attrs(boundary=f"periodic,{moving},periodic")), "couette.nc")
    along = page.get_by_label("Boundary along y")
    expect(along).to_have_value(moving)
    expect(page.locator(SLICES)).to_have_count(3)
    for end in ("periodic", moving):
        with page.expect_request("**/v1/upscale*") as asked:
            along.select_option(end)
        assert boundary_of(asked.value) == f"periodic,{end},periodic"
        expect(page.locator(".note.busy")).to_have_count(0)


@pytest.mark.parametrize("place", [0, 1])
def test_of_several_files_none_is_taken(service: Service, open_page: Open, place: int) -> None:
    page = open_page(service.address)
    drop(page, npy(noise(3, 4, 4, 4)))
    expect(page.locator(SLICES)).to_have_count(3)
    transfer = page.evaluate_handle(DROP, ["", "one.npy"])
    transfer.evaluate("transfer => transfer.items.add(new File([], 'two.npy'))")
    page.locator(".inputs .drop").nth(place).dispatch_event("drop", {"dataTransfer": transfer})
    expect(page.get_by_role("alert")).to_have_text("one.npy, two.npy: expected one file at a time.")


def test_a_fluid_at_rest_has_an_empty_spectrum(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    drop(page, npy(np.zeros((3, 4, 4, 4), np.float32)))
    # Of the answer, trilinear interpolation and the coarse field.
    expect(page.locator(".u-series")).to_have_count(3)


def test_spectra_that_cannot_be_computed_are_not_awaited(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    # As after an update of the service, which has the worker under another name.
    page.route("**/assets/spectrum.worker*", lambda route: route.fulfill(status=404))
    drop(page, npy(noise(3, 4, 4, 4)))
    expect(page.get_by_role("alert")).to_contain_text("The spectra could not be computed")
    expect(page.get_by_text("Computing spectra")).to_have_count(0)
