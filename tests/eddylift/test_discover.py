"""Pairs of fields in, the symmetries that they keep out."""

from __future__ import annotations

import email
import io
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import eddylift
from eddylift import InvalidInputError, cli
from eddylift.cli import _session
from tests.eddylift.conftest import DISCOVERY, JOB

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.eddylift.conftest import Ask, FakeService

X, Y = np.random.default_rng(0).standard_normal((2, 1, 1, 4, 4))


def sent(service: FakeService) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays and the options of the last request."""
    request = service.requests[-1]
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    parts: Any = email.message_from_bytes(head + request.content).get_payload()
    arrays = {part.get_filename(): np.load(io.BytesIO(part.get_payload(decode=True))) for part in parts}
    return arrays, dict(request.url.params)


def test_what_is_found(ask: Ask, service: FakeService) -> None:
    found = ask("discover", X, Y, y_kind="vector", group="C2")
    assert found == DISCOVERY
    assert found.kept == ["x,y"]
    assert repr(found).startswith("Discovery(group='C2', elements=['x,y', '-x,-y'], kept=['x,y'], symbol='1'")
    assert "<th>-x,-y</th><td>no</td><td>0.25</td><td>0.0005</td><td>0.75</td><td>0.125</td>" in found._repr_html_()
    arrays, options = sent(service)
    assert np.array_equal(arrays["x"], X)
    assert np.array_equal(arrays["y"], Y)
    assert options == {"y_kind": "vector", "group": "C2"}


def test_an_older_service_says_less(ask: Ask, service: FakeService) -> None:
    found = {name: DISCOVERY[name] for name in DISCOVERY.keys() - {"common_errors", "unfitted", "unlike"}}
    service.script = [httpx2.Response(200, json=found)]
    assert ask("discover", X, Y).rows()[1] == ("-x,-y", "no", "0.25", "0.0005", "0.75", "-")


@pytest.mark.parametrize(
    ("kinds", "precision"),
    [(("f4", "f4"), "f4"), (("f4", "f8"), "f8"), (("i4", "f4"), "f8"), (("?", "u1"), "f8"), ((">f8", "f8"), "f8")],
)
def test_both_have_the_precision_of_the_finer_one(
    ask: Ask, service: FakeService, kinds: tuple[str, str], precision: str
) -> None:
    ask("discover", X.astype(kinds[0]), Y.astype(kinds[1]))
    assert {array.dtype.str for array in sent(service)[0].values()} == {f"<{precision}"}


def test_data_arrays_and_files(ask: Ask, service: FakeService, tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", Y)
    ask("discover", xr.DataArray(X, dims=("pair", "channel", "y", "x")), tmp_path / "y.npy")
    arrays = sent(service)[0]
    assert np.array_equal(arrays["x"], X)
    assert np.array_equal(arrays["y"], Y)


def in_units(fields: xr.DataArray, **units: str) -> xr.DataArray:
    """Fields whose axes have units."""
    return fields.assign_coords({axis: (axis, fields[axis].values, {"units": each}) for axis, each in units.items()})


def on_grid(fields: NDArray[Any], labels: list[str], refined: int = 1) -> xr.DataArray:
    """Fields with positions along y and x, on cells that are finer by a factor."""
    axes = {axis: (np.arange(refined * 4) + 0.5) / refined for axis in "yx"}
    fine = fields.repeat(refined, axis=-1).repeat(refined, axis=-2)
    return xr.DataArray(fine, dims=("pair", "channel", "y", "x"), coords={"pair": [7], "channel": labels, **axes})


def test_data_arrays_are_put_in_order(ask: Ask, service: FakeService) -> None:
    """Channels by their labels, dims by name, and axes ascending."""
    vectors = np.random.default_rng(1).standard_normal((1, 2, 4, 4))
    x, y = on_grid(X, ["p"]), on_grid(vectors, ["u", "v"], refined=2)
    turned = y.isel(channel=[1, 0], y=slice(None, None, -1)).transpose("channel", "x", "pair", "y")
    ask("discover", x.isel(x=slice(None, None, -1)).rename(channel="component"), turned, y_kind="vector")
    arrays = sent(service)[0]
    assert np.array_equal(arrays["x"], X)
    assert np.array_equal(arrays["y"], y.values)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (on_grid(Y, ["p"]).rename(y="lat"), r"y: dims \(pair, channel, lat, x\); expected pair or time, channel"),
        (on_grid(np.concatenate([Y, Y], 1), ["p", "q"]), r"y: channel \['p', 'q'\]; expected labels such as u, v"),
        (
            on_grid(Y, ["p"]).assign_coords(y=[0, 1, 3, 4]),
            "y: spaced by 1 to 2; expected even steps other than 0, as D4 swaps axes",
        ),
        (on_grid(Y, ["p"]).assign_coords(y=[0, 2, 4, 6]), "cells: 2 along y, 1 along x; expected the same length"),
        (in_units(on_grid(Y, ["p"]), y="km", x="metres"), "cells: in km along y, m along x; expected one unit"),
        (on_grid(Y, ["p"]).assign_coords(x=[1, 2, 3, 4]), "y: x from 1 to 4, that of x from 0.5 to 3.5; expected the"),
        (
            on_grid(Y, ["p"]).assign_coords(pair=[8]),
            "y: pair from 8 to 8, that of x from 7 to 7; expected the same pairs",
        ),
    ],
)
def test_coordinates_that_do_not_fit(ask: Ask, changed: xr.DataArray, message: str) -> None:
    kind = "scalar" if changed.sizes["channel"] == 1 else "vector"
    with pytest.raises(InvalidInputError, match=message):
        ask("discover", on_grid(X, ["p"]), changed, y_kind=kind, group="D4")


def at_times(times: Any) -> xr.DataArray:  # noqa: ANN401 numbers or dates
    fields = np.zeros((len(times), 1, 4, 4))
    return xr.DataArray(fields, dims=("time", "channel", "y", "x"), coords={"time": times})


NOW = np.array(["2020-01-01", "2020-01-02"], "M8[ns]")


@pytest.mark.parametrize(("x", "y"), [([0, 1], [7.5, 8.5]), (NOW, NOW + np.timedelta64(1, "h")), (NOW, ["a", "b"])])
def test_times_may_all_be_later(ask: Ask, x: Any, y: Any) -> None:  # noqa: ANN401 numbers or dates
    ask("discover", at_times(x), at_times(y))


def test_positions_and_times_in_single_precision(ask: Ask) -> None:
    """Their rounding, here 2 % of a cell and of a step, does not count."""
    x, y = on_grid(X, ["p"]), on_grid(Y, ["p"], refined=3)
    ask(
        "discover",
        *(each.assign_coords({axis: np.float32(20000 + 0.13 * each[axis]) for axis in "yx"}) for each in (x, y)),
    )
    ask("discover", *(at_times(np.float32(first + 0.0026 * np.arange(4))) for first in (1000, 1000.7)))


@pytest.mark.parametrize(("x", "y"), [([0, 1], [0, 2]), (NOW, NOW + np.array([0, 1], "m8[h]"))])
def test_times_of_other_pairs(ask: Ask, x: Any, y: Any) -> None:  # noqa: ANN401 numbers or dates
    with pytest.raises(InvalidInputError, match=r"y: time from 0.* expected the same times since the first"):
        ask("discover", at_times(x), at_times(y))


def test_the_order_of_cells_is_known_of_both_or_none(ask: Ask) -> None:
    for y in (Y, on_grid(Y, ["p"]).drop_vars("y")):
        ask("discover", on_grid(X, ["p"]), y)
        with pytest.raises(InvalidInputError, match="y: no coordinate y; expected one, as that of x descends"):
            ask("discover", on_grid(X, ["p"])[..., ::-1, :], y)


@pytest.mark.parametrize(("x", "y"), [("m/s", "cm/s"), ("K", "degC")])
def test_fields_of_one_kind_in_different_units(ask: Ask, x: str, y: str) -> None:
    one, other = (on_grid(fields, ["p"]).assign_attrs(units=units) for fields, units in ((X, x), (Y, y)))
    with pytest.raises(InvalidInputError, match=f"y: in {y}; expected {x}, as X has"):
        ask("discover", one, other)
    for same in (other.assign_attrs(units={"m/s": "m s-1", "K": "K"}[x]), other.drop_attrs(), Y):
        ask("discover", one, same)
    ask("discover", one, on_grid(np.concatenate([Y, Y], 1), ["p", "q"]).assign_attrs(units=y))


def test_cells_may_differ_if_no_axes_are_swapped(ask: Ask) -> None:
    x, y = (on_grid(fields, ["p"]).assign_coords(y=[0, 2, 4, 6]) for fields in (X, Y))
    ask("discover", x, y, group="C2")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (X.astype(complex), "y: complex128; expected an array of real numbers"),
        (xr.Dataset({"u": ("x", [1.0])}), "y: Dataset; expected an array of real numbers"),
        ("no.npy", "no.npy"),
        (np.ma.masked_less(Y, 0), "masked values"),
    ],
)
def test_what_is_no_array_of_numbers(ask: Ask, fields: Any, message: str) -> None:  # noqa: ANN401 cases
    with pytest.raises(InvalidInputError, match=message):
        ask("discover", X, fields)


def test_command_line(service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_session, "Client", partial(eddylift.Client, transport=httpx2.MockTransport(service)))
    for name, fields in (("x", X), ("y", Y)):
        np.save(tmp_path / f"{name}.npy", fields)
    files = [str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    result = CliRunner().invoke(cli.app, ["discover", *files, "--y-kind", "vector"])
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["-x,-y", "no", "0.25", "0.0005", "0.75", "0.125"] in rows
    assert ["lift", "1", "A", "0.9,", "B", "0.1"] in rows
    assert "1: 1 of the 2 elements of C2 are kept on the average" in " ".join(result.stdout.split())
    assert sent(service)[1] == {"y_kind": "vector"}
    refused = CliRunner().invoke(cli.app, ["discover", *files, "--drop", "p"])
    assert (refused.exit_code, "expected --job beside" in refused.output) == (2, True)


def test_a_job_on_stored_volumes(service: FakeService, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    monkeypatch.setattr(_session, "Client", partial(eddylift.Client, transport=httpx2.MockTransport(service)))
    found = {"task": "discover", "model": None, "reference": "fine", "stage": "discovering", "report": DISCOVERY}
    service.script = [httpx2.Response(202, json={**JOB, **found, "id": "abc"})] * 4
    options = ["--job", "--group", "O", "--x-kind", "scalar", "--names", "T:b", "--drop", "p"]
    submitted = CliRunner().invoke(cli.app, ["discover", "box", "fine", *options])
    order = json.loads(service.requests[-1].content)
    kinds = {"x_kind": "scalar", "y_kind": None}
    volumes = {"source": "box", "reference": "fine", "names": {"T": "b"}, "drop": ["p"]}
    assert order == {"task": "discover", **volumes, **kinds, "group": "O"}
    assert ["abc", "box", "fine", "discover", "done", "3/3"] in [
        line.split()[:6] for line in submitted.stdout.splitlines()
    ]
    watched = CliRunner().invoke(cli.app, ["watch", "abc"])
    assert str(DISCOVERY["verdict"]) in " ".join(watched.stdout.split())
    job = ask("submit_discovery", "box", "fine")
    assert job.status.report == DISCOVERY
    assert isinstance(job.status.report, eddylift.Discovery)
    assert repr(job).endswith("Job('abc': symmetries of box to fine, done, 3 of 3 blocks)")
