"""Volumes are kept key by key, inside their folder, and told what they are."""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from service.formats.decompressed_size import BrokenChunkError
from service.formats.zarr_codecs import NOWHERE, Chunks
from service.problems import Problem
from service.volumes.chunk_cache import DiskCache
from service.volumes.files import write_whole
from service.volumes.uploads import UploadStore
from tests.service.wire import dataset, noise, send
from tests.waiting import age, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import xarray as xr
    from fastapi.testclient import TestClient

    Serve = Callable[..., TestClient]


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> TestClient:
    return serve(data=tmp_path / "data")


@pytest.mark.parametrize("version", [2, 3])
def test_what_is_sent_can_be_fetched(client: TestClient, version: int) -> None:
    sent = send(client, "box", dataset(noise(3, 4, 5, 6)), version=version)
    for key, value in sent.items():
        response = client.get(f"/v1/volumes/box/{key}")
        assert response.content == value
        head = client.head(f"/v1/volumes/box/{key}")
        assert head.headers["content-length"] == str(len(value))
        assert head.headers["etag"] == response.headers["etag"]
        assert not head.content
    told = client.get("/v1/volumes/box").json()
    assert told["keys"] == len(sent)
    assert told["bytes"] == sum(map(len, sent.values()))
    assert (told["variables"], told["cells"], told["levels"]) == (["u", "v", "w"], [4, 5, 6], None)
    assert told["problem"] is None
    assert client.get("/v1/volumes").json() == {"volumes": [told]}


def test_a_key_is_replaced_and_dropped(client: TestClient) -> None:
    sent = send(client, "box", dataset(noise(3, 4, 4, 4)))
    tag = client.get("/v1/volumes/box").json()["tag"]
    assert client.put("/v1/volumes/box/u/c/0/0/0", content=b"other").status_code == 204
    told = client.get("/v1/volumes/box").json()
    assert told["tag"] != tag
    assert told["keys"] == len(sent)
    assert client.delete("/v1/volumes/box/u/c/0/0/0").status_code == 204
    missing = client.get("/v1/volumes/box/u/c/0/0/0")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:eddylift:problem:unknown-key")
    assert client.delete("/v1/volumes/box").status_code == 204
    assert client.get("/v1/volumes").json() == {"volumes": []}
    for method in ("GET", "DELETE"):
        assert client.request(method, "/v1/volumes/box").json()["type"] == "urn:eddylift:problem:unknown-volume"


def test_a_volume_takes_another_name_whole(client: TestClient, tmp_path: Path) -> None:
    sent = send(client, "draft", dataset(noise(3, 4, 5, 6)))
    described = client.post("/v1/volumes/draft/rename", json={"to": "box"})
    assert (described.status_code, described.json()["name"], described.json()["cells"]) == (200, "box", [4, 5, 6])
    assert client.get("/v1/volumes/draft").status_code == 404
    for key, value in sent.items():
        assert client.get(f"/v1/volumes/box/{key}").content == value
    # What is called so already stays, unless it is to be replaced.
    newer = send(client, "draft", dataset(noise(3, 5, 5, 5)))
    refused = client.post("/v1/volumes/draft/rename", json={"to": "box"})
    assert (refused.status_code, refused.json()["detail"]) == (409, "there is a volume box already")
    assert client.get("/v1/volumes/box/zarr.json").content == sent["zarr.json"]
    replaced = client.post("/v1/volumes/draft/rename", json={"to": "box", "replace": True})
    assert (replaced.status_code, replaced.json()["cells"]) == (200, [5, 5, 5])
    assert {each["key"] for each in client.get("/v1/volumes/box/").json()["keys"]} == set(newer)
    assert [each.name for each in (tmp_path / "data" / "volumes").glob("[!.]*")] == ["box"]
    assert not list((tmp_path / "data" / "volumes").glob(".gone*"))


@pytest.mark.parametrize(
    ("name", "to", "status"),
    [
        ("none", "box", 404),
        ("box", "box", 422),
        ("box", "a/b", 422),
        ("box", ".gone", 422),
        ("box", "channel.part-202611301905", 422),
    ],
)
def test_names_that_a_volume_cannot_take(client: TestClient, name: str, to: str, status: int) -> None:
    send(client, "box", dataset(noise(3, 4, 5, 6)))
    response = client.post(f"/v1/volumes/{name}/rename", json={"to": to, "replace": True})
    assert response.status_code == status
    assert client.get("/v1/volumes/box").json()["cells"] == [4, 5, 6]


