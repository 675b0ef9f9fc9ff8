from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import eddylift
from eddylift import cli
from eddylift.cli import _session
from tests.eddylift.conftest import CARDS, REPORT, REPRODUCTION, finer, problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from typer.testing import Result

    from tests.eddylift.conftest import FakeService, Step

    Run = Callable[..., Result]


@pytest.fixture
def run(service: FakeService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("EDDYLIFT_URL", "EDDYLIFT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_session, "Client", partial(eddylift.Client, transport=httpx2.MockTransport(service)))

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli.app, arguments)
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run


def test_models(run: Run) -> None:
    lines = run("models").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["model", "trilinear-x4", "relaxed-isotropic-x4"]
    assert lines[2].split() == ["relaxed-isotropic-x4", "O", "1", "123456", "0.250", "(96^3)"]


def test_names_of_models_are_whole_on_a_narrow_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert "relaxed-isotropic-x4" in run("models").stdout


def test_models_as_json(run: Run) -> None:
    assert json.loads(run("models", "--json").stdout) == CARDS


def test_address_and_token(run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    run("models")
    monkeypatch.setenv("EDDYLIFT_URL", "http://there:1234")
    monkeypatch.setenv("EDDYLIFT_TOKEN", "secret")
    run("models")
    run("models", "--url", "https://elsewhere", "--token", "other")
    found = [(str(request.url), request.headers.get("Authorization")) for request in service.requests]
    assert found == [
        ("http://127.0.0.1:8000/v1/models", None),
        ("http://there:1234/v1/models", "Bearer secret"),
        ("https://elsewhere/v1/models", "Bearer other"),
    ]


def test_the_token_is_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDDYLIFT_TOKEN", "secret")
    assert "secret" not in run("models", "--help").output


def test_upscale_array(run: Run, array: NDArray[np.float32]) -> None:
    np.save("coarse.npy", array)
    result = run("upscale", "coarse.npy", "fine.npy", "--model", "trilinear-x4")
    assert result.stdout.startswith("fine.npy: component 3 x z 8 x y 12 x x 16, by trilinear-x4 in ")
    np.testing.assert_array_equal(np.load("fine.npy"), finer(array))


@pytest.mark.parametrize("target", ["fine.nc", "fine.h5", "fine.zarr", "fine.zip"])
def test_upscale_dataset(run: Run, service: FakeService, dataset: xr.Dataset, target: str) -> None:
    dataset.to_netcdf("coarse.nc", engine="h5netcdf")
    result = run("upscale", "coarse.nc", target, "-m", "trilinear-x4", "-b", "periodic,wall,periodic", "--json")
    found = json.loads(result.stdout)
    assert found.pop("seconds") > 0
    sizes = {"z": 8, "y": 12, "x": 16}
    assert found == {"model": "trilinear-x4", "source": "coarse.nc", "target": target, "sizes": sizes}
    assert service.requests[0].url.params["boundary"] == "periodic,wall,periodic"
    again = run("upscale", target, "finer.zarr", "-m", "trilinear-x4", "--json")
    assert json.loads(again.stdout)["sizes"] == {"z": 32, "y": 48, "x": 64}
    np.testing.assert_array_equal(xr.open_zarr("finer.zarr")["v"], finer(finer(dataset["v"].to_numpy())))


def test_overwrite(run: Run, service: FakeService, array: NDArray[np.float32]) -> None:
    np.save("coarse.npy", array)
    np.save("fine.npy", array)
    result = run("upscale", "coarse.npy", "fine.npy", "-m", "trilinear-x4", code=1)
    assert result.stderr == "error: fine.npy is there already: choose another name, or pass --overwrite\n"
    assert not service.requests
    run("upscale", "coarse.npy", "fine.npy", "-m", "trilinear-x4", "--overwrite")
    assert np.load("fine.npy").shape == (3, 8, 12, 16)


def test_validate(run: Run, service: FakeService, array: NDArray[np.float32]) -> None:
    np.save("fine.npy", finer(array))
    np.save("coarse.npy", array)
    lines = run("validate", "fine.npy", "-m", "trilinear-x4").stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["mae", "0.5", "1"],
        ["skewness", "-0.4,", "-0.5,", "-0.6", "0,", "0,", "0"],
        ["spectrum_error_low", "-", "-"],
    ]
    result = run("validate", "fine.npy", "--coarse", "coarse.npy", "-m", "trilinear-x4", "--json")
    assert json.loads(result.stdout) == REPORT
    assert [b'; name="coarse"' in request.content for request in service.requests] == [False, True]


def test_validate_the_service(run: Run, service: FakeService) -> None:
    assert run("validate", "-m", "trilinear-x4").stdout == (
        "trilinear-x4 on cpu in float32 reproduces its card: MAE over rms 0.125, card 0.125, trilinear 0.125\n"
    )
    service.script = [httpx2.Response(200, json={**REPRODUCTION, "reproduced": False, "mae_over_rms": 0.5})] * 2
    assert "DOES NOT reproduce" in run("validate", "-m", "trilinear-x4", code=1).stdout
    assert json.loads(run("validate", "-m", "trilinear-x4", "--json", code=1).stdout)["mae_over_rms"] == 0.5


def test_validate_without_a_reference_takes_no_options_of_one(run: Run, service: FakeService) -> None:
    assert "go with a REFERENCE" in run("validate", "-m", "x", "--coarse", "a.npy", code=1).stderr
    assert not service.requests


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            problem(422, detail="no", errors=[{"field": "u", "value": "[bold]nan[/]", "expected": "numbers"}]),
            "error: Title (422): no\n  u: got '[bold]nan[/]', expected numbers\n",
        ),
        (httpx2.ReadTimeout(""), "error: http://127.0.0.1:8000 took too long (ReadTimeout): raise the timeout, or"),
        (httpx2.Response(200, text="hello"), "error: the answer is not a JSON object with models: is this an eddylift"),
    ],
)
def test_errors(run: Run, service: FakeService, step: Step, message: str) -> None:
    service.script = [step]
    result = run("models", code=1)
    assert result.stdout == ""
    assert result.stderr.startswith(message)


def test_errors_as_json(run: Run, service: FakeService) -> None:
    errors = [{"field": "u", "value": "nan", "expected": "numbers"}]
    service.script = [problem(422, detail="no", errors=errors)]
    result = run("models", "--json", code=1)
    assert result.stdout == ""
    assert json.loads(result.stderr)["error"] == {
        "kind": "RefusedError",
        "message": "Title (422): no\n  u: got 'nan', expected numbers",
        "status": 422,
        "errors": errors,
    }


def test_repeated_calls_are_told_of(run: Run, service: FakeService) -> None:
    service.script = [problem(503, {"Retry-After": "1"}, detail="warming up"), httpx2.ConnectError("refused")]
    assert run("models").stderr == (
        "Title (503): warming up; trying again in 0.0 s\n"
        "cannot reach http://127.0.0.1:8000: refused; trying again in 0.0 s\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("upscale", "missing.nc", "fine.nc", "-m", "x"),
        ("upscale", "missing.nc", "fine.npy", "-m", "x"),
        ("upscale", "missing.txt", "fine.nc", "-m", "x"),
        ("validate", "missing.nc", "-m", "x"),
        ("models", "--url", "nowhere"),
    ],
)
def test_mistakes_are_noticed_before_anything_is_sent(run: Run, service: FakeService, arguments: tuple[str]) -> None:
    result = run(*arguments, code=1)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not service.requests


def test_usage(run: Run) -> None:
    run("upscale", "a.nc", code=2)
    assert run("--version").stdout.strip()
