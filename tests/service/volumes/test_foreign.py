"""Whatever lies under the data folder, lists answer: what cannot be used says why, and costs nobody else anything."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from service.volumes import source
from tests.service.wire import ZIP, dataset, files_of, noise, post_bytes, send, zipped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient

    from service.volumes.storage import Storage

    Serve = Callable[..., TestClient]


def thin(cells: int, folder: Path) -> None:
    dataset(noise(3, 4, 5, 6)).isel(z=slice(cells)).to_zarr(folder, consolidated=False)


def empty(folder: Path) -> None:
    folder.mkdir()


def text(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes on run.txt").write_text("Re_tau = 180")


def half(folder: Path) -> None:
    dataset(noise(3, 4, 5, 6)).to_zarr(folder, consolidated=False)
    (folder / "w" / "zarr.json").unlink()


def torn(folder: Path) -> None:
    dataset(noise(3, 4, 5, 6)).to_zarr(folder, consolidated=False)
    (folder / "u" / "zarr.json").write_bytes((folder / "u" / "zarr.json").read_bytes()[:50])


def pipe(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / "zarr.json")


def nested(folder: Path) -> None:
    dataset(noise(3, 4, 5, 6)).to_zarr(folder / "inner", consolidated=False)


def linked(folder: Path) -> None:
    folder.symlink_to(folder)


def list_as_document(folder: Path) -> None:
    folder.mkdir()
    (folder / "zarr.json").write_text("[1, 2]")


FOREIGN: dict[str, Callable[[Path], object]] = {
    **{f"slice{cells}": partial(thin, cells) for cells in range(4)},
    **{each.__name__: each for each in (empty, text, half, torn, pipe, nested, list_as_document)},
}


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> TestClient:
    return serve(data=tmp_path / "data", block=6)


def test_lists_answer_whatever_lies_there(client: TestClient, tmp_path: Path) -> None:
    send(client, "good", dataset(noise(3, 4, 5, 6)))
    volumes = tmp_path / "data" / "volumes"
    for name, make in FOREIGN.items():
        make(volumes / name)
    linked(volumes / "loop")
    (volumes / "a file").write_bytes(b"")
    (volumes / ".DS_Store").write_bytes(b"Bud1")
    listed = {each["name"]: each for each in client.get("/v1/volumes").json()["volumes"]}
    assert set(listed) == {"good", *FOREIGN}
    assert listed.pop("good")["problem"] is None
    for name, each in listed.items():
        assert each["problem"], name
        assert client.get(f"/v1/volumes/{name}").json() == each
        refused = client.get(f"/v1/views/{name}/trilinear-x4/zarr.json")
        assert 400 <= refused.status_code < 500, (name, refused.text)
    assert client.get("/v1/jobs").json() == {"jobs": []}
    assert client.get("/health/ready").is_success
    assert client.get("/v1/views/good/trilinear-x4/u/c/0/0/0").is_success


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"codecs": [{"name": "evil", "configuration": {}}]}, "Unknown codec: 'evil'"),
        ({"data_type": "weird"}, "No Zarr data type found that matches 'weird'"),
        ({"fill_value": "zz"}, "Invalid type: zz."),
        ({"dimension_names": ["z", "y"]}, "`dimension_names` and `shape` need to have the same number of dimensions"),
        (
            {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 5, 6]}}},
            "in chunks of [0, 5, 6]; expected chunks of at least one cell",
        ),
    ],
)
def test_an_array_that_cannot_be_opened_is_named_with_the_reason(
    client: TestClient, changes: dict[str, Any], why: str
) -> None:
    files = files_of(dataset(noise(3, 4, 5, 6)))
    files["v/zarr.json"] = json.dumps({**json.loads(files["v/zarr.json"]), **changes}).encode()
    for key, content in files.items():
        client.put(f"/v1/volumes/bad/{key}", content=content)
    for answer in (client.get("/v1/views/bad/trilinear-x4/zarr.json"), post_bytes(client, zipped(files), ZIP)):
        assert answer.status_code in {400, 422}
        assert answer.json()["errors"][0]["field"] == "v"
        assert answer.json()["detail"].startswith(f"v: {why}")
    assert client.get("/v1/volumes/bad").json()["problem"].startswith(f"v: {why}")


def test_a_fault_of_our_own_costs_one_volume(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bad", "good"):
        send(client, name, dataset(noise(3, 4, 5, 6)))
    opened = source.open_source

    def fail(storage: Storage, *arguments: Any, **options: Any) -> source.OpenVolume:  # noqa: ANN401 passed on
        if storage.name == "bad":
            raise ZeroDivisionError
        return opened(storage, *arguments, **options)

    monkeypatch.setattr("service.volumes.opener.open_source", fail)
    listed = client.get("/v1/volumes")
    assert listed.status_code == 200
    problems = [each["problem"] for each in listed.json()["volumes"]]
    assert problems == ["it cannot be opened: ZeroDivisionError", None]
