"""Volumes that both clients and the command line have upscaled and validated by the service itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import h5py
import httpx2
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from eddylift import (
    METRICS,
    AsyncClient,
    Client,
    EddyliftWarning,
    InvalidInputError,
    NotFoundError,
    Progress,
    RefusedError,
    cli,
)
from eddylift._resample import to_uniform
from service.app import create_app
from tests.eddylift.service.conftest import LIMIT, TRILINEAR, channel, expected, on_walls, wanted
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from service.settings import Settings

T = TypeVar("T")


@pytest.fixture
def in_process(settings: Settings) -> Callable[[Callable[[AsyncClient], Awaitable[Any]]], Any]:
    """Run what an asynchronous client does against the app, without a network."""

    async def go(use: Callable[[AsyncClient], Awaitable[T]]) -> T:
        app = create_app(settings)
        async with (
            app.router.lifespan_context(app),
            AsyncClient("http://service", transport=httpx2.ASGITransport(app)) as client,
        ):
            with anyio.fail_after(PATIENCE_S):
                while not app.state.services.lifecycle.ready:  # noqa: ASYNC110 no event tells
                    await anyio.sleep(0.01)
            return await use(client)

    return lambda use: anyio.run(go, use)


@pytest.fixture
def gridded(coarse: NDArray[np.float32]) -> xr.Dataset:
    return xr.Dataset(
        {name: (("z", "y", "x"), values, {"units": "m/s"}) for name, values in zip("uvw", coarse, strict=True)},
        coords={"x": ("x", np.arange(6) + 0.5, {"units": "m"})},
        attrs={"title": "a box"},
    )


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
    means = pytest.warns(EddyliftWarning, match="not the block mean")  # interpolation does not keep them
    with pytest.warns(EddyliftWarning, match="coordinates are along x alone"), means:
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
        return result.stdout if "--json" in arguments else result.stdout + result.stderr

    assert TRILINEAR in run("models")
    for target in ("fine.nc", "fine.zarr", "fine.zip"):
        assert "z 16 x y 20 x x 24" in run("upscale", "coarse.nc", target, "--model", TRILINEAR)
        report = run("validate", target, "--coarse", "coarse.nc", "--model", TRILINEAR, "--json")
        assert json.loads(report)["metrics"]["mae"] == 0
    assert "there is no model 'x'" in run("upscale", "coarse.nc", "other.nc", "-m", "x", code=1)
    assert not (tmp_path / "other.nc").exists()


def test_periodic_is_what_the_service_takes_for_granted(client: Client, coarse: NDArray[np.float32]) -> None:
    fine = client.upscale(coarse, model=TRILINEAR)
    np.testing.assert_array_equal(fine, expected(coarse))


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
    assert json.loads(found.stdout)["metrics"]["mae"] == 0
    stored = client.upload(tmp_path / "cutout.h5", "cutout")
    assert (stored["cells"], stored["problem"]) == ([5, 6, 4], None)
    client.delete_volume("cutout")


def test_a_stretched_channel_is_resampled_on_request(client: Client) -> None:
    volume = on_walls(channel((5, 8, 4)))
    stretched = volume.assign_coords(y=np.tanh(np.linspace(-1.5, 1.5, 8)) / np.tanh(1.5))
    with pytest.raises(InvalidInputError, match=r"y is stretched, .*--resample y\) puts it on uniform cells between"):
        client.upscale(stretched, model=TRILINEAR)
    fine = client.upscale(stretched, model=TRILINEAR, resample="y", boundary=["periodic", "wall", "periodic"])
    assert fine["y"].values[[0, -1]] == pytest.approx([-1 + 1 / 32, 1 - 1 / 32])
    assert fine.attrs["eddylift_resampled"].startswith("y: 8 uniform cells from -1 to 1")
    uniform = to_uniform(stretched, "y")
    assert np.array_equal(np.stack([fine[name].values for name in "uvw"]), wanted(uniform))