def test_parts_of_a_key(client: TestClient) -> None:
    client.put("/v1/volumes/box/some", content=b"0123456789")
    path = "/v1/volumes/box/some"
    for asked, wanted, where in (
        ("0-3", b"0123", "0-3"),
        ("7-", b"789", "7-9"),
        ("-2", b"89", "8-9"),
        ("8-99", b"89", "8-9"),
        ("8-" + 30 * "9", b"89", "8-9"),
    ):
        response = client.get(path, headers={"Range": f"bytes={asked}"})
        assert (response.status_code, response.content) == (206, wanted)
        assert response.headers["content-range"] == f"bytes {where}/10"
    assert client.get(path, headers={"Range": "BYTES=0-3"}).content == b"0123"
    outside = client.get(path, headers={"Range": "bytes=10-12"})
    assert (outside.status_code, outside.headers["content-range"]) == (416, "bytes */10")
    whole = client.get(path, headers={"Range": "lines=1-2"})
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    etag = whole.headers["etag"]
    assert client.get(path, headers={"If-None-Match": f'"other", W/{etag}'}).status_code == 304
    changed = client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (changed.status_code, len(changed.content)) == (200, 10)
    for version, status in (("*", 200), (f'"other", {etag}', 200), ('"other"', 412), (f"W/{etag}", 412)):
        assert client.get(path, headers={"If-Match": version}).status_code == status
    assert client.head("/v1/volumes/box/").status_code == client.get("/v1/volumes/box/").status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(
    ("header", "versions", "status"),
    [
        ("If-Match", '"other"', 412),
        ("If-Match", "W/{tag}", 412),
        ("If-Match", '"other", {tag}', 204),
        ("If-Match", "*", 204),
        ("If-None-Match", "*", 412),
        ("If-None-Match", '"other", W/{tag}', 412),
        ("If-None-Match", '"other"', 204),
    ],
)
def test_an_object_changes_in_the_version_asked_for(
    client: TestClient, method: str, header: str, versions: str, status: int
) -> None:
    path = "/v1/volumes/box/some"
    client.put(path, content=b"old")
    asked = {header: versions.format(tag=client.get(path).headers["ETag"])}
    answer = client.request(method, path, content=b"new" if method == "PUT" else b"", headers=asked)
    assert answer.status_code == status
    if status == 412:
        assert answer.json()["errors"][0]["field"] == header
        assert client.get(path).content == b"old"


def test_only_what_is_there_has_a_version(client: TestClient) -> None:
    path = "/v1/volumes/box/some"
    assert client.put(path, content=b"1", headers={"If-Match": "*"}).status_code == 412
    assert client.delete(path, headers={"If-Match": "*"}).status_code == 404
    assert client.put(path, content=b"2", headers={"If-None-Match": "*"}).status_code == 201
    # A volume has no version of its own.
    for asked in ({"If-Match": '"other"'}, {"If-None-Match": "*"}):
        assert client.delete("/v1/volumes/box", headers=asked).status_code == 412
    assert client.get(path).content == b"2"
    assert client.delete("/v1/volumes/box", headers={"If-Match": "*"}).status_code == 204


def test_a_part_is_not_taken_for_the_whole(client: TestClient) -> None:
    path = "/v1/volumes/box/some"
    client.put(path, content=b"0123456789")
    refused = client.put(path, content=b"abcd", headers={"Content-Range": "bytes 0-3/10"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "Content-Range")
    assert client.get(path).content == b"0123456789"


@pytest.mark.parametrize(
    "path",
    ["..%2Fescape/key", ".hidden/key", "box/..%2F..%2Fkey", "box/a/.%2E/b", "box/a//b", "box/%5Cb",
     "box/a/.part-1", "box/" + "a/" * 11 + "b", "box/a%00b", "b" * 101 + "/key", "box/ü"],
)  # fmt: skip
def test_names_that_climb_or_hide_are_refused(client: TestClient, tmp_path: Path, path: str) -> None:
    response = client.put(f"/v1/volumes/{path}", content=b"x")
    assert response.status_code in {404, 422}
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


def test_a_key_below_another_is_refused(client: TestClient) -> None:
    client.put("/v1/volumes/box/a", content=b"x")
    response = client.put("/v1/volumes/box/a/b", content=b"x")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "key")
    client.put("/v1/volumes/box/c/d", content=b"x")
    assert client.put("/v1/volumes/box/c", content=b"x").status_code == 422


