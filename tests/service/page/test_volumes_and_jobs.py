"""Volumes, jobs, models and the documentation, in a real browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx2
from playwright.sync_api import expect

from tests.service.page.conftest import CELLS, put
from tests.service.wire import dataset, files_of, noise

if TYPE_CHECKING:
    from pathlib import Path

    from tests.service.page.conftest import Open, Service


def test_a_folder_is_stored_as_a_volume(service: Service, open_page: Open, tmp_path: Path) -> None:
    for key, content in files_of(dataset(noise(3, 4, 4, 4))).items():
        path = tmp_path / "my flow" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    page = open_page(f"{service.address}/#/volumes")
    page.get_by_label("Drop the folder").set_input_files(tmp_path / "my flow")
    volume = page.locator(".cards li", has_text="my-flow")
    expect(volume).to_contain_text(CELLS.format(4))
    page.on("dialog", lambda dialog: dialog.accept())
    volume.get_by_role("button", name="Delete").click()
    expect(volume).to_have_count(0)


def test_a_job_is_watched_to_its_end(service: Service, open_page: Open) -> None:
    put(service.address, "small", files_of(dataset(noise(3, 8, 8, 8))))
    put(service.address, "true", files_of(dataset(noise(3, 32, 32, 32)).drop_vars(["z", "y", "x"])))
    page = open_page(f"{service.address}/#/jobs")
    page.locator("select[name=source]").select_option("small")
    page.locator("select[name=model]").select_option("relaxed-isotropic-x4")
    page.get_by_label("Target").fill("small-fine")
    page.get_by_label("Compare with").select_option("true")
    page.get_by_role("button", name="Start").click()
    job = page.locator(".list li", has_text="small-fine")
    expect(job.locator(".state")).to_have_text("done")
    expect(job).to_contain_text(re.compile(r"(\d+) of \1 blocks"))
    job.locator("summary").click()
    expect(job.locator("tbody tr", has_text="relative L2")).to_be_visible()
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
