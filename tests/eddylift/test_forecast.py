"""Frames of a velocity in a plane in, the next ones out, of the same kind."""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import eddylift
from eddylift import InvalidInputError, UnexpectedAnswerError, cli
from eddylift.cli import _session
from tests.eddylift.conftest import FORECAST_CARD

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from tests.eddylift.conftest import Ask, FakeService


@dataclass(frozen=True, order=True)
class NoLeapHour:
    """An hour of a calendar without leap years, as of cftime."""

    number: int

    def __sub__(self, other: NoLeapHour) -> dt.timedelta:
        return dt.timedelta(hours=self.number - other.number)

    def __add__(self, other: object) -> NoLeapHour:
        return NoLeapHour(self.number + other // HOURLY) if isinstance(other, dt.timedelta) else NotImplemented


HOURLY = dt.timedelta(hours=1)
DAY = np.datetime64("2026-11-29", "ns")
HOUR = np.timedelta64(1, "h")


@pytest.fixture
def frames() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((3, 2, 4, 5), np.float32)


@pytest.fixture
def dataset(frames: NDArray[np.float32]) -> xr.Dataset:
    u, v = frames.swapaxes(0, 1)
    return xr.Dataset(
        {"u": (("time", "y", "x"), u, {"units": "m/s"}), "v": (("time", "y", "x"), v), "depth": ("y", np.ones(4))},
        {"time": [0.0, 0.5, 1.0], "y": ("y", 0.1 * np.arange(4), {"units": "m"}), "x": 0.1 * np.arange(5)},
        {"boundary": "wall,periodic"},
    )


def sent(service: FakeService) -> tuple[NDArray[np.float32], dict[str, str]]:
    """The frames and the options of the last request."""
    request = service.requests[-1]
    return np.load(io.BytesIO(request.content)), dict(request.url.params)


def test_models(ask: Ask) -> None:
    (card,) = ask("forecast_models")
    assert card == FORECAST_CARD
    assert repr(card).startswith("ForecastCard(name='relaxed-smoke', family='relaxed', flow='smoke', frames=10")


def test_arrays(ask: Ask, service: FakeService, frames: NDArray[np.float32]) -> None:
    found = ask(
        "forecast", frames.astype(np.float64), steps=2, model="m", boundary=["wall", "periodic"], dx=0.5, nu=0.1
    )
    assert np.array_equal(found, frames[-1] + np.array([1, 2], np.float32)[:, None, None, None])
    given, options = sent(service)
    assert np.array_equal(given, frames)
    assert options == {"steps": "2", "model": "m", "boundary": "wall,periodic", "dx": "0.5", "nu": "0.1"}


def test_datasets_go_on_in_time(ask: Ask, service: FakeService, dataset: xr.Dataset, frames: NDArray[Any]) -> None:
    found = ask("forecast", dataset, steps=2)
    given, options = sent(service)
    assert np.array_equal(given, frames)
    assert float(options["dx"]) == pytest.approx(0.1)
    assert (float(options["dt"]), options["boundary"]) == (0.5, "wall,periodic")
    wanted = dataset.isel(time=[2, 2]).assign_coords(time=[1.5, 2.0])
    later = xr.DataArray(np.array([1, 2], np.float32), dims="time")
    for name in ("u", "v"):
        wanted[name] = (wanted[name] + later).assign_attrs(dataset[name].attrs)
    xr.testing.assert_identical(found, wanted)
    other = ask("forecast", dataset, steps=2, boundary={"x": "wall"})
    xr.testing.assert_identical(other, wanted.assign_attrs(boundary="periodic,wall"))


def test_cf_bounds_of_times_are_not_taken_for_fields(ask: Ask, dataset: xr.Dataset) -> None:
    bounded = dataset.assign(time_bnds=(("time", "nv"), np.zeros((3, 2))))
    bounded["time"].attrs["bounds"] = "time_bnds"
    xr.testing.assert_identical(ask("forecast", bounded), ask("forecast", dataset))


def test_arrays_with_names_keep_the_order_of_dims_components_and_cells(
    ask: Ask, service: FakeService, frames: NDArray[np.float32]
) -> None:
    """With v before u, time last and y downwards: the service gets its own order, the caller that of the frames."""
    plain = xr.DataArray(frames, dims=("time", "component", "y", "x"), coords={"component": ["u", "v"], "y": range(4)})
    turned = plain.isel(component=[1, 0], y=slice(None, None, -1)).transpose("y", "component", "x", "time").rename("U")
    found = ask("forecast", turned, steps=1)
    assert np.array_equal(sent(service)[0], frames)
    xr.testing.assert_identical(found, turned.isel(time=[-1]) + np.float32(1))
    assert found.name == "U"


@pytest.mark.parametrize(
    ("times", "later"),
    [
        (DAY + HOUR * np.arange(3), DAY + HOUR * np.arange(3, 5)),
        (xr.Variable("time", [0, 1, 2], {"units": "hours since 2026-11-29"}), [3, 4]),
        (HOUR * np.arange(3), HOUR * np.arange(3, 5)),
        (xr.Variable("time", [0, 1, 2], {"units": "hours"}), [3, 4]),
        (xr.Variable("time", [0, 1, 2], {"units": "hour since 2026-11-29", "calendar": "noleap"}), [3, 4]),
        (xr.Variable("time", [17760000, 17760001, 17760002], {"units": "h since 0001-01-01"}), [17760003, 17760004]),
        (xr.Variable("time", [0, 60, 120], {"units": "minutes since the start"}), [180, 240]),
        (xr.Variable("time", [0, 3600000, 7200000], {"units": "ms since 2026-11-29"}), [10800000, 14400000]),
        (np.array([NoLeapHour(n) for n in range(3)]), [NoLeapHour(3), NoLeapHour(4)]),
    ],
)
def test_between_dates_are_seconds(
    ask: Ask, service: FakeService, dataset: xr.Dataset, times: object, later: NDArray[Any]
) -> None:
    found = ask("forecast", dataset.assign_coords(time=times), steps=2)
    assert sent(service)[1]["dt"] == "3600.0"
    assert np.array_equal(found.time, later)


@pytest.mark.parametrize(
    ("times", "last"),
    [
        ([1000.0, 1000.999, 1002.0], 1202.0),
        ([0, 299, 600], 60600),
        (DAY.astype("M8[s]") + np.array([0, 299, 600]), DAY + np.timedelta64(60600, "s")),
    ],
)
def test_times_go_on_by_the_mean_step(ask: Ask, dataset: xr.Dataset, times: NDArray[Any], last: object) -> None:
    found = ask("forecast", dataset.assign_coords(time=times), steps=200).time
    assert found[-1].values == last
    assert found.dtype.kind == np.asarray(times).dtype.kind


@pytest.mark.parametrize(("first", "step"), [(1000, 0.0026), (20000, 0.1)])
def test_coordinates_in_single_precision(
    ask: Ask, service: FakeService, dataset: xr.Dataset, first: float, step: float
) -> None:
    """Their rounding is no unevenness. Positions that coincide are none."""
    single = {axis: np.float32(first + step * np.arange(n)) for axis, n in dataset[["time", "y", "x"]].sizes.items()}
    ask("forecast", dataset.assign_coords(single), dx=1)
    assert float(sent(service)[1]["dt"]) == pytest.approx(step, rel=0.03)
    with pytest.raises(InvalidInputError, match=r"time: spaced by 0 to .*; expected even steps"):
        ask("forecast", dataset.assign_coords(time=np.float32(first + 1e-3 * step * np.arange(3))))
    hours = xr.Variable("time", single["time"], {"units": "hours since 2026-11-29"})
    ask("forecast", dataset.assign_coords(time=hours))
    assert float(sent(service)[1]["dt"]) == pytest.approx(3600 * step, rel=0.03)


def test_names_and_drop(ask: Ask, dataset: xr.Dataset) -> None:
    other = dataset.rename(u="Ux", v="Uy").assign(smoke=dataset.u)
    with pytest.raises(InvalidInputError, match=r"pass names=\{'Ux': 'u', 'Uy': 'v'\} .*--names Ux:u,Uy:v"):
        ask("forecast", other)
    with pytest.raises(InvalidInputError, match=r"smoke: .* drop=\['smoke'\]"):
        ask("forecast", other, names={"Ux": "u", "Uy": "v"})
    found = ask("forecast", other, names={"Ux": "u", "Uy": "v"}, drop=["smoke"])
    assert set(found.data_vars) == {"u", "v", "depth"}


@pytest.mark.parametrize(
    ("coordinates", "options", "message"),
    [
        (
            {"time": [0.0, 1.0, 3.0]},
            {"dt": 1.0},
            "time: spaced by 1 to 2; expected even steps other than 0; drop=time",
        ),
        ({"time": [0, 0, 0]}, {}, "time: spaced by 0 to 0; expected even steps other than 0; drop=time"),
        ({"y": np.zeros(4), "x": np.zeros(5)}, {}, "y: spaced by 0 to 0; expected even steps other than 0; drop=y,x"),
        (
            {"time": xr.Variable("time", [0, 1, 2], {"units": "months since 2000-01-01"})},
            {},
            "time: in months since a date; expected days, hours, minutes, seconds, .*; drop=time leaves",
        ),
        (
            {"time": xr.Variable("time", [0, 1e5, 2e5], {"units": "days since 0001-01-01"})},
            {},
            "time cannot be decoded: .*overflow; drop=time leaves",
        ),
        ({"x": np.arange(5.0) ** 2}, {"dx": 1.0}, "x: spaced by 1 to 7; expected even steps other than 0; drop=y,x"),
        ({"x": list("abcde")}, {}, "x: <U1; expected numbers"),
        ({"x": np.arange(5.0)}, {"dx": 1.0}, "cells: 0.1 along y, 1 along x; expected the same length along each axis"),
        (
            {"x": xr.Variable("x", 0.1 * np.arange(5), {"units": "km"})},
            {"dx": 1.0},
            "cells: in m along y, km along x; expected one unit along all axes; drop=y,x leaves",
        ),
        ({}, {"boundary": {"z": "wall"}}, "boundary names the axes z, expected some of y, x"),
    ],
)
def test_what_the_coordinates_do_not_tell_is_refused(
    ask: Ask, dataset: xr.Dataset, coordinates: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    uneven = dataset.assign_coords(coordinates)
    with pytest.raises(InvalidInputError, match=message):
        ask("forecast", uneven, **options)
    ask("forecast", uneven, drop=["time", "y", "x"])


@pytest.mark.parametrize(
    ("name", "units", "message", "option"),
    [
        ("y", "kilometres", "y: in km; expected m, as the velocity is in m/s, or dx to be given", "dx"),
        ("time", "ms", "time: in ms; expected s, as the velocity is in m/s, or dt to be given", "dt"),
        ("u", "cm s-1", "y: in m; expected cm, as the velocity is in cm s-1", "dx"),
        ("u", "m/h", "time: in s; expected h, as the velocity is in m/h", "dt"),
        ("v", "km/s", "units: m/s and km/s; expected the same of u and v", None),
    ],
)
def test_units_that_do_not_fit(
    ask: Ask, dataset: xr.Dataset, name: str, units: str, message: str, option: str | None
) -> None:
    dataset.time.attrs["units"] = "seconds"
    ask("forecast", dataset)
    dataset[name].attrs["units"] = units
    with pytest.raises(InvalidInputError, match=message):
        ask("forecast", dataset)
    if option is not None:
        ask("forecast", dataset, **{option: 1.0})


@pytest.mark.parametrize("units", ["m s-1", "m s^-1", "m*s**-1", "metres / second", "m⋅s⁻¹", "m/s K/h", "1", "knots"])
def test_units_that_fit_or_say_nothing(ask: Ask, dataset: xr.Dataset, units: str) -> None:
    dataset.u.attrs["units"] = units
    ask("forecast", dataset)


def test_times_that_descend_are_refused(ask: Ask, dataset: xr.Dataset) -> None:
    with pytest.raises(InvalidInputError, match=r"time: from 1.0 to 0.0; expected times that grow"):
        ask("forecast", dataset.isel(time=slice(None, None, -1)), dt=0.5)


def test_volumes_are_no_planes(ask: Ask) -> None:
    with pytest.raises(InvalidInputError, match=r"u, v over \(time, y, x\).* got u\(z, y, x\)"):
        ask("forecast", xr.Dataset({"u": (("z", "y", "x"), np.zeros((2, 2, 2)))}))


def test_an_answer_over_other_cells(ask: Ask, service: FakeService, dataset: xr.Dataset) -> None:
    answer = io.BytesIO()
    np.save(answer, np.zeros((1, 2, 3, 3), np.float32))
    service.script = [httpx2.Response(200, content=answer.getvalue(), headers={"Content-Type": "application/x-npy"})]
    with pytest.raises(UnexpectedAnswerError, match=r"\(4, 5\) cells"):
        ask("forecast", dataset)


def test_command_line(
    service: FakeService,
    dataset: xr.Dataset,
    frames: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_session, "Client", partial(eddylift.Client, transport=httpx2.MockTransport(service)))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli.app, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    np.save("frames.npy", frames)
    told = run("forecast", "frames.npy", "next.npy", "--steps", "2")
    assert "next.npy: time 2 x component 2 x y 4 x x 5, by default (boundary=default) in" in told
    assert np.load("next.npy").shape == (2, 2, 4, 5)
    asked = len(service.requests)
    refused = CliRunner().invoke(cli.app, ["forecast", "frames.npy", "next.vtkhdf"])
    assert (
        refused.exit_code,
        "as the input is a bare array of planes: expected a name that ends in .npy" in refused.output,
    ) == (1, True)
    assert len(service.requests) == asked
    dataset.to_netcdf("frames.nc", engine="h5netcdf")
    run("forecast", "frames.nc", "next.zarr", "--model", "m", "--dx", "0.5", "--boundary", "wall")
    options = sent(service)[1]
    assert {name: options[name] for name in ("model", "dx", "dt", "boundary", "steps")} == {
        "model": "m",
        "dx": "0.5",
        "dt": "0.5",
        "boundary": "wall",
        "steps": "10",
    }
    assert xr.open_zarr("next.zarr").time.values.tolist() == [1.5 + 0.5 * step for step in range(10)]
    rows = run("forecast-models").splitlines()
    assert rows[1].split() == ["relaxed-smoke", "smoke", "10", "other", "runs", "0.50"]
