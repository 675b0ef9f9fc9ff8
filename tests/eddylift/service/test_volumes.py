"""Stored volumes: sent to the service itself, looked at, and fetched."""

from __future__ import annotations

import errno
import itertools
import json
from typing import TYPE_CHECKING, Any, Literal

import anyio
import numpy as np
import pytest
import xarray as xr
import zarr
from typer.testing import CliRunner

from eddylift import (
    AsyncClient,
    Client,
    EddyliftWarning,
    InvalidInputError,
    NotFoundError,
    Progress,
    RefusedError,
    UnreachableError,
    _writing,
    cli,
)
from service.volumes.source import OpenVolume
from tests.eddylift.service.conftest import TRILINEAR, channel, expected, wanted

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from service.settings import Settings


def test_a_volume_is_sent_and_looked_at(client: Client, url: str, tmp_path: Path) -> None:
    volume = channel()
    told: list[Progress] = []
    stored = client.upload(volume, "channel", progress=told.append)
    assert (stored["cells"], stored["boundary"]) == ([5, 6, 4], ["periodic", "wall", "periodic"])
    assert told[0] == Progress("upload", 0, stored["bytes"])
    assert told[-1] == Progress("upload", stored["bytes"], stored["bytes"])
    assert client.volumes() == [stored]
    view = client.open("channel", model=TRILINEAR)
    assert view.sizes == {"z": 20, "y": 24, "x": 16}
    assert np.array_equal(np.stack([view[name].values for name in "uvw"]), wanted(volume))
    np.testing.assert_allclose(view["x"][:2], [0.25, 0.75])
    with Client(url) as other_client:
        opened = other_client.open("channel", model=TRILINEAR, boundary={"y": "open"})
    assert np.array_equal(opened["v"][:, :3].values, wanted(volume, "periodic,open,periodic")[1, :, :3])
    with pytest.raises(InvalidInputError, match="there is a volume channel already"):
        client.upload(volume, "channel")
    other = 2 * volume.assign_attrs(boundary="open")
    other.to_zarr(tmp_path / "other.zarr", zarr_format=2)
    assert client.upload(tmp_path / "other.zarr", "channel", replace=True)["tag"] != stored["tag"]
    with pytest.raises(RefusedError, match="has changed since this view was opened"):
        opened["w"].load()
    client.delete_volume("channel")
    with pytest.raises(RefusedError, match="there is no volume channel"):
        opened["w"].load()
    assert client.volumes() == []
    with pytest.raises(NotFoundError, match="there is no volume channel"):
        client.open("channel", model=TRILINEAR)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_desktops_leave_in_a_group_is_not_sent(client: Client, tmp_path: Path, zarr_format: Literal[2, 3]) -> None:
    folder = tmp_path / "box.zarr"
    channel().to_zarr(folder, zarr_format=zarr_format, consolidated=False)
    group = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in (
        ".DS_Store",
        "u/._0",
        "u/.nfs0000001",
        ".ipynb_checkpoints/zarr-checkpoint.json",
        "notes on run.txt",
        "README.md",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"Bud1")
    assert client.upload(folder, "box")["cells"] == [5, 6, 4]
    kept = client.download("box", tmp_path / "back")
    assert {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()} == group
    client.delete_volume("box")


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_files_with_other_names_are_uploaded_and_opened(client: Client, tmp_path: Path, suffix: str) -> None:
    volume = channel()
    path = tmp_path / f"box{suffix}"
    other = volume.rename(u="Ux", v="Uy", w="Uz", z="lev").assign(p=volume["u"].rename(z="lev"))
    _writing.write(path, other)
    names = {"Ux": "u", "Uy": "v", "Uz": "w", "lev": "z"}
    assert client.upload(path, "renamed", names=names, drop=["p"])["problem"] is None
    view = client.open("renamed", model=TRILINEAR)
    assert np.array_equal(np.stack([view[name].values for name in "uvw"]), wanted(volume))
    client.delete_volume("renamed")
    with pytest.warns(EddyliftWarning, match=r"--names Ux:u,Uy:v,Uz:w,lev:z\)$"):
        assert client.upload(path, "as-it-is")["problem"]
    with pytest.raises(RefusedError, match="drop=p leaves out"):
        client.open("as-it-is", model=TRILINEAR, names=names)
    view = client.open("as-it-is", model=TRILINEAR, names=names, drop=["p"])
    assert np.array_equal(np.stack([view[name].values for name in "uvw"]), wanted(volume))
    client.delete_volume("as-it-is")


