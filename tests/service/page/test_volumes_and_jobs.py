"""Volumes, views and jobs, in a real browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx2
from playwright.sync_api import expect

from tests.service.wire import dataset, files_of, noise
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.service.page.conftest import Open, Service


CELLS = "{0} \N{MULTIPLICATION SIGN} {0} \N{MULTIPLICATION SIGN} {0} cells"


def put(service: Service, name: str, files: dict[str, bytes]) -> None:
    for key, content in files.items():
        httpx2.put(f"{service.address}/v1/volumes/{name}/{key}", content=content).raise_for_status()


def huge() -> dict[str, bytes]:
    """A volume of 1024^3 cells without a chunk: all of it is 0."""
    files = files_of(dataset(noise(3, 8, 8, 8)).drop_vars(["z", "y", "x"]).assign_attrs(boundary="open"))
    found = {"zarr.json": files["zarr.json"]}
    for name in "uvw":
        head = json.loads(files[f"{name}/zarr.json"])
        head["shape"] = [1024] * 3
        head["chunk_grid"]["configuration"]["chunk_shape"] = [64] * 3
        found[f"{name}/zarr.json"] = json.dumps({**head, "fill_value": 0.0}).encode()
    return found


def settled(page: Page) -> None:
    expect(page.locator(".under output")).to_have_text("all tiles are here")


def test_a_view_of_4096_cells_is_computed_where_it_is_seen(service: Service, open_page: Open) -> None:
    put(service, "huge", huge())
    page = open_page(f"{service.address}/#/volumes")
    fine: set[str] = set()
    page.on(
        "response", lambda answer: fine.add(answer.url) if "/2048/0/" in answer.url and answer.status == 200 else None
    )
    page.get_by_label("Model of views").select_option("trilinear-x4")
    page.locator(".cards li", has_text="huge").get_by_role("button", name="View").click()
    settled(page)
    expect(page.locator(".viewer")).to_contain_text(CELLS.format(4096))
    # The whole of it is drawn from the source alone.
    assert service.computed == 0
    canvas = page.locator(".viewer > canvas")
    canvas.focus()
    # So close that less than a tile is seen, in the middle of one.
    for _ in range(14):
        page.keyboard.press("+")
    canvas.evaluate("canvas => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    settled(page)
    wait_until(lambda: service.computed == 4 * len(fine))
    before = len(fine)
    assert 1 <= before <= 9
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    canvas.evaluate("canvas => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    settled(page)
    assert before < len(fine) <= 12
    # A tile is four blocks of 128^2; of 32768 in all.
    assert service.computed == 4 * len(fine)


def test_a_job_is_watched_to_its_end(service: Service, open_page: Open) -> None:
    put(service, "small", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/jobs")
    page.get_by_label("Volume").select_option("small")
    page.get_by_label("Model", exact=True).select_option("relaxed-isotropic-x4")
    page.get_by_label("Into").fill("small-fine")
    page.get_by_role("button", name="Start").click()
    job = page.locator(".list li", has_text="small-fine")
    expect(job.locator(".state")).to_have_text("done")
    expect(job).to_contain_text("1 of 1 blocks")
    page.get_by_role("link", name="Volumes").click()
    expect(page.locator(".cards li", has_text="small-fine")).to_contain_text(CELLS.format(32))


def test_the_cards_of_all_models(service: Service, open_page: Open) -> None:
    page = open_page(f"{service.address}/#/models")
    names = {card["name"] for card in httpx2.get(f"{service.address}/v1/models").json()["models"]}
    expect(page.locator(".model h2")).to_have_count(len(names))
    expect(page.locator(".model", has_text="default")).to_contain_text("equivariant-general-x4")


def test_the_documentation_works_from_files_of_its_own(service: Service, open_page: Open) -> None:
    page = open_page(f"{service.address}/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    expect(page.get_by_text("Super-resolve a velocity")).to_be_visible()
