"""Views on the page, for tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.service.wire import dataset, files_of, noise

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


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


def view(page: Page, volume: str, model: str = "trilinear-x4") -> Locator:
    """Open a view; gives its picture."""
    page.get_by_label("Model of views").select_option(model)
    page.locator(".cards li", has_text=volume).get_by_role("button", name="View").click()
    return page.locator(".viewer > canvas")


def settled(page: Page) -> None:
    expect(page.locator(".under output")).to_contain_text("all tiles are here")