def test_packed_velocity_is_stored_unpacked(client: Client, tmp_path: Path) -> None:
    volume = channel()
    packed = {name: {"dtype": "int16", "scale_factor": 2e-4, "_FillValue": -32768} for name in "uvw"}
    volume.to_netcdf(tmp_path / "packed.nc", engine="h5netcdf", encoding=packed)
    assert client.upload(tmp_path / "packed.nc", "packed")["problem"] is None
    view = client.open("packed", model=TRILINEAR)
    np.testing.assert_allclose(np.stack([view[name].values for name in "uvw"]), wanted(volume), atol=1.01e-4)
    client.delete_volume("packed")


@pytest.mark.parametrize("chunks", [None, {"z": 2}])
def test_velocity_of_any_precision_is_stored_in_single(client: Client, chunks: dict[str, int] | None) -> None:
    volume = channel() if chunks is None else channel().chunk(chunks)
    for dtype in ("float16", "float64"):
        assert client.upload(volume.astype(dtype), "precise", replace=True)["problem"] is None
        assert xr.open_zarr(client.store("precise"), chunks=None, consolidated=False)["u"].dtype == "float32"
    with pytest.raises(InvalidInputError, match=r"^v: NaN or infinity, \d+ in all; expected a velocity in every"):
        client.upload(volume.assign(v=volume["v"].where(volume["v"] > 0)), "precise", replace=True)
    with pytest.warns(EddyliftWarning, match="cannot be super-resolved as it is: u: int16"):
        assert client.upload(volume.astype("int16"), "precise", replace=True)["problem"]
    client.delete_volume("precise")


def test_bad_values_are_told_though_the_temporary_folder_cannot_be_removed(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As dask may write other chunks into it at this moment."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    volume = channel()
    monkeypatch.setattr("shutil.os.rmdir", fail)
    with pytest.raises(InvalidInputError, match=r"^v: NaN or infinity"):
        client.upload(volume.assign(v=volume["v"].where(volume["v"] > 0)), "bad")
    monkeypatch.undo()
    assert client.volumes() == []


def test_arrays_are_uploaded_and_opened(client: Client, coarse: NDArray[np.float32], tmp_path: Path) -> None:
    np.save(tmp_path / "coarse.npy", coarse)
    series = np.stack([coarse, 2 * coarse])
    labelled = xr.DataArray(series, dims=("time", "component", "z", "y", "x"))
    volumes: list[Any] = [coarse, tmp_path / "coarse.npy", series, labelled]
    for volume, levels in zip(volumes, [None, None, 2, 2], strict=True):
        stored = client.upload(volume, "array", replace=True)
        assert (stored["cells"], stored["levels"], stored["problem"]) == ([4, 5, 6], levels, None)
        view = client.open("array", model=TRILINEAR)
        fine = view["velocity"][..., 1, :, :, :] if volume is labelled else view["v"]
        np.testing.assert_array_equal(fine[-1] if levels else fine, expected(coarse)[1] * (levels or 1))
    with pytest.raises(InvalidInputError, match="an array is"):
        client.upload(coarse[0], "array", replace=True)
    client.delete_volume("array")


def test_a_view_of_an_unknown_model(client: Client) -> None:
    client.upload(channel(), "some")
    with pytest.raises(NotFoundError, match="there is no model"):
        client.open("some", model="nothing")
    client.delete_volume("some")


def test_a_view_of_824_gigabytes_opens_with_few_cells_read(client: Client, settings: Settings) -> None:
    """A source of 1024^3 cells of which no chunk was sent: it is at rest, which costs nothing to store."""
    folder = settings.data / "volumes" / "huge"
    group = zarr.create_group(folder, attributes={"boundary": "periodic"})
    for name in "uvw":
        group.create_array(name, shape=(1024,) * 3, chunks=(128,) * 3, dtype="f4", dimension_names=("z", "y", "x"))
    cells, read = [], OpenVolume.read

    def counted(self: OpenVolume, levels: range, *where: slice) -> NDArray[np.float32]:
        values = read(self, levels, *where)
        cells.append(values.size)
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenVolume, "read", counted)
        view = client.open("huge", model=TRILINEAR)
    assert dict(view.sizes) == {"z": 4096, "y": 4096, "x": 4096}
    assert sum(view[name].size * 4 for name in "uvw") == 824_633_720_832
    # A block in the middle and four planes at the ends of each axis, to see what the volume is like.
    assert sum(cells) <= 3 * (32**3 + 3 * 4 * 32**2)
    client.delete_volume("huge")


@pytest.mark.parametrize("periods", [1, 2])
def test_times_of_a_view_become_dates(client: Client, periods: int) -> None:
    """A single one is stored as 0 since itself."""
    dates = xr.date_range("2020-01-01", periods=periods)
    client.upload(channel((4, 4, 4)).expand_dims(time=dates), "dated")
    view = client.open("dated", model=TRILINEAR)
    dated = xr.decode_cf(view)
    assert dated["time"].values.tolist() == dates.values.tolist()
    assert not dated["u"].variable._in_memory
    assert np.array_equal(dated["u"].sel(time=dates[-1]), wanted(channel((4, 4, 4)))[0])
    client.delete_volume("dated")


