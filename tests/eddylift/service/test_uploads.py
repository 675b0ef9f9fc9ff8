"""Uploads: what is sent, and what becomes of one that is interrupted."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest

from eddylift import (
    AsyncClient,
    Client,
    FailedError,
    InvalidInputError,
    Progress,
    RefusedError,
    StoredVolume,
    UnexpectedAnswerError,
    _calls,
    open_volume,
)
from service.volumes.uploads import UploadStore
from tests.eddylift.service.conftest import LIMIT, TRILINEAR, channel, on_walls, wanted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import xarray as xr

    from eddylift._calls import Call


def upload(url: str, *what: Any, **options: Any) -> StoredVolume:  # noqa: ANN401 as the client takes them
    with Client(url) as client:
        return client.upload(*what, **options)


def upload_asynchronously(url: str, *what: Any, **options: Any) -> StoredVolume:  # noqa: ANN401
    async def go() -> StoredVolume:
        async with AsyncClient(url) as client:
            return await client.upload(*what, **options)

    return anyio.run(go)


def assert_has(client: Client, name: str, volume: xr.Dataset) -> None:
    view = client.open(name, model=TRILINEAR)
    assert np.array_equal(np.stack([view[each].values for each in "uvw"]), wanted(volume))


def test_what_is_behind_a_link_is_sent(client: Client, tmp_path: Path) -> None:
    """And a link to nothing is refused, as chunks that are missing read as the fill value."""
    folder, elsewhere = tmp_path / "box.zarr", tmp_path / "elsewhere"
    channel().to_zarr(folder, consolidated=False)
    for part in ("u/c", "v", "w/zarr.json"):
        target = elsewhere / part
        target.parent.mkdir(parents=True, exist_ok=True)
        (folder / part).rename(target)
        (folder / part).symlink_to(target)
    (folder / ".snapshots").symlink_to(folder)
    assert client.upload(folder, "box")["problem"] is None
    assert_has(client, "box", channel())
    client.delete_volume("box")
    for target in (folder, elsewhere / "nothing"):
        (folder / "link").symlink_to(target)
        with pytest.raises(InvalidInputError, match=f"box.zarr/link is a link to {target}; expected one"):
            client.upload(folder, "box")
        (folder / "link").unlink()


@pytest.mark.parametrize("send", [upload, upload_asynchronously])
def test_a_boundary_becomes_the_attribute(
    client: Client, url: str, tmp_path: Path, send: Callable[..., StoredVolume]
) -> None:
    """And without one an axis is not resampled, as it may be periodic."""
    path = tmp_path / "channel.nc"
    volume = on_walls(channel()).drop_attrs().assign_coords(y=np.tanh(np.linspace(-2, 2, 6)))
    volume.to_netcdf(path, engine="h5netcdf")
    kinds = {"y": "wall"}
    for refused in (lambda: send(url, path, "box", resample="y"), lambda: open_volume(path, resample="y")):
        with pytest.raises(InvalidInputError, match="resample: y; expected a boundary too"):
            refused()
    stored = send(url, path, "box", resample="y", boundary=kinds)
    assert stored["boundary"] == ["periodic", "wall", "periodic"]
    stored = send(url, np.ones((3, 4, 4, 4), np.float32), "box", replace=True, boundary="open")
    assert stored["boundary"] == ["open"] * 3
    client.delete_volume("box")
    with open_volume(path, resample="y", boundary=kinds) as opened:
        assert opened.attrs["boundary"] == "periodic,wall,periodic"


@pytest.mark.parametrize("send", [upload, upload_asynchronously])
@pytest.mark.parametrize("kind", ["dataset", "folder"])
def test_an_upload_that_was_interrupted_goes_on(
    client: Client,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    send: Callable[..., StoredVolume],
    kind: str,
) -> None:
    """Meanwhile the old volume is there, whole; what was sent is not sent again."""
    monkeypatch.setattr("service.api.routes.volumes.PAGE", 3)
    stored = client.upload(channel(), "kept")
    new: Any = 2 * channel()
    if kind == "folder":
        new = tmp_path / "box.zarr"
        (2 * channel()).to_zarr(new, consolidated=False)
    put: list[str] = []
    store = UploadStore.store

    def fail_once(self: UploadStore, part: Path, name: str, key: str, *rest: Any) -> bool:  # noqa: ANN401
        put.append(key)
        if key == "v/zarr.json" and put.count(key) == 1:
            raise OSError(errno.EIO, "the disk is gone")
        return store(self, part, name, key, *rest)

    monkeypatch.setattr(UploadStore, "store", fail_once)
    with pytest.raises(FailedError):
        send(url, new, "kept", replace=True)
    old, draft = client.volumes()
    assert (old, draft["keys"]) == (stored, len(put) - 1)
    told: list[Progress] = []
    found = send(url, new, "kept", replace=True, progress=told.append)
    assert told[0] == Progress("upload", draft["bytes"], found["bytes"])
    assert len(put) == found["keys"] + 1
    assert client.volumes() == [found]
    assert_has(client, "kept", 2 * channel())
    client.delete_volume("kept")


@pytest.mark.parametrize("send", [upload, upload_asynchronously])
def test_an_upload_is_given_up_if_an_object_is_refused(
    client: Client, url: str, tmp_path: Path, send: Callable[..., StoredVolume]
) -> None:
    layout = {"much": {"chunks": (LIMIT,), "compressors": ()}}
    volume = channel().assign(much=("index", np.ones(LIMIT)))
    volume.to_zarr(tmp_path / "big.zarr", encoding=layout, consolidated=False)
    with pytest.raises(RefusedError, match=r"\(413\): much/c/0: 8388608 bytes; expected"):
        send(url, tmp_path / "big.zarr", "big")
    assert client.volumes() == []


@pytest.mark.parametrize("send", [upload, upload_asynchronously])
def test_a_group_that_grows_while_it_is_sent_is_refused(
    client: Client, url: str, tmp_path: Path, send: Callable[..., StoredVolume]
) -> None:
    """Its documents, which come last and are as long as before, would tell of times that were not sent."""
    folder, later = tmp_path / "box.zarr", [0.5]
    channel().expand_dims(time=[0.0]).to_zarr(folder, consolidated=False)

    def grow(_: Progress) -> None:
        if later:
            channel().expand_dims(time=[later.pop()]).to_zarr(folder, append_dim="time", consolidated=False)

    with pytest.raises(InvalidInputError, match=r"box\.zarr changed while it was sent: upload it again when nothing"):
        send(url, folder, "box", progress=grow)
    assert client.volumes() == []
    assert send(url, folder, "box")["levels"] == 2
    client.delete_volume("box")


def test_uploads_of_one_volume_at_once_leave_it_whole(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another one has given the draft its name, what is sent afterwards is a part, and replaces nothing."""
    send = client._send
    overtaken: list[str] = []

    def overtake(call: Call[Any], *rest: Any) -> Any:  # noqa: ANN401 as the client's own
        if call.method == "PUT" and call.path.endswith("/zarr.json") and not overtaken:
            overtaken.append(call.path.split("/")[3])
            send(_calls.rename_volume(overtaken[0], "twice", replace=True))
        return send(call, *rest)

    monkeypatch.setattr(client, "_send", overtake)
    with pytest.raises(UnexpectedAnswerError, match=r"twice.part-\w+ lacks objects that were sent"):
        client.upload(channel(), "twice", replace=True)
    client.upload(channel(), "twice", replace=True)
    assert_has(client, "twice", channel())
    client.delete_volume("twice")