def test_a_body_that_is_too_long_leaves_nothing(serve: Serve, tmp_path: Path) -> None:
    client = serve(data=tmp_path / "data", max_body_bytes=100)
    assert client.put("/v1/volumes/box/a", content=b"x" * 101).status_code == 413
    pieces = (b"x" * 60 for _ in range(2))
    assert client.put("/v1/volumes/box/a", content=pieces).status_code == 413
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (dataset(noise(3, 4, 4, 4)).drop_vars("w"), "expected variables u, v, w"),
        (dataset(noise(3, 4, 4, 4)).astype("int16"), "u: int16; expected float32 or float64"),
        (dataset(noise(3, 4, 4, 3)), "expected at least 4 cells along x"),
        (dataset(noise(0, 3, 4, 4, 4)), "expected at least one level"),
        (dataset(noise(3, 4, 4, 4)).assign_coords(y=[0.0, 1, 2, 4]), "expected uniform spacing"),
        (dataset(noise(3, 4, 4, 4)).assign_attrs(boundary="slippery"), "boundary: slippery"),
    ],
)
def test_volumes_that_cannot_be_super_resolved_say_why(client: TestClient, content: xr.Dataset, problem: str) -> None:
    send(client, "box", content)
    assert problem in client.get("/v1/volumes/box").json()["problem"]


def test_what_is_no_zarr_group_says_so(client: TestClient) -> None:
    client.put("/v1/volumes/box/zarr.json", content=b"\xff")
    assert "expected a Zarr group" in client.get("/v1/volumes/box").json()["problem"]


