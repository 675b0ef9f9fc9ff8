"""Both clients and the command line against the service itself, with the model that needs no weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import anyio
import h5py
import httpx2
import numpy as np
import pytest
import xarray as xr
import zarr
from typer.testing import CliRunner

from eddylift import (
    METRICS,
    AsyncClient,
    Client,
    EddyliftWarning,
    InvalidInputError,
    JobError,
    NotFoundError,
    Progress,
    RefusedError,
    UnreachableError,
    _writing,
    cli,
)
from eddylift._resample import to_uniform
from models.blocks import PERIODIC, parse_boundary
from models.catalogue import Catalogue, HeldOut
from models.superresolution import SuperResolution, upscale
from service.app import create_app
from service.settings import Settings
from service.volumes.source import OpenVolume
from tests.service.servers import serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from eddylift._calls import Call

T = TypeVar("T")
TRILINEAR = "trilinear-x4"
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    weights = tmp_path_factory.mktemp("weights")
    fine = np.random.default_rng(2).standard_normal((3, 16, 16, 16), np.float32)
    coarse = fine.reshape(3, 4, 4, 4, 4, 4, 4).mean(axis=(2, 4, 6))
    Catalogue(weights).write_held_out("isotropic", HeldOut(coarse[None], fine))
    return Settings(
        weights=weights,
        device="cpu",
        threads=1,
        max_body_bytes=LIMIT,
        data=tmp_path_factory.mktemp("data"),
        block=3,
        region=1,  # one block after another, as `expected` does
    )


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with serving(create_app(settings)) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


@pytest.fixture
def in_process(settings: Settings) -> Callable[[Callable[[AsyncClient], Awaitable[Any]]], Any]:
    """Run what an asynchronous client does against the app, without a network."""

    async def go(use: Callable[[AsyncClient], Awaitable[T]]) -> T:
        app = create_app(settings)
        async with (
            app.router.lifespan_context(app),
            AsyncClient("http://service", transport=httpx2.ASGITransport(app)) as client,
        ):
            while not app.state.services.lifecycle.ready:  # noqa: ASYNC110 no event tells
                await anyio.sleep(0.01)
            return await use(client)

    return lambda use: anyio.run(go, use)


@pytest.fixture
def coarse() -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((3, 4, 5, 6), np.float32)


@pytest.fixture
def gridded(coarse: NDArray[np.float32]) -> xr.Dataset:
    return xr.Dataset(
        {name: (("z", "y", "x"), values, {"units": "m/s"}) for name, values in zip("uvw", coarse, strict=True)},
        coords={"x": ("x", np.arange(6) + 0.5, {"units": "m"})},
        attrs={"title": "a box"},
    )


def expected(coarse: NDArray[np.float32], boundary: str = "periodic") -> NDArray[np.float32]:
    return upscale(SuperResolution().eval(), coarse, parse_boundary(boundary), block=3)


def test_models(client: Client) -> None:
    assert [card["name"] for card in client.models()] == [TRILINEAR]
    assert client.model(TRILINEAR) == client.models()[0]
    with pytest.raises(NotFoundError) as caught:
        client.model("no-such")
    assert caught.value.errors[0].field == "model"
    assert caught.value.errors[0].value == "no-such"


@pytest.mark.parametrize("boundary", ["periodic", "periodic,wall,open"])
def test_upscale_array(client: Client, coarse: NDArray[np.float32], boundary: str) -> None:
    seen: list[Progress] = []
    fine = client.upscale(coarse, model=TRILINEAR, boundary=boundary, progress=seen.append)
    np.testing.assert_array_equal(fine, expected(coarse, boundary))
    assert [seen[0].stage, seen[-1].stage] == ["upload", "download"]
    assert seen[-1].done == seen[-1].total == fine.nbytes + 128


def test_upscale_dataset(client: Client, coarse: NDArray[np.float32], gridded: xr.Dataset) -> None:
    fine = client.upscale(gridded, model=TRILINEAR, boundary={"y": "wall"})
    values = expected(coarse, "periodic,wall,periodic")
    for name, component in zip("uvw", values, strict=True):
        assert fine[name].dims == ("z", "y", "x")
        assert fine[name].attrs == {"units": "m/s"}
        np.testing.assert_array_equal(fine[name], component)
    np.testing.assert_allclose(fine["x"][:5], [0.125, 0.375, 0.625, 0.875, 1.125])
    assert fine["x"].attrs == {"units": "m"}
    assert fine.attrs["title"] == "a box"
    assert fine.attrs["eddylift_model"] == TRILINEAR


@pytest.mark.parametrize(
    "times", [np.array([0.0, 0.5]), np.array(["2024-01-01", "2024-01-02"], "M8[ns]"), np.array([0, 5], "m8[ns]")]
)
def test_upscale_data_array_with_times(client: Client, coarse: NDArray[np.float32], times: NDArray[Any]) -> None:
    series = xr.DataArray(
        np.stack([coarse, 2 * coarse]),
        dims=("time", "component", "z", "y", "x"),
        coords={"time": times, "component": list("uvw")},
        name="flow",
        attrs={"units": "m/s"},
    )
    fine = client.upscale(series, model=TRILINEAR)
    assert (fine.name, fine.dims, fine.attrs["units"]) == (series.name, series.dims, "m/s")
    assert fine.attrs["eddylift_model"] == TRILINEAR
    xr.testing.assert_identical(fine["time"], series["time"])
    assert fine["component"].to_numpy().tolist() == list("uvw")
    np.testing.assert_array_equal(fine[0], expected(coarse))
    np.testing.assert_array_equal(fine[1], expected(2 * coarse))


def test_validate(client: Client, coarse: NDArray[np.float32], gridded: xr.Dataset) -> None:
    reference = client.upscale(gridded, model=TRILINEAR)
    report = client.validate(gridded, reference, model=TRILINEAR)
    assert report["model"] == TRILINEAR
    assert report["metrics"]["mae"] == 0
    assert report["metrics"] == report["trilinear"]
    assert report["metrics"].keys() == METRICS.keys()
    alone = client.validate(None, expected(coarse), model=TRILINEAR)
    assert isinstance(alone["metrics"]["mae"], float)
    assert alone["metrics"]["mae"] > 0


def test_self_validate(client: Client) -> None:
    found = client.self_validate(TRILINEAR)
    assert found["device"] == "cpu"
    assert found["mae_over_rms"] == found["trilinear_mae_over_rms"]
    # The card of trilinear promises nothing of this sample.
    assert found["card_mae_over_rms"] is None
    assert not found["reproduced"]


def test_asynchronous_client_in_process(
    in_process: Callable[..., Any], coarse: NDArray[np.float32], gridded: xr.Dataset
) -> None:
    found: dict[str, Any] = {}

    async def use(client: AsyncClient) -> None:
        found["fine"] = await client.upscale(coarse, model=TRILINEAR, boundary="wall")
        found["gridded"] = await client.upscale(gridded, model=TRILINEAR)
        found["models"] = await client.models()
        found["report"] = await client.validate(None, found["fine"], model=TRILINEAR)
        found["reproduction"] = await client.self_validate(TRILINEAR)
        with pytest.raises(NotFoundError):
            await client.model("no-such")

    in_process(use)
    np.testing.assert_array_equal(found["fine"], expected(coarse, "wall"))
    np.testing.assert_array_equal(found["gridded"]["v"], expected(coarse)[1])
    assert found["models"][0]["name"] == TRILINEAR
    assert found["report"]["model"] == TRILINEAR
    assert found["reproduction"]["device"] == "cpu"


def test_many_at_once(in_process: Callable[..., Any], coarse: NDArray[np.float32]) -> None:
    answers: dict[int, NDArray[Any]] = {}

    async def use(client: AsyncClient) -> None:
        async def one(number: int) -> None:
            answers[number] = await client.upscale(coarse * np.float32(number), model=TRILINEAR)

        async with anyio.create_task_group() as group:
            for number in range(1, 9):
                group.start_soon(one, number)

    in_process(use)
    for number, fine in answers.items():
        np.testing.assert_array_equal(fine, expected(coarse * np.float32(number)))
    assert len(answers) == 8


def test_problems_name_the_field(client: Client, coarse: NDArray[np.float32], gridded: xr.Dataset) -> None:
    broken = coarse.copy()
    broken[1, 2, 3, 4] = np.nan
    cases: list[tuple[Any, dict[str, Any], int, str]] = [
        (broken, {}, 422, "v"),
        (coarse[:2], {}, 422, "shape"),
        (coarse.astype(int), {}, 422, "dtype"),
        (gridded.assign(v=gridded["v"] * np.nan), {}, 422, "v"),
        (coarse, {"boundary": "round"}, 422, "boundary"),
        (coarse, {"model": "no-such"}, 404, "model"),
    ]
    for volume, options, status, field in cases:
        with pytest.raises(RefusedError) as caught:
            client.upscale(volume, **{"model": TRILINEAR, **options})
        assert (caught.value.status, caught.value.errors[0].field) == (status, field)
        assert caught.value.detail
    np.testing.assert_array_equal(client.upscale(coarse, model=TRILINEAR), expected(coarse))


@pytest.mark.parametrize("times", [2, 30])
def test_too_large(client: Client, times: int) -> None:
    volume = np.zeros((3, times, LIMIT // 12, 1), np.float32)
    with pytest.raises(RefusedError) as caught:
        client.upscale(volume, model=TRILINEAR)
    assert caught.value.status == 413
    assert caught.value.errors[0].field == "body"


def test_command_line(url: str, gridded: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDDYLIFT_URL", url)
    gridded.to_netcdf("coarse.nc", engine="h5netcdf")

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli.app, arguments)
        assert result.exit_code == code, result.output
        return result.stdout + result.stderr

    assert TRILINEAR in run("models")
    for target in ("fine.nc", "fine.zarr", "fine.zip"):
        assert "z 16 x y 20 x x 24" in run("upscale", "coarse.nc", target, "--model", TRILINEAR)
        report = run("validate", target, "--coarse", "coarse.nc", "--model", TRILINEAR, "--json")
        assert json.loads(report)["metrics"]["mae"] == 0
    assert "there is no model 'x'" in run("upscale", "coarse.nc", "other.nc", "-m", "x", code=1)
    assert not (tmp_path / "other.nc").exists()


def test_periodic_is_what_the_service_takes_for_granted(client: Client, coarse: NDArray[np.float32]) -> None:
    fine = client.upscale(coarse, model=TRILINEAR)
    np.testing.assert_array_equal(fine, upscale(SuperResolution().eval(), coarse, PERIODIC, block=3))


def channel(cells: tuple[int, int, int] = (5, 6, 4)) -> xr.Dataset:
    velocity = np.random.default_rng(4).standard_normal((3, *cells), np.float32)
    parts = {name: (("z", "y", "x"), part) for name, part in zip("uvw", velocity, strict=True)}
    centres = {axis: (np.arange(n) + 0.5) * 2.0 for axis, n in zip("zyx", cells, strict=True)}
    return xr.Dataset(parts, centres, {"boundary": "periodic,wall,periodic"})


def wanted(volume: xr.Dataset, boundary: str = "periodic,wall,periodic") -> NDArray[np.float32]:
    source = np.stack([volume[name].values for name in "uvw"])
    return upscale(SuperResolution().eval(), source, parse_boundary(boundary), block=3)


def test_a_volume_is_sent_and_looked_at(client: Client, tmp_path: Path) -> None:
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
    opened = client.open("channel", model=TRILINEAR, boundary={"y": "open"})
    assert np.array_equal(opened["v"][:, :3].values, wanted(volume, "periodic,open,periodic")[1, :, :3])
    with pytest.raises(InvalidInputError, match="there is a volume channel already"):
        client.upload(volume, "channel")
    other = 2 * volume.assign_attrs(boundary="open")
    other.to_zarr(tmp_path / "other.zarr", zarr_format=2)
    assert client.upload(tmp_path / "other.zarr", "channel", replace=True)["tag"] != stored["tag"]
    client.delete_volume("channel")
    assert client.volumes() == []
    with pytest.raises(NotFoundError, match="there is no volume channel"):
        client.open("channel", model=TRILINEAR)


def test_a_failed_replacement_leaves_the_old_volume(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = client.upload(channel(), "kept")
    sent = client._send

    def fail(call: Call[Any], *rest: Any) -> Any:  # noqa: ANN401 as the client's own
        if call.method == "PUT" and call.path.endswith("/v/zarr.json"):
            raise UnreachableError(call.path)
        return sent(call, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(client, "_send", fail)
        with pytest.raises(UnreachableError):
            client.upload(2 * channel(), "kept", replace=True)
    assert client.volumes() == [stored]
    client.delete_volume("kept")


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
        assert client.upload(path, "as-it-is", drop=["p"])["problem"]
    view = client.open("as-it-is", model=TRILINEAR, names=names)
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


def test_a_cutout_is_upscaled_uploaded_and_validated(client: Client, url: str, tmp_path: Path) -> None:
    volume = channel()
    velocity = np.stack([volume[name].values for name in "uvw"], axis=-1)
    with h5py.File(tmp_path / "cutout.h5", "w") as file:
        file["Velocity_0001"] = velocity
        for axis in "zyx":
            file[f"{axis}coor"] = volume[axis].values
    runner, model, where = CliRunner(), ["-m", TRILINEAR, "-b", "periodic,wall,periodic"], ["--url", url]
    made = runner.invoke(cli.app, ["upscale", str(tmp_path / "cutout.h5"), str(tmp_path / "fine.nc"), *model, *where])
    assert made.exit_code == 0, made.output
    fine = xr.load_dataset(tmp_path / "fine.nc")
    assert np.array_equal(np.moveaxis(fine["velocity"].values, -1, 0), wanted(volume))
    options = ["--coarse", str(tmp_path / "cutout.h5"), *model, *where, "--json"]
    found = runner.invoke(cli.app, ["validate", str(tmp_path / "fine.nc"), *options])
    assert json.loads(found.output)["metrics"]["mae"] == 0
    stored = client.upload(tmp_path / "cutout.h5", "cutout")
    assert (stored["cells"], stored["problem"]) == ([5, 6, 4], None)
    client.delete_volume("cutout")


def test_a_stretched_channel_is_resampled_on_request(client: Client) -> None:
    volume = channel((5, 8, 4))
    stretched = volume.assign_coords(y=np.tanh(np.linspace(-1.5, 1.5, 8)) / np.tanh(1.5))
    with pytest.raises(InvalidInputError, match=r"y is stretched, .*--resample y\) puts it on uniform cells$"):
        client.upscale(stretched, model=TRILINEAR)
    fine = client.upscale(stretched, model=TRILINEAR, resample="y", boundary=["periodic", "wall", "periodic"])
    assert fine["y"].values[[0, -1]] == pytest.approx([-1 + 1 / 32, 1 - 1 / 32])
    assert fine.attrs["eddylift_resampled"].startswith("y: 8 uniform cells from -1 to 1")
    uniform = to_uniform(stretched, "y")
    assert np.array_equal(np.stack([fine[name].values for name in "uvw"]), wanted(uniform))


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


def test_what_is_no_group_is_not_sent(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is a folder, and cannot be read as a Zarr group"):
        client.upload(tmp_path, "some")
    with pytest.raises(RefusedError, match="expected up to 100 letters"):
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


def test_a_job_is_waited_for(client: Client) -> None:
    volume = channel()
    client.upload(volume, "series")
    job = client.submit("series", "series-fine", model=TRILINEAR)
    assert job.status["state"] == "queued"
    told: list[Progress] = []
    done = job.wait(progress=told.append)
    assert (done["state"], done["blocks"], done["blocks_done"]) == ("done", 8, 8)
    assert told[-1] == Progress("compute", 8, 8)
    assert client.job(job.id).status["state"] == "done"
    assert client.jobs()[0].id == job.id
    assert {each["name"] for each in client.volumes()} >= {"series", "series-fine"}
    with pytest.raises(RefusedError, match="another volume than the source"):
        client.submit("series", "series", model=TRILINEAR)
    with pytest.raises(NotFoundError, match="there is no job nothing"):
        client.job("nothing")
    for name in ("series", "series-fine"):
        client.delete_volume(name)


def test_a_job_compares_and_says_how_far_off(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    fine = channel((16, 32, 16))
    coarse = fine.coarsen(z=4, y=4, x=4).mean().astype("float32").assign_attrs(fine.attrs)
    client.upload(coarse, "compared")
    client.upload(fine, "compared-true")
    told: list[Progress] = []
    done = client.submit("compared", model=TRILINEAR, reference="compared-true").wait(progress=told.append)
    assert told[-1].stage == "compare"
    assert {each.stage for each in told} <= {"compute", "compare"}  # computing may be over before the first look
    assert done["report"] is not None
    assert done["report"]["metrics"]["mae"] == pytest.approx(done["report"]["trilinear"]["mae"])
    assert done["target"] is None
    job = client.submit("compared", model=TRILINEAR, reference="compared-true")
    assert job.wait(progress=True)["state"] == "done"
    assert "compared" not in capsys.readouterr().out
    for name in ("compared", "compared-true"):
        client.delete_volume(name)


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
    with pytest.raises(InvalidInputError, match="is there already"):
        client.download("kept", tmp_path / "kept.zarr")
    client.delete_volume("kept")


def test_a_job_that_fails_says_why_and_is_resumed(client: Client) -> None:
    bad = channel()
    bad["v"][0, 0, 0] = np.nan
    client.upload(bad, "bad")
    job = client.submit("bad", "bad-fine", model=TRILINEAR, boundary={"y": "wall"})
    with pytest.raises(JobError, match=f"job {job.id} failed: v: nan at") as failure:
        job.wait()
    assert failure.value.status["boundary"] == "periodic,wall,periodic"
    assert job.resume()["state"] in {"queued", "running", "failed"}
    with pytest.raises(JobError):
        job.wait()
    assert job.cancel()["state"] == "failed"
    client.delete_volume("bad")
    client.delete_volume("bad-fine")


def test_jobs_of_the_asynchronous_client(url: str) -> None:
    async def go() -> None:
        async with AsyncClient(url) as client:
            await client.upload(channel((4, 4, 4)), "small")
            job = await client.submit("small", "small-fine", model=TRILINEAR)
            assert (await job.wait())["state"] == "done"
            assert (await client.job(job.id)).status == job.status
            assert (await client.jobs())[0].id == job.id
            assert (await job.cancel())["state"] == "done"
            assert (await job.resume())["state"] == "done"
            for name in ("small", "small-fine"):
                await client.delete_volume(name)

    anyio.run(go)


def test_jobs_on_the_command_line(client: Client, url: str) -> None:
    client.upload(channel(), "ordered")
    runner, where = CliRunner(), ["--url", url]
    ordered = runner.invoke(cli.app, ["submit", "ordered", "ordered-fine", "-m", TRILINEAR, "--json", *where])
    assert ordered.exit_code == 0, ordered.output
    job = json.loads(ordered.output)["id"]
    watched = runner.invoke(cli.app, ["watch", job, *where])
    assert watched.exit_code == 0, watched.output
    assert "8/8" in watched.output
    assert job in runner.invoke(cli.app, ["jobs", *where]).output
    for command in ("cancel", "resume"):
        ended = runner.invoke(cli.app, [command, job, "--json", *where])
        assert json.loads(ended.output)["state"] == "done"
    client.upload(channel().assign(w=lambda volume: volume["w"] * np.inf), "ordered-bad")
    bad = runner.invoke(cli.app, ["submit", "ordered-bad", "ordered-more", "-m", TRILINEAR, "--json", *where])
    failed = runner.invoke(cli.app, ["watch", json.loads(bad.output)["id"], *where])
    assert failed.exit_code == 1
    assert "failed: w: " in failed.output
