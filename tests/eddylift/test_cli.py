from __future__ import annotations

import errno
import io
import json
import re
import tempfile
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import Mock

import h5py
import httpx2
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import eddylift
from eddylift import METRICS, cli
from eddylift.cli import _completion, _session
from tests.eddylift.conftest import CARDS, CHECK, HEALTH, JOB, REPORT, REPRODUCTION, finer, problem

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
    for module in (_session, _completion):
        monkeypatch.setattr(module, "Client", partial(eddylift.Client, transport=httpx2.MockTransport(service)))

    def run(*arguments: str, code: int = 0, input: bytes | None = None) -> Result:  # noqa: A002 as typer calls it
        result = CliRunner().invoke(cli.app, arguments, input=input)
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run


def test_models(run: Run) -> None:
    lines = run("models").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["model", "trilinear-x4", "relaxed-isotropic-x4"]
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "trilinear-x4 any flow 1 1",
        "relaxed-isotropic-x4 isotropic, wall in y 1 0.25",
    ]


def test_models_for_any_flow(run: Run, service: FakeService) -> None:
    errors = {"isotropic": 0.25, "taylor-green": 0.5, "decaying": 0.125}
    measured = [
        {"run": f"{flow}-64", "flow": flow, "mae_over_trilinear": {"mean": error}} for flow, error in errors.items()
    ]
    general = {**CARDS[1], "name": "conv-general-x4", "flow": "general", "boundary": None, "measured": measured}
    service.script = [httpx2.Response(200, json={"models": [general]})]
    (_, line) = run("models").stdout.splitlines()
    assert " ".join(line.split()) == "conv-general-x4 any flow 1 0.12 decaying to 0.50 taylor-green"


def test_models_fit_a_terminal(run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    measured = {"cells": [96, 96, 96], "mae_over_trilinear": {"mean": 0.25}}
    long = {**CARDS[1], "name": "equivariant-isotropic-x4-3frames", "measured": [measured, measured]}
    service.script = [httpx2.Response(200, json={"models": [long]})]
    lines = run("models").stdout.splitlines()
    assert len(lines) == 2
    assert lines[1].split()[0] == "equivariant-isotropic-x4-3frames"
    assert lines[1].split()[-3:] == ["0.25", "to", "0.25"]


def test_card(run: Run) -> None:
    lines = run("card", "relaxed-isotropic-x4").stdout.splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "model relaxed-isotropic-x4",
        "for isotropic, wall in y",
        "family relaxed",
        "group O",
        "parameters 123456",
        "frames 1",
        "",
        "measured on MAE/trilinear expected/found 50 % 90 %",
        "held-out data 0.25 - - -",
        lines[-1],
    ]
    assert lines[-1].startswith("expected/found: expected over found errors; 50 %, 90 %: share of cells")
    assert json.loads(run("card", "relaxed-isotropic-x4", "--json").stdout) == CARDS[1]


