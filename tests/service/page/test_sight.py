"""What somebody opens, and what the page answers, is seen and told to a screen reader, in a real browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx2
from playwright.sync_api import expect

from service.jobs.spec import JobSpec
from tests.service.page.conftest import drop, put
from tests.service.page.views import settled, view
from tests.service.wire import dataset, files_of, noise, npy
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, Route

    from tests.service.page.conftest import Open, Service

BROKEN = json.dumps({"title": "Broken", "detail": "the disk is full", "errors": []})
FOCUSED = "element => element.contains(document.activeElement)"


def many(page: Page, name: str) -> None:
    """List 40 volumes like the one of this name, which is the last."""

    def answer(route: Route) -> None:
        found = {each["name"]: each for each in route.fetch().json()["volumes"]}[name]
        route.fulfill(json={"volumes": [*({**found, "name": f"other-{n}"} for n in range(39)), found]})

    page.route("**/v1/volumes", answer)


def test_a_view_that_is_opened_is_seen_and_has_the_focus(service: Service, open_page: Open) -> None:
    put(service.address, "last", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/volumes")
    page.set_viewport_size({"width": 390, "height": 844})
    many(page, "last")
    page.reload()
    place = page.get_by_label("View of last")
    for _ in range(2):
        canvas = view(page, "last")
        expect(place).to_be_focused()
        expect(canvas).to_be_in_viewport(ratio=1)
    settled(page)
    page.keyboard.press("Tab")
    assert place.evaluate(FOCUSED)
    # Who chooses another model is not led away from there, nor who comes back.
    choice = page.get_by_label("Model of views")
    choice.focus()
    choice.select_option("equivariant-general-x4")
    settled(page)
    expect(choice).to_be_focused()
    page.get_by_role("link", name="Jobs").click()
    page.get_by_role("link", name="Volumes").click()
    settled(page)
    assert not place.evaluate(FOCUSED)


def test_a_view_whose_volume_is_gone_says_nothing_else(service: Service, open_page: Open) -> None:
    put(service.address, "leaving", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/volumes")
    view(page, "leaving")
    settled(page)
    httpx2.delete(f"{service.address}/v1/volumes/leaving", timeout=PATIENCE_S).raise_for_status()
    page.get_by_label("Plane along z").fill("3")
    expect(page.get_by_role("alert")).to_contain_text("there is no volume leaving")
    expect(page.locator(".under output")).not_to_contain_text("all tiles are here")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("leaving")


def test_a_box_that_is_opened_is_seen_and_has_the_focus(service: Service, open_page: Open) -> None:
    put(service.address, "boxed", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/volumes")
    many(page, "boxed")
    page.reload()
    view(page, "boxed")
    page.get_by_role("button", name="Draw what is in the middle").click()
    place, canvas = page.get_by_label("Box", exact=True), page.locator(".box > canvas")
    expect(place).to_be_focused()
    expect(canvas).to_be_in_viewport(ratio=0.9)
    # Elsewhere, and where the box is the last of the page.
    page.get_by_role("link", name="Try").click()
    page.reload()
    drop(page, npy(noise(3, 4, 4, 4)))
    page.get_by_role("button", name="Open the box").click()
    expect(place).to_be_focused()
    expect(page.locator(".box")).to_have_attribute("aria-busy", "false")
    expect(canvas).to_be_in_viewport(ratio=0.9)
    # It is open from now on, and does not lead away from what is done next.
    page.get_by_label("Model").select_option("relaxed-isotropic-x4")
    expect(page.locator(".box").get_by_role("radio", name="relaxed-isotropic-x4")).to_be_visible()
    drop(page, npy(noise(3, 4, 4, 4, seed=1)))
    expect(canvas).to_be_visible()
    assert not place.evaluate(FOCUSED)


def test_a_box_that_was_refused_does_not_say_how_large_it_is(service: Service, open_page: Open) -> None:
    put(service.address, "unboxed", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/volumes")
    page.route("**/boxes/**", lambda route: route.fulfill(status=500, body=BROKEN))
    view(page, "unboxed")
    page.get_by_role("button", name="Draw what is in the middle").click()
    expect(page.get_by_role("alert")).to_have_text("Broken: the disk is full")
    expect(page.locator(".three output")).to_have_text("")
    page.unroute("**/boxes/**")
    page.get_by_role("radio", name="speed", exact=True).last.click()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator(".three output")).to_contain_text("cells")


def test_what_cannot_be_loaded_is_an_alert(service: Service, open_page: Open) -> None:
    page = open_page(f"{service.address}/#/models")
    page.route("**/v1/models", lambda route: route.fulfill(status=500, body=BROKEN))
    page.reload()
    expect(page.get_by_role("alert")).to_have_text("Broken: the disk is full")
    page.unroute("**/v1/models")
    page.route("**/assets/box-*.js", lambda route: route.abort())
    page.get_by_role("link", name="Try").click()
    drop(page, npy(noise(3, 4, 4, 4)))
    page.get_by_role("button", name="Open the box").click()
    expect(page.get_by_role("alert")).to_contain_text("Load the page again")


def test_a_refusal_is_seen_by_whoever_is_further_down(start: Callable[..., Service], open_page: Open) -> None:
    service = start()
    repository = service.app.state.services.jobs.repository
    for number in range(12):
        job = repository.add(JobSpec(source=f"low-{number}.", target="fine", model="trilinear-x4"), "me")
        repository.mark(job.id, "cancelled")
    page = open_page(f"{service.address}/#/jobs")
    page.route("**/resume", lambda route: route.fulfill(status=500, body=BROKEN))
    page.locator(".list li", has_text="low-0.").get_by_role("button", name="Resume").click()
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("Broken: the disk is full")
    expect(alert).to_be_in_viewport(ratio=1)
    # So is a file's at the top of a phone, whose pictures are below.
    page.set_viewport_size({"width": 390, "height": 650})
    page.get_by_role("link", name="Try").click()
    drop(page, b"no field")
    expect(alert).to_contain_text("Content-Type")
    expect(alert).to_be_in_viewport(ratio=1)
