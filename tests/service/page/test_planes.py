"""Planes of views, in a real browser: where they lie, and how they are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest
from playwright.sync_api import expect

from tests.service.page.conftest import TWO_FRAMES, put
from tests.service.page.pictures import drawn
from tests.service.page.views import huge, settled, view
from tests.service.wire import dataset, files_of, noise
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Route

    from tests.service.page.conftest import Open, Service


def test_a_plane_across_another_axis_has_its_own_proportions(service: Service, open_page: Open) -> None:
    # Fine cells have edges of 0.25, 0.125 and 0.25 along z, y, x.
    volume = dataset(noise(3, 8, 4, 4))
    put(service.address, "tall", files_of(volume.assign_coords(z=volume.z * 4)))
    page = open_page(f"{service.address}/#/volumes")
    canvas = view(page, "tall")
    settled(page)
    page.get_by_role("radio", name="x", exact=True).click()
    expect(page.locator(".viewer .slider").first).to_have_text("x: cell 8 of 16")
    settled(page)
    canvas.evaluate(TWO_FRAMES)
    left, top, right, bottom = drawn(canvas)
    assert (bottom - top) / (right - left) == pytest.approx(32 / 16 * 0.25 / 0.125, rel=0.05)
    canvas.hover(position={"x": left + 10.5 / 16 * (right - left), "y": bottom - 5.5 / 32 * (bottom - top)})
    probe = page.locator(".under output")
    expect(probe).to_contain_text("at cell z 5, y 10")
    tile = httpx2.get(f"{service.address}/v1/views/tall/trilinear-x4/slices/x/8/0/0/0?field=speed", timeout=PATIENCE_S)
    plane = np.frombuffer(tile.content, np.float16).reshape(32, 16) * float(tile.headers["X-Eddylift-Scale"])
    assert float(probe.inner_text().split()[2]) == pytest.approx(plane[5, 10], rel=1e-3)


def test_a_link_to_another_volume_opens_that_one(service: Service, open_page: Open) -> None:
    put(service.address, "first", files_of(dataset(noise(3, 8, 4, 4))))
    put(service.address, "second", files_of(dataset(noise(3, 6, 6, 6))))
    page = open_page(f"{service.address}/#/volumes")
    view(page, "first")
    settled(page)
    with page.expect_request("**/views/second/**/slices/**"):
        page.evaluate("location.hash = '#/volumes?volume=second&model=trilinear-x4'")
    expect(page.locator(".viewer .slider").first).to_contain_text("of 24")
    expect(page.get_by_role("heading", name="second, by trilinear-x4")).to_be_visible()


def test_a_view_opens_amid_a_block(start: Callable[..., Service], open_page: Open) -> None:
    service = start(block=4)
    put(service.address, "blocks", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/volumes")
    view(page, "blocks")
    for axis in "zyx":
        page.get_by_role("radio", name=axis, exact=True).click()
        # Of 32 planes, 16 is the first of a block.
        expect(page.get_by_label(f"Plane along {axis}")).to_have_value("24")
    expect(page.locator(".viewer > .hint")).not_to_contain_text("one-sided")
    page.get_by_role("radio", name="vorticity").first.click()
    expect(page.locator(".viewer > .hint")).to_contain_text("one-sided")


def test_expected_errors_of_what_is_too_far_are_not_asked_for(service: Service, open_page: Open) -> None:
    put(service.address, "far", huge())
    page = open_page(f"{service.address}/#/volumes")
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(body=bytes(2 * 256**2), headers={"X-Eddylift-Shape": "256,256", "X-Eddylift-Scale": "1"})

    page.route("**/slices/**field=error*", answer)
    canvas = view(page, "far", "equivariant-general-x4")
    settled(page)
    page.get_by_role("radio", name="expected error").click()
    trouble = page.get_by_role("alert")
    expect(trouble).to_contain_text("Zoom in")
    assert asked == []
    canvas.focus()
    for _ in range(4):
        page.keyboard.press("+")
    expect(trouble).to_have_count(0)
    settled(page)
    assert asked