def test_a_full_disk_loses_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    client.put("/v1/volumes/box/a", content=b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    response = client.put("/v1/volumes/box/a", content=b"new")
    assert response.status_code == 507
    assert "No space left on device" in response.json()["detail"]
    assert client.get("/v1/volumes/box/a").content == b"old"
    assert [each.name for each in (tmp_path / "data" / "volumes" / "box").rglob("*")] == ["a"]
    assert not list(tmp_path.rglob(".part*"))


def test_zarr_reads_what_was_sent(client: TestClient, tmp_path: Path) -> None:
    velocity = noise(3, 4, 5, 6)
    send(client, "box", dataset(velocity))
    group = zarr.open_group(tmp_path / "data" / "volumes" / "box", mode="r")
    assert np.array_equal(np.asarray(group["v"]), velocity[1])


def array(shape: list[int], chunks: list[int], dims: list[str], kind: str = "float32") -> bytes:
    """The document of an array of which nothing was sent."""
    return json.dumps(
        {
            "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": kind, "fill_value": 0,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "attributes": {}, "dimension_names": dims, "storage_transformers": [],
        }
    ).encode()  # fmt: skip


@pytest.mark.parametrize(
    ("hostile", "problem"),
    [
        ({"z": array([10**10], [10**10], ["z"], "int8")}, "z: in chunks of 10000000000 bytes"),
        ({"z": array([10**10], [10**6], ["z"], "int8")}, "z: 10000000000 of 10000000000 bytes"),
        ({name: array([10**6] * 3, [64] * 3, ["z", "y", "x"]) for name in "uvw"}, "3814697265625 chunks"),
        (
            {name: array([4096] * 3, [4096] * 3, ["z", "y", "x"]) for name in "uvw"},
            "chunks of 274877906944 bytes",
        ),
        ({"more/u": array([4], [4], ["x"])}, "cannot be opened"),
    ],
)
def test_volumes_that_would_fill_the_memory_are_only_named(
    client: TestClient, hostile: dict[str, bytes], problem: str
) -> None:
    client.put("/v1/volumes/bad/zarr.json", content=b'{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    for name, document in hostile.items():
        client.put(f"/v1/volumes/bad/{name}/zarr.json", content=document)
    assert problem in client.get("/v1/volumes/bad").json()["problem"]
    assert len(client.get("/v1/volumes").json()["volumes"]) == 1


def test_chunks_that_grow_beyond_their_array_are_not_decoded(client: TestClient) -> None:
    sent = send(client, "bomb", dataset(noise(3, 4, 4, 4)))
    assert json.loads(sent["u/zarr.json"])["codecs"][-1]["name"] == "zstd"
    bomb = numcodecs.Zstd().encode(bytes(10**7))
    client.put("/v1/volumes/bomb/u/c/0/0/0", content=bytes(bomb))
    response = client.get("/v1/views/bomb/trilinear-x4/u/c/0/0/0")
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "u"


def test_what_is_refused_or_dropped_leaves_no_volume(serve: Serve, tmp_path: Path) -> None:
    client = serve(data=tmp_path / "data", max_body_bytes=10)
    assert client.put("/v1/volumes/box/a", content=(b"x" * 6 for _ in range(2))).status_code == 413
    assert client.get("/v1/volumes").json() == {"volumes": []}
    for name in (".part-dead", ".gone-dead/a"):
        (tmp_path / "data" / "volumes" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "volumes" / name).write_bytes(b"left by a service that was killed")
    for left in (tmp_path / "data" / "volumes").iterdir():
        age(left, 3700)
    (tmp_path / "data" / "volumes" / ".part-new").write_bytes(b"another service writes it")
    age(tmp_path / "data" / "volumes" / ".part-new", 1800)
    serve(data=tmp_path / "data")
    wait_until(lambda: [path.name for path in (tmp_path / "data" / "volumes").iterdir()] == [".part-new"])


def test_a_chunk_in_the_index_of_its_shard_is_not_decoded() -> None:
    shards: Any = {"shape": (4, 4, 4), "index_location": "start"}
    array = zarr.create_array(MemoryStore(), shape=(4, 4, 4), dtype="f4", chunks=(2, 2, 2), shards=shards)
    chunks, index_bytes = Chunks.of("u", array), 8 * 16 + 4
    where = [(index_bytes + 40 * n, 40) for n in range(8)]
    for last, fits in ((where[-1], True), ((NOWHERE, NOWHERE), True), ((0, index_bytes), False)):
        index = struct.pack("<16Q", *itertools.chain(*where[:-1], last)) + bytes(4)
        with nullcontext() if fits else pytest.raises(BrokenChunkError):
            chunks.measure_part(0, index)


def test_what_others_write_among_blocks_of_views_is_left_alone(tmp_path: Path) -> None:
    for name in ("view/u", "view/new", "view/left"):
        write_whole(tmp_path / name, b"12345")
    for name in ("new", "left"):
        (tmp_path / "view" / name).rename(tmp_path / "view" / f".part-{name}")
    age(tmp_path / "view" / ".part-new", 1800)
    age(tmp_path / "view" / ".part-left", 3700)
    (tmp_path / "older" / "u" / "c").mkdir(parents=True)
    assert DiskCache(tmp_path, 10).get("view/u", 5) == b"12345"
    assert [path.name for path in tmp_path.iterdir()] == ["view"]
    assert sorted(path.name for path in (tmp_path / "view").iterdir()) == [".part-new", "u"]


def test_room_is_looked_at_while_a_key_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads that began when there was room for each do not go past what is spared together."""
    spare, room, piece = 2**20, 100_000, bytes(2**14)

    def usage(folder: Path) -> SimpleNamespace:
        used = 0
        for path in folder.rglob(".part-*"):
            with suppress(FileNotFoundError):  # the other upload has ended
                used += path.stat().st_size
        return SimpleNamespace(free=spare + room - used)

    monkeypatch.setattr("service.volumes.files.shutil.disk_usage", usage)
    store = UploadStore(tmp_path, spare)

    async def send(together: asyncio.Barrier) -> int:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(5):
                with suppress(asyncio.BrokenBarrierError):  # the other upload was refused
                    await together.wait()
                yield piece

        try:
            async with store.receive("u/c/0", pieces()) as part:
                return part.stat().st_size
        except Problem:
            await together.abort()
            raise

    async def send_some(count: int) -> list[int | BaseException]:
        together = asyncio.Barrier(count)
        return await asyncio.gather(*(send(together) for _ in range(count)), return_exceptions=True)

    assert asyncio.run(send_some(1)) == [5 * len(piece)]
    problems = [each for each in asyncio.run(send_some(2)) if isinstance(each, Problem)]
    assert {problem.kind for problem in problems} == {"no-room"}
    assert not list(tmp_path.rglob(".part-*"))
