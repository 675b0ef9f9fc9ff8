"""Try, in a real browser: a file is dropped, and the very numbers of the service are seen."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import httpx2
import numpy as np
from playwright.sync_api import expect

from tests.service.page.conftest import TWO_FRAMES, drop
from tests.service.page.pictures import diverging, picture
from tests.service.wire import NPY, dataset, files_of, from_netcdf, from_npy, netcdf, noise, npy, zipped
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.service.page.conftest import Open, Service


def slice_of(page: Page, panel: str) -> Locator:
    return page.locator("figure.slice", has_text=panel).first.locator("canvas")


def pinch(page: Page, x: float, y: float, halves: list[float]) -> None:
    """Two fingers beside each other, so far from their middle."""
    touch = page.context.new_cdp_session(page)
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    for kind, half in [("touchStart", halves[0]), *(("touchMove", half) for half in halves)]:
        points = [{"x": x - half, "y": y, "id": 0}, {"x": x + half, "y": y, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_dropped_file_is_drawn_pixel_by_pixel(service: Service, open_page: Open) -> None:
    coarse = noise(3, 8, 8, 8)
    page = open_page(service.address)
    drop(page, npy(coarse))
    expect(page.locator("figure.slice")).to_have_count(3)
    answer = httpx2.post(
        f"{service.address}/v1/upscale?model=equivariant-general-x4&boundary=periodic",
        content=npy(coarse),
        headers={"Content-Type": NPY},
        timeout=PATIENCE_S,
    )
    fine = from_npy(answer.content)
    # The range is that of planes at these shares of the axis, but for half a percent at each end.
    seen = np.sort(fine[0, [3, 9, 16, 22, 28]].ravel())
    low, high = seen[int(0.005 * len(seen))], seen[int(np.ceil(0.995 * len(seen))) - 1]
    most = float(max(abs(low), abs(high)))
    for panel, plane in (("coarse", coarse[0, 4]), ("answer", fine[0, 16])):
        assert np.abs(picture(slice_of(page, panel), len(plane)) - diverging(plane, most)).max() <= 1, panel
    # Pinched to twice the size around a quarter of both edges, cells 1 to 4 of 8 are left.
    box = slice_of(page, "coarse").bounding_box()
    assert box is not None
    pinch(page, box["x"] + box["width"] / 4, box["y"] + box["height"] * 3 / 4, [16, 24, 32])
    page.evaluate(TWO_FRAMES)
    wrong = picture(slice_of(page, "coarse"), 4) - diverging(coarse[0, 4, 1:5, 1:5], most)
    assert np.abs(wrong).max() <= 1
    # One step by the keyboard, and another axis.
    page.keyboard.press("x")
    page.keyboard.press(".")
    expect(page.get_by_label("Plane along x")).to_have_value("17")
    expect(page.locator(".slices .slider")).to_have_text("x: cell 17 of 32")
    slice_of(page, "coarse").focus()
    page.keyboard.press("0")
    expect(page.locator(".slices output")).to_have_text("Probe: fine cell z 16, y 16")
    expected = r"The truth is not known.* of \S+, and .* by \S+\. If it is right, about \d+ % of the error"
    expect(page.locator(".expected")).to_have_text(re.compile(expected))
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
    expect(page.locator("figure.slice", has_text="error of answer")).to_be_visible()
    # Axes and their words are drawn anew in the colours of the theme.
    chart = page.locator(".chart canvas")
    light = chart.evaluate("canvas => canvas.toDataURL()")
    page.get_by_role("button", name="Dark colours").click()
    wait_until(lambda: bool(chart.evaluate("canvas => canvas.toDataURL()") != light))
    page.get_by_role("radio", name="Q", exact=True).click()
    expect(page.get_by_role("radio", name="Q", exact=True)).to_be_checked()
    page.get_by_role("button", name="Open the box").click()
    box = page.locator(".box > canvas")
    expect(box).to_be_visible()
    drawn = "canvas => new Promise(done => requestAnimationFrame(() => done(canvas.width)))"
    assert box.evaluate(drawn) > 100
    # One level is one value of Q, and one colour one of vorticity, in all fields.
    scales = set()
    for name in ("trilinear", "truth", "relaxed-isotropic-x4"):
        page.locator(".box").get_by_role("radio", name=name).click()
        page.evaluate(TWO_FRAMES)
        expect(page.locator(".box")).to_have_attribute("aria-busy", "false")
        scales.add(page.locator(".box .slider").inner_text() + page.locator(".box .bar").inner_text())
    assert len(scales) == 1
    assert re.match(r"Q = [\d.]+ \(velocity / length\)²", scales.pop())
    page.get_by_label("Model").select_option("equivariant-general-x4")
    expect(page.get_by_role("radio", name="equivariant-general-x4")).to_be_checked()


def test_files_of_other_kinds_say_their_boundary_and_units(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    velocity = noise(3, 4, 4, 4)
    for kind, middle in (("nc", "wall"), ("h5", "open"), ("zip", "periodic")):
        volume = dataset(velocity).assign_attrs(boundary=f"open,{middle},periodic")
        drop(page, zipped(files_of(volume)) if kind == "zip" else netcdf(volume), f"field.{kind}")
        expect(page.get_by_role("button", name=f"Download .{kind}")).to_be_visible()
        expect(page.get_by_label("Boundary along z")).to_have_value("open")
        expect(page.get_by_label("Boundary along y")).to_have_value(middle)
        expect(page.get_by_text("given by the field")).to_be_visible()
        expect(page.locator(".unit")).to_have_text("u · m s-1")
    # The last of these has coordinates that ascend.
    fine = dataset(noise(3, 16, 16, 16)).isel(y=slice(None, None, -1))
    drop(page, netcdf(fine.drop_vars(["z", "x"])), "true.nc", place=1)
    expect(page.locator("figure.slice")).to_have_count(6)
    drop(page, npy(velocity))
    drop(page, netcdf(fine), "true.nc", place=1)
    expect(page.get_by_role("alert")).to_contain_text("coordinates y that descend, the other one has none")


def test_names_of_a_file_are_said_on_the_page(service: Service, open_page: Open) -> None:
    volume = (
        dataset(noise(3, 4, 4, 4)).rename(u="east", v="north", w="up").assign(p=(("z", "y", "x"), np.zeros((4,) * 3)))
    )
    page = open_page(service.address)
    drop(page, netcdf(volume), "field.nc")
    expect(page.get_by_role("alert")).to_contain_text("expected")
    page.get_by_text("Names in the file").click()
    page.get_by_label("names").fill("east:u,north:v,up:w")
    page.get_by_label("drop", exact=True).fill("p")
    drop(page, netcdf(volume), "field.nc")
    expect(page.locator("figure.slice")).to_have_count(3)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download .nc").click()
    assert {"east", "north", "up"} < {*from_netcdf(download.value.path().read_bytes()).variables}


def test_a_model_of_several_times_warns_of_uneven_ones(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    page.get_by_label("Model").select_option("conv-isotropic-x4-3frames")
    drop(page, netcdf(dataset(noise(3, 3, 4, 4, 4)).assign_coords(time=[0.0, 1.0, 3.0])), "field.nc")
    expect(page.locator(".note.warn", has_text="the times are spaced by 1 to 2")).to_be_visible()
    expect(page.locator("figure.slice")).to_have_count(3)


def test_what_is_chosen_last_is_shown(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    drop(page, npy(noise(3, 4, 4, 4)))
    expect(page.locator(".u-legend", has_text="equivariant")).to_be_visible()
    page.route("**/v1/upscale*model=relaxed*", lambda _: None)
    with page.expect_event("requestfailed", lambda request: "model=relaxed" in request.url):
        with page.expect_request("**/v1/upscale*model=relaxed*"):
            page.get_by_label("Model").select_option("relaxed-isotropic-x4")
        expect(page.get_by_role("button", name="Download .npy")).to_be_disabled()
        page.get_by_label("Model").select_option("equivariant-general-x4")
    expect(page.locator(".note.busy")).to_have_count(0)
    expect(page.locator(".u-legend", has_text="equivariant")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_what_cannot_be_measured_is_said_so(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    body = json.dumps({"title": "Broken", "detail": "the disk is full", "errors": []})
    page.route("**/v1/check*", lambda route: route.fulfill(status=500, body=body))
    drop(page, npy(noise(3, 4, 4, 4)))
    expect(page.get_by_role("alert")).to_have_text("The answer could not be measured. Broken: the disk is full")
    expect(page.get_by_text("Measuring")).to_have_count(0)
    expect(page.locator("figure.slice")).to_have_count(3)
