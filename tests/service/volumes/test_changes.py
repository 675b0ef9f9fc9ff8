"""Volumes that change while somebody looks at them: an answer is of one volume, at every service of a data folder."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import obstore
import pytest
from obstore.store import MemoryStore

from service.formats.velocity import DatasetVelocity
from service.problems import Problem
from service.volumes import content_tag
from service.volumes.content_tag import ContentTag, TrustedTag, digested
from service.volumes.s3_storage import S3Storage
from service.volumes.source import OpenVolume, open_source
from service.volumes.uploads import UploadStore
from tests.service.conftest import parts
from tests.service.orders import LEARNED, wanted
from tests.service.wire import dataset, files_of, noise, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import xarray as xr
    from fastapi.testclient import TestClient
    from numpy.typing import NDArray

    from models.catalogue import Catalogue

    Serve = Callable[..., TestClient]

OLD, NEW = noise(3, 6, 6, 6, seed=1), 5 * noise(3, 6, 6, 6, seed=2) + 20


def chunk(client: TestClient, name: str = "box", component: str = "u") -> NDArray[np.float32]:
    response = client.get(f"/v1/views/{name}/{LEARNED}/{component}/c/0/0/0")
    assert response.status_code == 200, response.text
    return np.frombuffer(response.content, "<f4").reshape(24, 24, 24)


def overwrite(client: TestClient, velocity: NDArray[np.float32]) -> None:
    for key, content in files_of(dataset(velocity)).items():
        assert client.put(f"/v1/volumes/box/{key}", content=content).status_code == 204


def replace(client: TestClient, velocity: NDArray[np.float32]) -> None:
    send(client, "draft", dataset(velocity))
    assert client.post("/v1/volumes/draft/rename", json={"to": "box", "replace": True}).status_code == 200


@pytest.fixture
def replicas(serve: Serve, tmp_path: Path) -> tuple[TestClient, TestClient]:
    one, other = (serve(data=tmp_path / "data", block=6) for _ in range(2))
    return one, other


@pytest.mark.parametrize("change", [overwrite, replace])
def test_what_one_service_is_sent_the_other_looks_at_at_once(
    replicas: tuple[TestClient, TestClient],
    catalogue: Catalogue,
    change: Callable[[TestClient, NDArray[np.float32]], None],
) -> None:
    one, other = replicas
    send(one, "box", dataset(OLD))
    for velocity in (NEW, OLD, NEW):
        before = other.head(f"/v1/views/box/{LEARNED}/u/c/0/0/0").headers["etag"]
        chunk(other)
        change(one, velocity)
        response = other.get(f"/v1/views/box/{LEARNED}/u/c/0/0/0", headers={"If-None-Match": before})
        assert response.status_code == 200
        got = np.frombuffer(response.content, "<f4").reshape(24, 24, 24)
        assert np.array_equal(got, wanted(catalogue, velocity, block=6)[0])


def test_a_view_with_a_fingerprint_is_of_one_content(replicas: tuple[TestClient, TestClient]) -> None:
    one, other = replicas
    send(one, "box", dataset(OLD))
    path = f"/v1/views/box/{LEARNED}"
    opened = other.get(f"{path}/zarr.json").json()["attributes"]["eddylift_fingerprint"]
    assert other.get(f"{path};fingerprint={opened}/u/c/0/0/0").status_code == 200
    replace(one, NEW)

    def assert_changed(path: str) -> None:
        for part in ("u/c/0/0/0", "v/c/0/0/0", "zarr.json"):
            response = other.get(f"{path};fingerprint={opened}/{part}")
            assert (response.status_code, response.json()["type"]) == (409, "urn:eddylift:problem:changed")

    assert_changed(path)
    chunk(other)
    # Nor is it missing, for which a reader of Zarr would give NaN.
    assert_changed("/v1/views/box/relaxed-pipe-x4")
    one.delete("/v1/volumes/box")
    assert_changed(path)


def test_a_volume_that_changes_while_it_is_opened_is_refused(
    replicas: tuple[TestClient, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = replicas
    send(one, "box", dataset(OLD))

    def open_and_change(*arguments: Any, **options: Any) -> OpenVolume:  # noqa: ANN401 as they are
        source = open_source(*arguments, **options)
        monkeypatch.undo()  # both services have it
        replace(one, NEW)
        return source

    monkeypatch.setattr("service.volumes.opener.open_source", open_and_change)
    with pytest.raises(Problem, match="box has changed since it was opened"):
        parts(other).opener.source("box")
    assert parts(other).opener.source("box").cells == (6, 6, 6)


def test_a_block_that_is_read_while_the_volume_changes_is_read_again(
    replicas: tuple[TestClient, TestClient], catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = replicas
    send(one, "box", dataset(OLD))
    select, pending = DatasetVelocity.read, [NEW]

    def select_and_change(self: DatasetVelocity, content: xr.Dataset, number: int, *rest: Any) -> Any:  # noqa: ANN401 as it is
        values = select(self, content, number, *rest)
        if number == 0 and pending:
            replace(one, pending.pop())
        return values

    monkeypatch.setattr(DatasetVelocity, "read", select_and_change)
    got = [chunk(other, component=component) for component in "uvw"]
    assert not pending
    assert np.array_equal(got, wanted(catalogue, NEW, block=6))


def test_a_volume_that_changes_all_the_time_is_not_answered(
    replicas: tuple[TestClient, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = replicas
    sent = send(one, "box", dataset(OLD))
    select = DatasetVelocity.read

    def select_and_change(*arguments: Any) -> Any:  # noqa: ANN401 as it is
        values = select(*arguments)
        one.put("/v1/volumes/box/v/c/0/0/0", content=sent["v/c/0/0/0"])
        return values

    with monkeypatch.context() as patch:
        patch.setattr(DatasetVelocity, "read", select_and_change)
        response = other.get(f"/v1/views/box/{LEARNED}/u/c/0/0/0")
    assert (response.status_code, response.json()["type"]) == (503, "urn:eddylift:problem:unready")
    assert response.headers["retry-after"]
    chunk(other)


def test_what_is_written_into_the_folder_itself_is_seen(
    serve: Serve, tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.volumes.uploads.TAG_TTL_S", 0.0)
    monkeypatch.setattr("service.volumes.content_tag.TAG_SHARE", 1e9)
    client = serve(data=tmp_path / "data", block=6)
    for velocity in (OLD, NEW):
        dataset(velocity).to_zarr(tmp_path / "data" / "volumes" / "box", mode="w", consolidated=False)
        assert np.array_equal(chunk(client), wanted(catalogue, velocity, block=6)[0])


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda client: client.delete("/v1/volumes/box"), "unknown-volume"),
        (lambda client: replace(client, NEW[:, :2, :2, :2]), "changed"),
    ],
)
def test_a_volume_that_goes_while_it_is_read_is_not_blamed(
    serve: Serve, tmp_path: Path, change: Callable[[TestClient], None], kind: str
) -> None:
    """Chunks that are not there any more read as NaN."""
    client = serve(data=tmp_path / "data", block=6)
    send(client, "box", dataset(OLD))
    source = parts(client).opener.source("box")
    change(client)
    with pytest.raises(Problem) as raised:
        source.read(range(1), *[slice(0, 6)] * 3)
    assert raised.value.kind == kind


class Clock:
    """A clock that a listing moves on by some seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 2.0) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.listings: list[float] = []
        monkeypatch.setattr("service.volumes.content_tag.time.monotonic", lambda: self.now)

    def slow(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def listing(*arguments: Any) -> Any:  # noqa: ANN401 passed on
            self.listings.append(self.now)
            self.now += self.seconds
            return function(*arguments)

        return listing

    def ask(self, tag: Callable[[], content_tag.ContentTag]) -> set[content_tag.ContentTag]:
        """Ask for the tag all the time."""
        tags = set()
        while self.now < 250:
            tags.add(tag())
            self.now += 0.25
        assert self.listings == [0.0, 102.25, 204.5]
        return tags


def test_a_large_folder_is_not_listed_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing is believed for 50 times as long as it took."""
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "zarr.json").write_text("{}")
    clock = Clock(monkeypatch)
    monkeypatch.setattr("service.volumes.uploads.tag_of", clock.slow(content_tag.tag_of))
    store = UploadStore(tmp_path)
    tags = clock.ask(lambda: store.tag("box"))
    assert len(tags) == 1
    with store.changing("box"):
        pass
    assert store.tag("box") not in tags  # a service's own change is not waited for
    assert len(clock.listings) == 4


def bucket(monkeypatch: pytest.MonkeyPatch, wrap: Callable[[Any], Any]) -> S3Storage:
    """A volume in an object store, whose listings are wrapped."""
    store: Any = MemoryStore()
    obstore.put(store, "zarr.json", b"{}")
    monkeypatch.setattr("service.volumes.s3_storage.obstore.list", wrap(obstore.list))
    return S3Storage("s3://flows/box", store, fresh_s=1.0)


def test_a_large_bucket_is_not_listed_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    storage = bucket(monkeypatch, clock.slow)
    assert len(clock.ask(storage.tag)) == 1
    storage.tag(fresh=True)
    assert len(clock.listings) == 4
    storage.finish()
    storage.tag()
    assert len(clock.listings) == 5


def test_a_bucket_that_is_put_back_has_another_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or blocks of what was there meanwhile, stored while a listing was trusted, would count as blocks of it."""

    def with_equal_etags(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: [[{**each, "e_tag": "md5"} for each in part] for part in function(*arguments)]

    storage = bucket(monkeypatch, with_equal_etags)
    tag = storage.tag(fresh=True)
    assert storage.tag(fresh=True) == tag
    obstore.put(storage.store, "zarr.json", b"{}")
    assert storage.tag(fresh=True) != tag


def test_a_listing_that_had_to_wait_is_trusted_for_minutes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, seconds=60)
    storage = bucket(monkeypatch, clock.slow)
    storage.tag()
    clock.now += content_tag.TAG_MOST_S + 1
    storage.tag()
    assert len(clock.listings) == 2


def test_threads_share_a_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    listings, other = [], threading.Barrier(2)

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def listing(*arguments: Any) -> Any:  # noqa: ANN401 passed on
            listings.append(arguments)
            with suppress(threading.BrokenBarrierError):
                other.wait(0.2)  # for another one that begins meanwhile
            return function(*arguments)

        return listing

    storage = bucket(monkeypatch, wrap)
    with ThreadPoolExecutor(8) as threads:
        assert len({each.result() for each in [threads.submit(storage.tag) for _ in range(8)]}) == 1
    assert len(listings) == 1


def test_a_tag_is_of_the_group_alone(tmp_path: Path) -> None:
    dataset(OLD).to_zarr(tmp_path, consolidated=False)
    tag = content_tag.tag_of(tmp_path)
    for junk in (".DS_Store", "u/c/0/._0", "u/.nfs000000001", ".ipynb_checkpoints/zarr.json", "a note.txt",
                 "u/c/0/0/0.1f2e.partial", ".part-1"):  # fmt: skip
        (tmp_path / junk).parent.mkdir(exist_ok=True)
        (tmp_path / junk).write_bytes(b"Bud1")
    assert content_tag.tag_of(tmp_path) == tag
    document = json.loads((tmp_path / "zarr.json").read_text())
    (tmp_path / "zarr.json").write_text(json.dumps({**document, "attributes": {"more": 1}}))
    assert content_tag.tag_of(tmp_path) != tag


def test_jobs_that_ask_at_the_same_time_share_a_fresh_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    tag, listings, go_on, looks = TrustedTag(1.0), list[str](), threading.Event(), list[float]()

    def look() -> float:
        looks.append(time.monotonic())
        return looks[-1]

    def make(generation: str) -> ContentTag:
        listings.append(generation)
        assert go_on.wait(PATIENCE_S)
        return digested([])

    monkeypatch.setattr(content_tag, "time", SimpleNamespace(monotonic=look))
    with ThreadPoolExecutor(5) as threads:
        answers = [threads.submit(tag.get, make, fresh=True)]
        wait_until(lambda: bool(listings))
        answers += [threads.submit(tag.get, make, fresh=True) for _ in range(4)]
        wait_until(lambda: len(looks) == 6)  # two of the first one, and all others wait
        go_on.set()
    assert len({id(each.result()) for each in answers}) == len(listings) == 2
    tag.get(make, fresh=True)
    assert len(listings) == 3
