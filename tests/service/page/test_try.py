"""Try, in a real browser: a file is dropped, and the very numbers of the service are seen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx2
import numpy as np
from playwright.sync_api import expect

from service.settings import CHECKOUT
from tests.service.page.conftest import drop
from tests.service.wire import NPY, dataset, from_npy, netcdf, noise, npy

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from playwright.sync_api import Page

    from tests.service.page.conftest import Open, Service

PICTURE = """canvas => {
    const { width, height } = canvas;
    return [width, height, [...canvas.getContext("2d").getImageData(0, 0, width, height).data]];
}"""


def picture(page: Page, panel: str, cells: int) -> NDArray[np.int64]:
    """Colours of the cells of a panel, (row, column, 3), row 0 at the bottom, read in the middle of each cell."""
    canvas = page.locator("figure.slice", has_text=panel).first.locator("canvas")
    width, height, values = canvas.evaluate(PICTURE)
    pixels = np.array(values).reshape(height, width, 4)
    middle = (np.arange(cells) + 0.5) / cells
    rows, columns = (height * (1 - middle)).astype(int), (width * middle).astype(int)
    return pixels[np.ix_(rows, columns)][..., :3]


def diverging(values: NDArray[np.float32], most: float) -> NDArray[np.float64]:
    """The colours of the page's map from -most to most."""
    source = (CHECKOUT / "web/src/colours.ts").read_text()
    stops = bytes.fromhex(re.findall(r'DIVERGING =\s+"([0-9a-f]+)"', source)[0])
    table = np.frombuffer(stops, np.uint8).reshape(-1, 3)
    place = np.clip(np.round((values + most) * 255 / (2 * most)), 0, 255) / 255 * (len(table) - 1)
    channels = [np.interp(place, np.arange(len(table)), table[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1)


def test_a_dropped_file_is_drawn_pixel_by_pixel(service: Service, open_page: Open) -> None:
    coarse = noise(3, 8, 8, 8)
    page = open_page(service.address)
    drop(page, npy(coarse))
    expect(page.locator("figure.slice")).to_have_count(3)
    answer = httpx2.post(
        f"{service.address}/v1/upscale?model=equivariant-general-x4&boundary=periodic",
        content=npy(coarse),
        headers={"Content-Type": NPY},
    )
    fine = from_npy(answer.content)
    # The range is that of planes at these shares of the axis, but for half a percent at each end.
    seen = np.sort(fine[0, [3, 9, 16, 22, 28]].ravel())
    low, high = seen[int(0.005 * len(seen))], seen[int(np.ceil(0.995 * len(seen))) - 1]
    most = float(max(abs(low), abs(high)))
    for panel, plane in (("coarse", coarse[0, 4]), ("equivariant", fine[0, 16])):
        assert np.abs(picture(page, panel, len(plane)) - diverging(plane, most)).max() <= 1, panel
    # One step by the keyboard, and another axis.
    page.keyboard.press("x")
    page.keyboard.press(".")
    expect(page.get_by_label("Plane along x")).to_have_value("17")
    expect(page.locator(".expected")).to_contain_text("The truth is not known")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download .npy").click()
    np.testing.assert_array_equal(np.load(download.value.path())[:3], fine)


def test_a_sample_is_measured_against_its_truth(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    page.locator(".samples button", has_text="isotropic-x4").click()
    expect(page.locator("figure.slice")).to_have_count(6)
    expect(page.locator("tbody tr", has_text="relative L2")).to_be_visible()
    # Spectra of the truth, the answer, trilinear interpolation and the coarse field.
    expect(page.locator(".u-series")).to_have_count(4)
    page.get_by_label("Model").select_option("relaxed-isotropic-x4")
    expect(page.locator("figure.slice", has_text="error of relaxed")).to_be_visible()
    page.get_by_role("radio", name="Q", exact=True).click()
    expect(page.get_by_role("radio", name="Q", exact=True)).to_be_checked()
    page.get_by_role("button", name="Open the box").click()
    box = page.locator(".box > canvas")
    expect(box).to_be_visible()
    drawn = "canvas => new Promise(done => requestAnimationFrame(() => done(canvas.width)))"
    assert box.evaluate(drawn) > 100


def test_a_netcdf_file_says_its_boundary(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    drop(page, netcdf(dataset(noise(3, 4, 4, 4)).assign_attrs(boundary="open,wall,periodic")), "field.nc")
    expect(page.get_by_label("Boundary along y")).to_have_value("wall")
    expect(page.get_by_label("Boundary along z")).to_have_value("open")
    expect(page.get_by_text("as the field itself says")).to_be_visible()
    expect(page.get_by_role("button", name="Download .nc")).to_be_visible()
