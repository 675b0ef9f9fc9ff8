"""Volumes, views and jobs, in a real browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx2
from playwright.sync_api import expect

from tests.service.page.conftest import put
from tests.service.wire import dataset, files_of, noise

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.service.page.conftest import Open, Service


# The page draws once a frame, and asks for tiles when it draws.
TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
CELLS = "{0} \N{MULTIPLICATION SIGN} {0} \N{MULTIPLICATION SIGN} {0} cells"


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
    page = open_page(f"{service.address}/#/volumes")
    asked: set[str] = set()
    answered: set[str] = set()
    page.on("request", lambda request: asked.add(request.url) if "/slices/" in request.url else None)
    page.on("response", lambda response: answered.add(response.url) if "/slices/" in response.url else None)
    page.get_by_label("Model of views").select_option("trilinear-x4")
    page.locator(".cards li", has_text="huge").get_by_role("button", name="View").click()
    settled(page)
    expect(page.locator(".viewer")).to_contain_text(CELLS.format(4096))
    # The whole of it is drawn from the source alone.
    assert service.computed == 0
    canvas = page.locator(".viewer > canvas")
    canvas.focus()
    seen = 0
    # First so close that fine cells are seen, then to the right.
    for key, times in (("+", 9), ("ArrowRight", 4)):
        for _ in range(times):
            page.keyboard.press(key)
        canvas.evaluate(TWO_FRAMES)
        settled(page)
        assert seen < len(blocks(answered)) <= service.computed <= len(blocks(asked))
        seen = len(blocks(answered))
    # Of 32768 in all, 1024 on this plane.
    assert service.computed < 100


def test_flying_through_a_view_keeps_few_tiles(service: Service, open_page: Open) -> None:
    put(service.address, "sky", files_of(dataset(noise(3, 20, 4, 4))))
    page = open_page(f"{service.address}/#/volumes")
    fetched: set[str] = set()
    page.on("response", lambda response: fetched.add(response.url) if "/slices/" in response.url else None)
    page.get_by_label("Model of views").select_option("trilinear-x4")
    page.locator(".cards li", has_text="sky").get_by_role("button", name="View").click()
    canvas = page.locator(".viewer > canvas")
    settled(page)
    on_screen = int(canvas.get_attribute("data-tiles") or 0)
    while len(fetched) < 64 + 2 * on_screen:
        canvas.press(".")
        canvas.evaluate(TWO_FRAMES)
        settled(page)
    expect(canvas).to_have_attribute("data-tiles", str(64 + on_screen))


def test_a_box_of_a_view(service: Service, open_page: Open) -> None:
    put(service.address, "cube", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/volumes")
    page.locator(".cards li", has_text="cube").get_by_role("button", name="View").click()
    settled(page)
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


def test_a_folder_is_stored_as_a_volume(service: Service, open_page: Open, tmp_path: Path) -> None:
    for key, content in files_of(dataset(noise(3, 4, 4, 4))).items():
        path = tmp_path / "my flow" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    page = open_page(f"{service.address}/#/volumes")
    page.get_by_label("Choose the folder").set_input_files(tmp_path / "my flow")
    volume = page.locator(".cards li", has_text="my-flow")
    expect(volume).to_contain_text(CELLS.format(4))
    page.on("dialog", lambda dialog: dialog.accept())
    volume.get_by_role("button", name="Delete").click()
    expect(volume).to_have_count(0)


def test_a_job_is_watched_to_its_end(service: Service, open_page: Open) -> None:
    put(service.address, "small", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/jobs")
    page.locator("select[name=source]").select_option("small")
    page.locator("select[name=model]").select_option("relaxed-isotropic-x4")
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
