"""What goes wrong is told in words, in a real browser, and nothing is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx2
import numpy as np
from playwright.sync_api import expect

from service.api.auth import make_token
from tests.service.page.conftest import drop, folder, put
from tests.service.wire import Gate, dataset, files_of, noise, npy
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from playwright.sync_api import Route

    from tests.service.page.conftest import Open, Service


def test_refusals_are_told_in_words_and_nothing_is_lost(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    slices = page.locator("figure.slice")
    drop(page, npy(noise(3, 4, 4, 4)))
    expect(slices).to_have_count(3)
    for content, words in (
        (b"no field", "Content-Type"),
        (npy(np.full((3, 4, 4, 4), np.nan, np.float32)), "nan"),
        (npy(noise(3, 20, 20, 20)), "at most 4096 cells"),
        (npy(noise(3, 32, 32, 32)), "at most 165888"),
    ):
        drop(page, content)
        expect(page.get_by_role("alert")).to_contain_text(words)
        expect(slices).to_have_count(3)
    # What the service takes, and a tab does not hold.
    many = npy(np.zeros((3, 0, 80, 80), np.float32)).replace(b"(3, 0,", b"(3,80,")
    page.route("**/v1/velocity*", lambda route: route.fulfill(body=many, headers={"Eddylift-Length": "1,1,1"}))
    drop(page, b"any")
    expect(page.get_by_role("alert")).to_contain_text("too many for this page")
    expect(slices).to_have_count(3)
    page.unroute("**/v1/velocity*")
    drop(page, npy(noise(3, 4, 4, 4)))
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(slices).to_have_count(3)


def test_a_file_that_cannot_be_read_any_more(service: Service, open_page: Open, tmp_path: Path) -> None:
    page = open_page(service.address)
    file = tmp_path / "field.npy"
    file.write_bytes(npy(noise(3, 4, 4, 4)))

    def delete(route: Route) -> None:
        file.unlink(missing_ok=True)
        route.abort()

    page.route("**/v1/velocity*", delete)
    page.locator(".inputs .drop input").first.set_input_files(file)
    expect(page.get_by_role("alert")).to_contain_text("field.npy: a folder, or changed since it was chosen")


def test_a_file_that_is_dropped_beside_its_place_does_not_replace_the_page(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    refused = "() => !document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true }))"
    assert page.evaluate(refused)


def test_a_service_that_is_busy_or_warming_up_or_away_is_waited_for(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    expect(page.locator(".samples button").first).to_be_visible()
    troubles = [("busy", 429), ("models are being loaded", 503), ("cannot be reached", 0)]
    left = list(troubles)

    def trouble(route: Route) -> None:
        if not left:
            route.continue_()
            return
        detail, status = left[0]
        if status:
            body = json.dumps({"title": "Not now", "detail": detail, "errors": []})
            route.fulfill(status=status, body=body, headers={"Retry-After": "1"})
        else:
            route.abort()

    page.route("**/v1/velocity*", trouble)
    drop(page, npy(noise(3, 4, 4, 4)))
    for words, _ in troubles:
        expect(page.locator(".away")).to_contain_text(words)
        expect(page.locator(".away")).to_contain_text("nothing is lost")
        del left[0]
    expect(page.locator("figure.slice")).to_have_count(3)
    expect(page.locator(".away")).to_have_count(0)


def test_a_job_is_watched_on_after_the_service_was_away(
    service: Service, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, gate = service.app.state.services, Gate()
    registry, name = services.engine.registry, "trilinear-x4"
    monkeypatch.setitem(registry._models, name, (registry.card(name), gate))
    put(service.address, "gated", files_of(dataset(noise(3, 8, 8, 8))))
    spec = {"source": "gated", "target": "gated-fine", "model": "trilinear-x4"}
    httpx2.post(f"{service.address}/v1/jobs", json=spec, timeout=PATIENCE_S).raise_for_status()
    page = open_page(f"{service.address}/#/jobs")
    state = page.locator(".list li", has_text="gated").locator(".state")
    expect(state).to_have_text("running")
    page.route("**/v1/jobs?limit=*", lambda route: route.abort())
    expect(page.locator(".away")).to_contain_text("cannot be reached")
    page.unroute("**/v1/jobs?limit=*")
    expect(page.locator(".away")).to_have_count(0)
    page.get_by_role("button", name="Cancel").click()
    expect(state).to_have_text("cancelled")
    gate.open.set()
    page.get_by_role("button", name="Resume").click()
    expect(state).to_have_text("done")


def test_a_token_is_asked_for_and_kept_for_the_tab(
    start: Callable[..., Service], open_page: Open, tmp_path: Path
) -> None:
    secret, line = make_token("lab", "read")
    (tmp_path / "tokens").write_text(line)
    guarded = start(tokens=tmp_path / "tokens")
    page = open_page(guarded.address)
    dialog = page.get_by_role("dialog")
    for token, words in (("guessed", "does not know"), (secret, "")):
        expect(dialog).to_be_visible()
        page.get_by_role("textbox", name="Token").fill(token)
        page.get_by_role("button", name="Use it").click()
        if words:
            expect(dialog).to_contain_text(words)
    expect(page.locator(".samples button").first).to_be_visible()
    expect(dialog).to_be_hidden()
    page.reload()
    expect(page.locator(".samples button").first).to_be_visible()
    expect(dialog).to_be_hidden()
    assert secret not in page.url


def test_what_a_token_did_not_allow_is_fetched_with_the_next_one(
    start: Callable[..., Service], open_page: Open, tmp_path: Path
) -> None:
    secret, line = make_token("lab", "read")
    (tmp_path / "tokens").write_text(line)
    page = open_page(f"{start(tokens=tmp_path / 'tokens').address}/#/volumes")
    body = json.dumps({"title": "Forbidden", "detail": "this token is for others", "errors": []})
    page.route("**/v1/volumes", lambda route: route.fulfill(status=403, body=body))
    field, use = page.get_by_role("textbox", name="Token"), page.get_by_role("button", name="Use it")
    field.fill(secret)
    use.click()
    expect(page.get_by_role("alert")).to_contain_text("this token is for others")
    page.unroute("**/v1/volumes")
    page.get_by_role("button", name="Token").click()
    field.fill(secret)
    use.click()
    expect(page.get_by_text("No volume is stored here yet")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_browser_that_keeps_nothing(service: Service, open_page: Open) -> None:
    page = open_page(service.address)
    page.add_init_script("""
        for (const kind of ["localStorage", "sessionStorage"])
            Object.defineProperty(window, kind, { get() { throw new DOMException("", "SecurityError"); } });
    """)
    page.reload()
    page.get_by_role("button", name="Dark colours").click()
    expect(page.get_by_role("button", name="Light colours")).to_be_visible()


def test_a_token_that_cannot_be_one_is_refused_and_one_that_allows_too_little_replaced(
    start: Callable[..., Service], open_page: Open, tmp_path: Path
) -> None:
    made = {"read": make_token("reader", "read"), "write": make_token("writer", "write")}
    (tmp_path / "tokens").write_text("\n".join(line for _, line in made.values()))
    page = open_page(f"{start(tokens=tmp_path / 'tokens').address}/#/volumes")
    dialog, field = page.get_by_role("dialog"), page.get_by_role("textbox", name="Token")
    use = page.get_by_role("button", name="Use it")
    field.fill(f"{made['read'][0]}\N{HORIZONTAL ELLIPSIS}")  # copied from where it was shortened
    use.click()
    expect(page.locator("input:invalid")).to_have_count(1)
    field.fill(made["read"][0])
    use.click()
    expect(dialog).to_be_hidden()
    path = folder(tmp_path / "mine", files_of(dataset(noise(3, 4, 4, 4))))
    page.get_by_label("Drop the folder").set_input_files(path)
    expect(page.get_by_role("alert")).to_contain_text("scope write")
    ask = page.get_by_role("button", name="Token")
    ask.click()
    page.get_by_role("button", name="Keep").click()
    expect(dialog).to_be_hidden()
    ask.click()
    field.fill(made["write"][0])
    use.click()
    page.get_by_label("Drop the folder").set_input_files(path)
    expect(page.locator(".cards li", has_text="mine")).to_be_visible()
