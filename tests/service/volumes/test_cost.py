"""What a stored volume would cost is told from its documents, and refused before anything else is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import zarr
from zarr.storage import LocalStore

from service.formats.zarr_group import DOCUMENTS
from service.problems import Problem
from service.settings import Settings
from service.volumes.checked_store import CheckedStore
from service.volumes.local_storage import LocalStorage
from service.volumes.source import open_source
from tests.service.volumes.test_volumes import array

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient

    Serve = Callable[..., TestClient]

GROUP = b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'


def text(length: int, width: int) -> bytes:
    """A coordinate of strings of one width."""
    kind = {"name": "fixed_length_utf32", "configuration": {"length_bytes": width}}
    return json.dumps({**json.loads(array([length], [1000], ["q"])), "data_type": kind, "fill_value": ""}).encode()


def velocity(shape: list[int], chunks: list[int], dims: str = "zyx") -> dict[str, bytes]:
    return {name: array(shape, chunks, list(dims)) for name in "uvw"}


def sharded(shape: list[int], shard: list[int], chunks: list[int]) -> dict[str, bytes]:
    """A velocity whose chunks lie in shards."""
    plain = [{"name": "bytes", "configuration": {"endian": "little"}}]
    inner = {"chunk_shape": chunks, "codecs": plain, "index_codecs": plain}
    codecs = [{"name": "sharding_indexed", "configuration": inner}]
    return {
        name: json.dumps({**json.loads(each), "codecs": codecs}).encode()
        for name, each in velocity(shape, shard).items()
    }


SMALL = velocity([8] * 3, [8] * 3)
HOSTILE: dict[str, tuple[dict[str, bytes], str]] = {
    "a long row": (velocity([4, 4, 10**8], [4, 4, 1 << 20]), "x: 100000000 cells; expected at most 131072 cells"),
    "a long column": (velocity([10**8, 4, 4], [1 << 20, 4, 4]), "z: 100000000 cells"),
    "tiny chunks": (velocity([200] * 3, [1] * 3), "u: in chunks of 1 x 1 x 1 cells, 287496 around one block"),
    "thin chunks": (velocity([64, 4096, 4096], [64, 64, 1]), "262144 across a plane"),
    "large chunks": (velocity([1536] * 3, [512] * 3), "4294967296 bytes of them around one block"),
    "large chunks in shards": (sharded([2048] * 3, [2048] * 3, [1024] * 3), ": in chunks of 4294967296 bytes"),
    "many coordinates": (
        {**SMALL, **{f"c{n}": array([1 << 20], [1 << 20], [f"c{n}"], "float64") for n in range(5)}},
        "bytes that all coordinates have",
    ),
    "one wide coordinate": ({**SMALL, "q": text(1 << 20, 4096)}, "q: 4294967296 of 4294967296 bytes"),
    "a coordinate in crumbs": ({**SMALL, "z": array([100_000], [1], ["z"])}, "z: 100000 of 100000 chunks"),
    "many arrays": ({**SMALL, **{f"s{n}": array([], [], []) for n in range(62)}}, "volume: 65 arrays"),
    "many names": ({**SMALL, **{f"s{n}": b"" for n in range(1030)}}, "at most 1024 names"),
    "a long document": ({**SMALL, "u": SMALL["u"] + b" " * (1 << 20)}, "u/zarr.json: longer"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_volumes_that_cost_too_much_are_refused_by_their_documents(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, problem = HOSTILE[kind]
    (tmp_path / "zarr.json").write_bytes(GROUP)
    for name, content in documents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "zarr.json").write_bytes(content)
    get, read = CheckedStore.get, []

    async def note(self: CheckedStore, key: str, *rest: Any, **options: Any) -> Any:  # noqa: ANN401 as it is
        read.append(key)
        return await get(self, key, *rest, **options)

    monkeypatch.setattr(CheckedStore, "get", note)
    with pytest.raises(Problem) as refused:
        open_source(LocalStorage("bad", tmp_path), "tag", Settings())
    assert (refused.value.kind, problem in refused.value.detail) == ("too-large", True), refused.value.detail
    assert {key.rpartition("/")[2] for key in read} <= DOCUMENTS


@pytest.mark.parametrize(
    "documents",
    [
        velocity([1024] * 3, [64] * 3),
        velocity([1024] * 3, [8] * 3),
        velocity([1024] * 3, [1, 1024, 1024]),
        velocity([1024] * 3, [256] * 3),
        velocity([16384] * 3, [128] * 3),
        velocity([512] * 3, [512] * 3),
        velocity([16] * 3, [1] * 3),
        sharded([2048] * 3, [1024] * 3, [64] * 3),
    ],
)
def test_volumes_as_people_store_them_are_opened(tmp_path: Path, documents: dict[str, bytes]) -> None:
    (tmp_path / "zarr.json").write_bytes(GROUP)
    for name, content in documents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "zarr.json").write_bytes(content)
    settings = Settings(max_volume_cells=1 << 50)
    assert open_source(LocalStorage("good", tmp_path), "tag", settings).cells == tuple(
        json.loads(documents["u"])["shape"]
    )


def test_many_levels_in_one_chunk_count(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_bytes(GROUP)
    for name in "uvw":
        (tmp_path / name).mkdir()
        document = array([1000, 256, 256, 256], [1000, 64, 64, 64], ["time", "z", "y", "x"])
        (tmp_path / name / "zarr.json").write_bytes(document)
    with pytest.raises(Problem, match="bytes of them around one block"):
        open_source(LocalStorage("bad", tmp_path), "tag", Settings())


def test_version_2_is_held_to_the_same(tmp_path: Path) -> None:
    (tmp_path / ".zgroup").write_text('{"zarr_format": 2}')
    for name in "uvw":
        zarr.create_array(
            LocalStore(tmp_path), name=name, shape=(24, 24, 24), chunks=(1, 1, 1), dtype="f4", zarr_format=2,
            attributes={"_ARRAY_DIMENSIONS": list("zyx")},
        )  # fmt: skip
    with pytest.raises(Problem, match="13824 around one block"):
        open_source(LocalStorage("bad", tmp_path), "tag", Settings())