def test_a_card_has_one_line_for_each_run_on_a_narrow_terminal(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ("mae", "mae_over_trilinear", "error_predicted_over_found", "error_coverage_50", "error_coverage_90")
    found = {name: {"mean": 0.875, "std": 0.125} for name in names}
    runs = [{"run": f"couette-64-nx72-nz72-compact-seed{seed}", **found} for seed in (201, 202)]
    service.script = [httpx2.Response(200, json={**CARDS[1], "sha256": 64 * "f", "measured": runs})]
    lines = [" ".join(line.split()) for line in run("card", "relaxed-isotropic-x4").stdout.splitlines()]
    assert "…" not in "".join(lines)
    assert "couette-64-nx72-nz72-compact-seed201 0.88 0.88 0.88 0.88" in lines
    assert len([line for line in lines if "seed" in line]) == 2


def test_symmetry(run: Run) -> None:
    lines = [line.split() for line in run("symmetry", "relaxed-isotropic-x4").stdout.splitlines()]
    assert lines[1:] == [["x,y,z", "0"], ["-y,x,z", "0.1"], ["network.lift", "A1", "1"]]


def test_health(run: Run, service: FakeService) -> None:
    assert run("health").stdout.splitlines() == [
        "ready: 1 model",
        "x cannot be served: torn",
        "the data folder cannot be written: Permission denied",
    ]
    service.script = [httpx2.Response(200, json={**HEALTH, "models": ["a", "b"], "failures": {}, "data": None})]
    assert run("health").stdout == "ready: 2 models\n"
    service.script = [httpx2.Response(200, json={**HEALTH, "models": [], "failures": {}, "data": None})]
    assert run("health").stdout == "ready: a token with the scope read shows the models\n"
    service.script = [problem(503, {"Retry-After": "1"}, detail="warming up")]
    assert "warming up" in run("health", code=1).stderr
    assert len(service.requests) == 4


def test_delete(run: Run, service: FakeService) -> None:
    run("delete", "box")
    assert (service.requests[-1].method, service.requests[-1].url.path) == ("DELETE", "/v1/volumes/box")


def test_jobs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ages = [5.0, 300.0, 7200.0, 200000.0]
    monkeypatch.setattr("eddylift._display.time.time", lambda: ages.pop(0))
    found = [run("jobs").stdout.splitlines()[1].split()[-2:] for _ in range(4)]
    assert found == [["5", "s"], ["5", "min"], ["2", "h"], ["2", "d"]]


def test_a_discovery_is_listed_with_its_y(run: Run, service: FakeService) -> None:
    discovery = {**JOB, "task": "discover", "source": "before", "reference": "after", "model": None}
    service.script = [httpx2.Response(200, json={"jobs": [discovery, JOB]})]
    lines = [line.split()[1:4] for line in run("jobs").stdout.splitlines()]
    assert lines[1:] == [["before", "after", "discover"], ["box", "-", "trilinear-x4"]]


def test_shells_complete_names(run: Run, service: FakeService) -> None:
    context = SimpleNamespace(params={"url": "http://fake"})
    run("models")
    assert _completion.models(context, "rel") == ["relaxed-isotropic-x4"]  # type: ignore[arg-type]
    assert _completion.jobs(context, "") == ["abc"]  # type: ignore[arg-type]
    service.script = [httpx2.ConnectError("refused")]
    assert _completion.models(context, "") == []  # type: ignore[arg-type]


def test_warnings_are_shown(run: Run, service: FakeService, array: NDArray[np.float32]) -> None:
    np.save("fine.npy", finer(array))
    service.script = [httpx2.Response(200, json=REPORT, headers={"X-Eddylift-Warning": "not as the card says"})]
    result = run("validate", "fine.npy", "-m", "trilinear-x4", "--json")
    assert result.stderr == "warning: not as the card says\n"
    assert json.loads(result.stdout) == REPORT


def test_names_drop_and_resample(run: Run, dataset: xr.Dataset) -> None:
    stretched = dataset.assign_coords(y=[0.0, 1.0, 3.0]).rename(u="Ux", z="lev").assign(p=dataset["u"].rename(z="lev"))
    stretched.to_netcdf("coarse.nc", engine="h5netcdf")
    where = ["coarse.nc", "fine.nc", "-m", "trilinear-x4"]
    assert "--drop p" in run("upscale", *where, "--names", "Ux:u,lev:z", code=1).stderr
    assert "--resample y" in run("upscale", *where, "--names", "Ux:u,lev:z", "--drop", "p", code=1).stderr
    resampled = [*where, "--names", "Ux:u,lev:z", "--drop", "p", "--resample", "y"]
    assert "resample: y; expected a boundary too" in run("upscale", *resampled, code=1).stderr
    run("upscale", *resampled, "--boundary", "periodic,wall,periodic")
    with xr.open_dataset("fine.nc") as fine:
        assert dict(fine.sizes) == {"z": 8, "y": 12, "x": 16}
        assert fine.attrs["eddylift_resampled"].startswith("y: 3 uniform cells from 0 to 3")
    assert "names: Ux; expected pairs" in run("submit", "box", "fine", "-m", "x", "--names", "Ux", code=1).stderr


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
    assert result.stdout.startswith("fine.npy: component 3 x z 8 x y 12 x x 16, by trilinear-x4 (boundary=default) in ")
    np.testing.assert_array_equal(np.load("fine.npy"), finer(array))


@pytest.mark.parametrize("target", ["fine.nc", "fine.h5", "fine.zarr", "fine.zip"])
def test_upscale_dataset(run: Run, service: FakeService, dataset: xr.Dataset, target: str) -> None:
    dataset.to_netcdf("coarse.nc", engine="h5netcdf")
    result = run("upscale", "coarse.nc", target, "-m", "trilinear-x4", "-b", "periodic,wall,periodic", "--json")
    found = json.loads(result.stdout)
    assert found.pop("seconds") > 0
    sizes = {"z": 8, "y": 12, "x": 16}
    about = {"model": "trilinear-x4", "boundary": "periodic,wall,periodic"}
    assert found == {**about, "source": "coarse.nc", "target": target, "sizes": sizes}
    assert service.requests[0].url.params["boundary"] == "periodic,wall,periodic"
    again = run("upscale", target, "finer.zarr", "-m", "trilinear-x4", "--json")
    assert json.loads(again.stdout)["sizes"] == {"z": 32, "y": 48, "x": 64}
    np.testing.assert_array_equal(xr.open_zarr("finer.zarr")["v"], finer(finer(dataset["v"].to_numpy())))


def test_standard_input_and_output(run: Run, array: NDArray[np.float32], dataset: xr.Dataset) -> None:
    sent = io.BytesIO()
    np.save(sent, np.stack([array, 2 * array]))
    result = run("upscale", "-", "-", "-m", "trilinear-x4", input=sent.getvalue())
    np.testing.assert_array_equal(np.load(io.BytesIO(result.stdout_bytes)), finer(np.stack([array, 2 * array])))
    assert result.stderr.startswith(
        "-: time 2 x component 3 x z 8 x y 12 x x 16, by trilinear-x4 (boundary=default) in "
    )
    answer = run("upscale", "-", "-", "--json", input=bytes(dataset.to_netcdf(engine="h5netcdf")))
    fine = xr.load_dataset(io.BytesIO(answer.stdout_bytes), engine="h5netcdf")
    np.testing.assert_array_equal(fine["w"], finer(array)[2])
    assert json.loads(answer.stderr)["target"] == "-"
    lines = run("validate", "-", "-m", "trilinear-x4", input=sent.getvalue()).stdout.splitlines()
    assert lines[1].split()[:2] == ["mae", "0.5"]
    for nothing in (b"", b"nothing"):
        message = run("upscale", "-", "-", input=nothing, code=1).stderr
        assert "standard input: of an unknown format; expected .npy" in message
        assert tempfile.gettempdir() not in message


def test_a_full_disk_is_an_error(run: Run, array: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    np.save("coarse.npy", array)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("eddylift.cli._streams.shutil.copyfileobj", Mock(side_effect=full))
    result = run("upscale", "coarse.npy", "-", code=1)
    assert result.stderr.startswith("error: a temporary file or the output cannot be written: [Errno 28] No space left")


def test_paraview(run: Run, array: NDArray[np.float32]) -> None:
    np.save("coarse.npy", array)
    run("upscale", "coarse.npy", "fine.vtkhdf", "-m", "trilinear-x4")
    with h5py.File("fine.vtkhdf") as file:
        np.testing.assert_array_equal(file["VTKHDF/CellData/velocity"][..., 1], finer(array)[1])


def test_overwrite(run: Run, service: FakeService, array: NDArray[np.float32]) -> None:
    np.save("coarse.npy", array)
    np.save("fine.npy", array)
    result = run("upscale", "coarse.npy", "fine.npy", "-m", "trilinear-x4", code=1)
    assert result.stderr == "error: fine.npy exists already: choose another name, or pass --overwrite\n"
    assert not service.requests
    run("upscale", "coarse.npy", "fine.npy", "-m", "trilinear-x4", "--overwrite")
    assert np.load("fine.npy").shape == (3, 8, 12, 16)


def test_validate(run: Run, service: FakeService, array: NDArray[np.float32]) -> None:
    np.save("fine.npy", finer(array))
    np.save("coarse.npy", array)
    lines = run("validate", "fine.npy", "-m", "trilinear-x4").stdout.splitlines()
    assert [re.split(r" {2,}", line.strip()) for line in lines[1:]] == [
        ["mae", "0.5", "1", "velocity", "lower", "mean absolute error of all components"],
        ["skewness", "-0.4, -0.5, -0.6", "0, 0, 0", "1", "near the reference's", METRICS["skewness"].meaning],
        ["spectrum_error_low", "-", "-", "1", "lower", METRICS["spectrum_error_low"].meaning],
    ]
    result = run("validate", "fine.npy", "--coarse", "coarse.npy", "-m", "trilinear-x4", "--json")
    assert json.loads(result.stdout) == REPORT
    assert [b'; name="coarse"' in request.content for request in service.requests] == [False, True]
    run("validate", "fine.npy", "--length", "1.2,2,2.4")
    assert service.requests[-1].url.params["length"] == "1.2,2,2.4"


def test_a_report_fits_a_terminal(
    run: Run, service: FakeService, array: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the meanings of metrics have no room, it says where they are; nothing is cut off."""
    monkeypatch.setenv("COLUMNS", "80")
    np.save("fine.npy", finer(array))
    every = {name: [0.25, 0.5, 0.75] if name == "skewness" else 0.5 for name in METRICS}
    long = {**REPORT, "model": "equivariant-general-wide-x4", "metrics": every, "trilinear": every}
    service.script = [httpx2.Response(200, json=long)]
    lines = run("validate", "fine.npy", "-m", "trilinear-x4").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert lines[-1].endswith("docs/api.md#metrics.")
    # The title is broken once, and so are the three words of one way to be better.
    assert len(lines) <= len(METRICS) + 2 + 2 + 3


def test_check(run: Run, service: FakeService, array: NDArray[np.float32]) -> None:
    np.save("coarse.npy", array)
    lines = run("check", "coarse.npy", "-b", "periodic").stdout.splitlines()
    assert [re.split(r" {2,}", line.strip()) for line in lines] == [
        ["model", "equivariant-general-x4"],
        ["expected mean error", "0.1"],
        ["mean correction to trilinear", "0.4"],
        ["expected error over correction", "0.25"],
        ["models that know their errors on such fields", "general"],
    ]
    assert json.loads(run("check", "coarse.npy", "--json").stdout) == CHECK
    assert service.requests[0].url.params["boundary"] == "periodic"


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
    assert "missing" not in result.stderr or "does not exist" in result.stderr
    assert not service.requests


def test_usage(run: Run) -> None:
    run("upscale", "a.nc", code=2)
    assert run("--version").stdout.strip()