def test_values_that_equal_the_fill_value_are_told_from_those_of_a_deleted_volume(client: Client) -> None:
    volume = channel((4, 4, 4)).expand_dims("time").assign(nu=0.0, run=7, done=False, step=("time", [0]))
    client.upload(volume, "box")

    def opened() -> list[xr.Dataset]:
        store = client.store("box", read_only=True)
        return [client.open("box", model=TRILINEAR), xr.open_zarr(store, chunks=None, consolidated=False)]

    others = ("nu", "run", "done", "step")
    for found in opened():
        assert all(np.array_equal(found[name], volume[name]) for name in others)
    lost = opened()
    client.delete_volume("box")
    for found, name in itertools.product(lost, ("u", *others)):
        with pytest.raises(RefusedError, match="there is no volume box"):
            found[name].load()


def test_what_is_no_group_is_not_sent(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is a folder, and cannot be read as a Zarr group"):
        client.upload(tmp_path, "some")
    with pytest.raises(InvalidInputError, match="expected up to 100 letters"):
        client.upload(channel(), "a name")
    assert client.volumes() == []


def test_the_asynchronous_client_sends_and_looks_too(url: str) -> None:
    async def go() -> None:
        async with AsyncClient(url) as client:
            volume = channel((4, 4, 4))
            told: list[Progress] = []
            stored = await client.upload(volume, "mine", progress=told.append)
            assert told[-1].done == stored["bytes"]
            assert await client.volumes() == [stored]
            with pytest.raises(InvalidInputError, match="there is a volume mine already"):
                await client.upload(volume, "mine")
            assert (await client.upload(volume, "mine", replace=True))["cells"] == [4, 4, 4]
            view = await client.open("mine", model=TRILINEAR)
            found = await anyio.to_thread.run_sync(lambda: np.stack([view[name].values for name in "uvw"]))
            assert np.array_equal(found, wanted(volume))
            await client.delete_volume("mine")

    anyio.run(go)


def test_volumes_on_the_command_line(url: str, tmp_path: Path) -> None:
    channel().to_zarr(tmp_path / "channel.zarr", zarr_format=2)
    runner, where = CliRunner(), ["--url", url]
    sent = runner.invoke(cli.app, ["upload", str(tmp_path / "channel.zarr"), "channel", *where])
    assert sent.exit_code == 0, sent.output
    assert "periodic,wall,periodic" in sent.output
    listed = runner.invoke(cli.app, ["volumes", "--json", *where])
    assert json.loads(listed.output)[0]["cells"] == [5, 6, 4]
    again = runner.invoke(cli.app, ["upload", str(tmp_path / "channel.zarr"), "channel", *where])
    assert again.exit_code == 1
    assert (
        runner.invoke(cli.app, ["upload", str(tmp_path / "channel.zarr"), "channel", "--replace", *where]).exit_code
        == 0
    )


def test_a_volume_that_changes_while_it_is_fetched_leaves_nothing(client: Client, tmp_path: Path) -> None:
    client.upload(channel(), "restless")

    def change(progress: Progress) -> None:
        if progress.done == progress.total:
            client.upload(2 * channel(), "restless", replace=True)

    with pytest.raises(InvalidInputError, match="restless changed while it was fetched"):
        client.download("restless", tmp_path / "restless.zarr", progress=change)
    assert list(tmp_path.iterdir()) == []
    client.delete_volume("restless")


def test_a_volume_is_fetched_and_goes_on_where_it_was_stopped(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.routes.volumes.PAGE", 3)
    volume = channel()
    stored = client.upload(volume, "kept")
    fetched: list[str] = []
    send = client._send

    def counted(call: Any) -> Any:  # noqa: ANN401
        if "/kept/u/" in call.path and not fetched:
            fetched.append(call.path)
            raise UnreachableError("gone")
        if "/kept/" in call.path and "after" not in call.params:
            fetched.append(call.path)
        return send(call)

    monkeypatch.setattr(client, "_send", counted)
    with pytest.raises(UnreachableError):
        client.download("kept", tmp_path / "kept.zarr")
    assert not (tmp_path / "kept.zarr").exists()
    told: list[Progress] = []
    assert client.download("kept", tmp_path / "kept.zarr", progress=told.append) == tmp_path / "kept.zarr"
    assert told[-1] == Progress("download", stored["bytes"], stored["bytes"])
    assert len(fetched) == stored["keys"] + 1
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "kept.zarr", engine="zarr", consolidated=False), volume)
    with pytest.raises(InvalidInputError, match="exists already"):
        client.download("kept", tmp_path / "kept.zarr")
    client.delete_volume("kept")
