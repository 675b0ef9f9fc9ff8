"""Volumes, jobs, models and the documentation, in a real browser."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx2
from playwright.sync_api import expect

from service.jobs.spec import JobSpec
from tests.service.page.conftest import CELLS, folder, put
from tests.service.wire import dataset, files_of, noise
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.service.page.conftest import Open, Service


AT_A_TIME = 4  # files, as in web/src/upload.ts
# What is dropped: folders with the root of a Zarr group; a name that is empty stands for a text.
FOLDERS = """names => {
    const file = name => ({ isFile: true, name: "zarr.json", file: go => go(new File(["{}"], "zarr.json")) });
    const folder = name => {
        const entries = [[file(name)], []];
        return { isDirectory: true, name, createReader: () => ({ readEntries: go => go(entries.shift()) }) };
    };
    const transfer = new DataTransfer();
    const items = names.map(name => ({ webkitGetAsEntry: () => name ? folder(name) : null }));
    Object.defineProperty(transfer, "items", { value: items });
    return transfer;
}"""


def told(service: Service, path: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx2.get(f"{service.address}/v1/{path}", timeout=PATIENCE_S).json()
    return found


def stored(service: Service, name: str) -> dict[str, int]:
    """The keys of a stored volume, and the sizes of its objects; of no volume none."""
    keys = told(service, f"volumes/{name}/").get("keys", [])
    return {each["key"]: each["bytes"] for each in keys}


def sizes(files: Mapping[str, bytes]) -> dict[str, int]:
    return {key: len(content) for key, content in files.items()}


def test_a_folder_is_stored_as_a_volume(service: Service, open_page: Open, tmp_path: Path) -> None:
    files = files_of(dataset(noise(3, 4, 4, 4)))
    left = {"README.md": b"of the author", "u/.DS_Store": b"of a desktop", ".cache/0": b"of a program"}
    page = open_page(f"{service.address}/#/volumes")
    page.get_by_label("Drop the folder").set_input_files(folder(tmp_path / "my flow", {**files, **left}))
    volume = page.locator(".cards li", has_text="my-flow")
    expect(volume).to_contain_text(CELLS.format(4))
    assert stored(service, "my-flow") == sizes(files)
    page.once("dialog", lambda dialog: dialog.accept())
    volume.get_by_role("button", name="Delete").click()
    expect(volume).to_have_count(0)


def test_a_folder_of_a_name_that_is_taken_replaces_the_volume_if_one_agrees(
    service: Service, open_page: Open, tmp_path: Path
) -> None:
    old, new = (files_of(dataset(noise(3, n, n, n)), version=version) for n, version in ((4, 2), (8, 3)))
    put(service.address, "twice", old)
    page = open_page(f"{service.address}/#/volumes")
    place = page.get_by_label("Drop the folder")
    path = folder(tmp_path / "twice.zarr", new)
    with page.expect_event("dialog") as asked:
        place.set_input_files(path)
    assert "twice" in asked.value.message
    asked.value.dismiss()
    assert stored(service, "twice") == sizes(old)
    page.once("dialog", lambda dialog: dialog.accept())
    place.set_input_files(path)
    expect(page.locator(".cards li", has_text="twice")).to_contain_text(CELLS.format(8))
    assert stored(service, "twice") == sizes(new)


def test_a_folder_is_not_stored_if_one_of_its_files_is_refused(
    service: Service, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(f"{service.address}/#/volumes")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "PUT" else None)
    body = json.dumps({"title": "No room", "detail": "the disk is full", "errors": []})
    page.route("**/v1/volumes/*/u/c/**", lambda route: route.fulfill(status=507, body=body))
    small = {f"w/c/0/1/{index}": bytes(10) for index in range(2 * AT_A_TIME)}
    files = {**files_of(dataset(noise(3, 4, 4, 4))), **small, "w/c/9/9/9": bytes(10_000)}
    page.get_by_label("Drop the folder").set_input_files(folder(tmp_path / "holes", files))
    told_why = page.get_by_role("alert")
    expect(told_why).to_have_text("holes: No room: the disk is full")
    expect(page.get_by_role("status")).to_have_count(0)
    # Who was elsewhere meanwhile can still read it.
    page.get_by_role("link", name="Jobs").click()
    expect(told_why).to_have_count(0)
    page.get_by_role("link", name="Volumes").click()
    expect(told_why).to_have_text("holes: No room: the disk is full")
    assert any(url.endswith("w/c/9/9/9") for url in sent[:AT_A_TIME])  # the largest, as it may be too large
    assert not [url for url in sent if url.endswith("zarr.json")]
    volumes = told(service, "volumes")["volumes"]
    assert not [each["name"] for each in volumes if each["name"].startswith("holes")]


def test_a_job_is_watched_to_its_end(service: Service, open_page: Open) -> None:
    put(service.address, "small", files_of(dataset(noise(3, 8, 8, 8))))
    put(service.address, "true", files_of(dataset(noise(3, 32, 32, 32)).drop_vars(["z", "y", "x"])))
    page = open_page(f"{service.address}/#/jobs")
    page.evaluate("delete Crypto.prototype.randomUUID")  # which no page has that comes over HTTP from another host
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
    job.get_by_role("link", name="View small").click()
    expect(page.get_by_role("heading", name="small, by relaxed-isotropic-x4")).to_be_visible()
    expect(page.locator(".cards li", has_text="small-fine")).to_contain_text(CELLS.format(32))


def test_a_job_of_someone_else_is_seen(service: Service, open_page: Open) -> None:
    put(service.address, "shared", files_of(dataset(noise(3, 8, 8, 8))))
    page = open_page(f"{service.address}/#/jobs")
    expect(page.locator("select[name=source] option", has_text="shared")).to_have_count(1)
    spec = {"source": "shared", "target": "shared-fine", "model": "trilinear-x4"}
    httpx2.post(f"{service.address}/v1/jobs", json=spec, timeout=PATIENCE_S).raise_for_status()
    expect(page.locator(".list li", has_text="shared-fine").locator(".state")).to_have_text("done")


def test_older_jobs_are_shown_on_request(service: Service, open_page: Open) -> None:
    repository = service.app.state.services.jobs.repository
    for number in range(60):
        job = repository.add(JobSpec(source=f"old-{number}.", target="fine", model="trilinear-x4"), "me")
        repository.mark(job.id, "done")
    page = open_page(f"{service.address}/#/jobs")
    old = page.locator(".list li", has_text="old-")
    expect(old.filter(has_text="old-59.")).to_have_count(1)
    expect(old.filter(has_text="old-9.")).to_have_count(0)
    page.get_by_role("button", name="Show older jobs").click()
    expect(old).to_have_count(60)


def test_what_somebody_is_sending_is_no_volume_yet(service: Service, open_page: Open) -> None:
    for name in ("sent", "sent.part-0123456789ab"):
        put(service.address, name, files_of(dataset(noise(3, 4, 4, 4))))
    page = open_page(f"{service.address}/#/volumes")
    expect(page.get_by_role("heading", name="sent")).to_have_text(["sent"])
    page.get_by_role("link", name="Jobs").click()
    expect(page.locator("select[name=source] option", has_text="sent")).to_have_text(["sent"])


def test_folders_that_are_dropped_together_are_all_stored(service: Service, open_page: Open) -> None:
    page = open_page(f"{service.address}/#/volumes")
    place = page.locator(".volumes .drop")
    place.dispatch_event("drop", {"dataTransfer": page.evaluate_handle(FOLDERS, ["first", "second"])})
    for name in ("first", "second"):
        expect(page.get_by_role("heading", name=name)).to_be_visible()
    place.dispatch_event("drop", {"dataTransfer": page.evaluate_handle(FOLDERS, ["third", ""])})
    expect(page.get_by_role("heading", name="third")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("no folder of a Zarr group")


def test_a_volume_is_told_how_to_be_read(service: Service, open_page: Open) -> None:
    volume = dataset(noise(3, 8, 8, 8), extra=("z", [0.0] * 8)).rename(u="one", v="two", w="three")
    put(service.address, "odd", files_of(volume))
    page = open_page(f"{service.address}/#/volumes")
    options = {"Boundary": "open,wall,periodic", "Names": "one:u, two: v,three:w", "Drop": " extra"}
    page.get_by_label("Model of views").select_option("trilinear-x4")
    for label, value in options.items():
        page.get_by_label(label, exact=True).fill(value)
    page.locator(".cards li", has_text="odd").get_by_role("button", name="View").click()
    expect(page.locator(".viewer")).to_contain_text(f"{CELLS.format(32)}, boundary open, wall, periodic")
    page.get_by_role("link", name="Jobs").click()
    for name, value in (("source", "odd"), ("model", "trilinear-x4")):
        page.locator(f"select[name={name}]").select_option(value)
    for label, value in {**options, "Target": "odd-fine"}.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".list li", has_text="odd-fine").locator(".state")).to_have_text("done")
    job = told(service, "jobs")["jobs"][0]
    assert job["boundary"] == options["Boundary"]


def test_the_cards_of_all_models(service: Service, open_page: Open) -> None:
    page = open_page(f"{service.address}/#/models")
    names = {card["name"] for card in told(service, "models")["models"]}
    expect(page.locator(".model h2")).to_have_count(len(names))
    expect(page.locator(".model", has_text="default")).to_contain_text("equivariant-general-x4")


def test_the_documentation_works_from_files_of_its_own(service: Service, open_page: Open) -> None:
    page = open_page(f"{service.address}/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    expect(page.get_by_text("Super-resolve a velocity")).to_be_visible()
