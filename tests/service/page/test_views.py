"""Views of volumes, in a real browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx2
import numpy as np
from playwright.sync_api import expect

from tests.service.page.conftest import CELLS, TWO_FRAMES, put
from tests.service.page.pictures import diverging, picture
from tests.service.page.views import huge, settled, view
from tests.service.wire import dataset, files_of, noise
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Route

    from tests.service.page.conftest import Open, Service


def blocks(urls: set[str]) -> set[tuple[int, int]]:
    """The blocks of 128^2 cells that tiles show, of those that are finer than the source."""
    found: set[tuple[int, int]] = set()
    for url in urls:
        level, row, column = map(int, url.partition("?")[0].split("/")[-3:])
        edge = 2 << level
        if level < 2:
            found |= {(edge * row + i, edge * column + j) for i in range(edge) for j in range(edge)}
    return found


def test_a_view_of_4096_cells_is_computed_where_it_is_seen(service: Service, open_page: Open) -> None:
    put(service.address, "huge", huge())
    before = service.computed
    page = open_page(f"{service.address}/#/volumes")
    asked: set[str] = set()
    answered: set[str] = set()
    page.on("request", lambda request: asked.add(request.url) if "/slices/" in request.url else None)
    page.on("response", lambda response: answered.add(response.url) if "/slices/" in response.url else None)
    canvas = view(page, "huge")
    settled(page)
    expect(page.locator(".viewer")).to_contain_text(CELLS.format(4096))
    # The whole of it is drawn from the source alone.
    assert service.computed == before
    canvas.focus()
    seen = 0
    # First so close that fine cells are seen, then to the right.
    for key, times in (("+", 9), ("ArrowRight", 4)):
        for _ in range(times):
            page.keyboard.press(key)
        canvas.evaluate(TWO_FRAMES)
        settled(page)
        assert seen < len(blocks(answered)) <= service.computed - before <= len(blocks(asked))
        seen = len(blocks(answered))
    # Of 32768 in all, 1024 on this plane.
    assert service.computed - before < 100


def test_flying_through_a_view_keeps_few_tiles(service: Service, open_page: Open) -> None:
    put(service.address, "sky", files_of(dataset(noise(3, 20, 4, 4))))
    page = open_page(f"{service.address}/#/volumes")
    fetched: set[str] = set()
    page.on("response", lambda response: fetched.add(response.url) if "/slices/" in response.url else None)
    canvas = view(page, "sky")
    settled(page)
    on_screen = int(canvas.get_attribute("data-tiles") or 0)

    def fly() -> bool:
        canvas.press(".")
        canvas.evaluate(TWO_FRAMES)
        settled(page)
        return len(fetched) >= 64 + 2 * on_screen

    wait_until(fly)
    expect(canvas).to_have_attribute("data-tiles", str(64 + on_screen))


def test_a_box_of_a_view(service: Service, open_page: Open) -> None:
    put(service.address, "cube", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/volumes")
    view(page, "cube", "equivariant-general-x4")
    page.get_by_role("button", name="Draw what is in the middle").click()
    expect(page.locator(".three output")).to_have_text(CELLS.format(32))
    expect(page.locator(".box")).to_have_attribute("aria-busy", "false")
    canvas = page.locator(".box > canvas")
    pictures = [canvas.screenshot()]
    page.get_by_role("radio", name="largest value").click()
    expect(page.locator(".box")).to_have_attribute("aria-busy", "false")
    canvas.evaluate(TWO_FRAMES)
    pictures.append(canvas.screenshot())
    assert pictures[0] != pictures[1]


def test_no_cube_of_a_box_is_awaited_after_one_was_refused(service: Service, open_page: Open) -> None:
    put(service.address, "broken", files_of(dataset(noise(3, 40, 4, 4))))
    page = open_page(f"{service.address}/#/volumes")
    body = json.dumps({"title": "Broken", "detail": "the disk is full", "errors": []})
    page.route("**/boxes/**", lambda route: route.fulfill(status=500, body=body))
    view(page, "broken")
    page.get_by_role("radio", name="128").click()
    page.get_by_role("button", name="Draw what is in the middle").click()
    expect(page.get_by_role("alert")).to_have_text("Broken: the disk is full")
    expect(page.locator(".three output")).not_to_contain_text("to come")


def test_a_box_that_is_moved_while_it_comes(service: Service, open_page: Open) -> None:
    put(service.address, "moved", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/volumes")
    view(page, "moved")
    page.route("**/boxes/**", lambda _: None)
    with page.expect_request("**/boxes/**"):
        page.get_by_role("button", name="Draw what is in the middle").click()
    page.unroute("**/boxes/**")
    page.get_by_role("button", name="Move the box here").click()
    expect(page.locator(".box")).to_have_attribute("aria-busy", "false")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_colours_are_those_of_the_field_on_screen(service: Service, open_page: Open) -> None:
    put(service.address, "noise", files_of(dataset(noise(3, 8, 8, 8)).drop_vars(["z", "y", "x"])))
    page = open_page(f"{service.address}/#/volumes")
    canvas, bar = view(page, "noise"), page.locator(".viewer > .bar")
    settled(page)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/slices/**field=vorticity*", hold)
    page.route("**/slices/z/16/0/**field=u*", hold)
    for field in ("vorticity", "u"):
        with page.expect_request(f"**field={field}*"):
            page.get_by_role("radio", name=field, exact=True).click()
    # The source of u is there, its fine tile is not yet, and those of vorticity were given up.
    expect(page.locator(".under output")).to_contain_text("1 tile to come")
    expect(bar).to_contain_text("u \N{MIDDLE DOT} m s-1")
    ranges = [bar.inner_text()]
    for route in held:
        route.continue_()
    settled(page)
    assert bar.inner_text() == ranges[0]
    address = f"{service.address}/v1/views/noise/trilinear-x4/slices/z/16/0/0/0?field=u"
    tile = httpx2.get(address, timeout=PATIENCE_S)
    plane = np.frombuffer(tile.content, np.float16).astype(np.float32) * float(tile.headers["X-Eddylift-Scale"])
    for _ in range(2):
        most = float(bar.locator("span").last.inner_text())
        wrong = picture(canvas, 32) - diverging(plane.reshape(32, 32), most)
        # The range has four digits in words.
        assert np.abs(wrong).max() <= 5
        page.get_by_role("button", name="Fit colours").click()
        page.evaluate(TWO_FRAMES)
        ranges.append(bar.inner_text())
    assert ranges[1] != ranges[0]


def test_a_view_is_there_again_after_a_reload(service: Service, open_page: Open) -> None:
    volume = dataset(noise(3, 8, 8, 8), extra=("z", [0.0] * 8))
    put(service.address, "linked", files_of(volume))
    page = open_page(f"{service.address}/#/volumes")
    page.get_by_label("Boundary", exact=True).fill("open,wall,periodic")
    page.get_by_label("Drop", exact=True).fill("extra")
    view(page, "linked")
    said = f"{CELLS.format(32)}, boundary open, wall, periodic"
    expect(page.locator(".viewer")).to_contain_text(said)
    page.reload()
    expect(page.locator(".viewer")).to_contain_text(said)
    expect(page.get_by_label("Model of views")).to_have_value("trilinear-x4")
    expect(page.get_by_label("Drop", exact=True)).to_have_value("extra")


def test_a_view_of_a_volume_that_changed_can_be_opened_again(service: Service, open_page: Open) -> None:
    put(service.address, "changing", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/volumes")
    view(page, "changing")
    settled(page)
    put(service.address, "changing", files_of(dataset(noise(3, 8, 8, 8, seed=1))))
    page.get_by_role("radio", name="y", exact=True).click()
    trouble = page.get_by_role("alert")
    expect(trouble).to_contain_text("open it again")
    view(page, "changing")
    expect(trouble).to_have_count(0)
    settled(page)


def test_warnings_of_a_view_are_shown(service: Service, open_page: Open) -> None:
    put(service.address, "doubtful", files_of(dataset(noise(3, 8, 8, 8)).assign_attrs(boundary="wall")))
    page = open_page(f"{service.address}/#/volumes")
    view(page, "doubtful", "relaxed-isotropic-x4")
    address = f"{service.address}/v1/views/doubtful/relaxed-isotropic-x4/zarr.json"
    told = httpx2.get(address, timeout=PATIENCE_S).headers.get_list("X-Eddylift-Warning")
    assert len(told) > 1
    expect(page.locator(".viewer > .note.warn")).to_have_text(told)


def test_a_tile_that_is_refused_is_asked_for_once(service: Service, open_page: Open) -> None:
    put(service.address, "refused", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/volumes")
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=500, body=json.dumps({"title": "Broken", "detail": "the disk is full", "errors": []}))

    page.route("**/slices/z/**", refuse)
    view(page, "refused")
    trouble = page.get_by_role("alert")
    expect(trouble).to_have_text("Broken: the disk is full")
    expect(page.locator(".under output")).not_to_contain_text("tile")
    page.evaluate(TWO_FRAMES)
    assert len(asked) == len(set(asked))
    page.get_by_role("radio", name="y", exact=True).click()
    expect(trouble).to_have_count(0)
    settled(page)
