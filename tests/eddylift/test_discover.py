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
    assert "<td>-x,-y</td><td>no</td><td>0.25</td><td>0.0005</td><td>0.75</td>" in found._repr_html_()
    arrays, options = sent(service)
    assert np.array_equal(arrays["x"], X)
    assert np.array_equal(arrays["y"], Y)
    assert options == {"y_kind": "vector", "group": "C2"}


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
    assert ["-x,-y", "no", "0.25", "0.0005", "0.75"] in rows
    assert ["lift", "1", "A", "0.9,", "B", "0.1"] in rows
    assert "1: 1 of the 2 elements of C2 are kept on the average" in " ".join(result.stdout.split())
    assert sent(service)[1] == {"y_kind": "vector"}


def test_a_job_on_stored_volumes(service: FakeService, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    monkeypatch.setattr(_session, "Client", partial(eddylift.Client, transport=httpx2.MockTransport(service)))
    found = {"task": "discover", "model": None, "reference": "fine", "stage": "discovering", "report": DISCOVERY}
    service.script = [httpx2.Response(202, json={**JOB, **found, "id": "abc"})] * 4
    options = ["--job", "--group", "O", "--x-kind", "scalar"]
    submitted = CliRunner().invoke(cli.app, ["discover", "box", "fine", *options])
    order = json.loads(service.requests[-1].content)
    kinds = {"x_kind": "scalar", "y_kind": None}
    assert order == {"task": "discover", "source": "box", "reference": "fine", **kinds, "group": "O", "names": {}}
    assert ["abc", "box", "-", "discover", "done", "3/3"] in [
        line.split()[:6] for line in submitted.stdout.splitlines()
    ]
    watched = CliRunner().invoke(cli.app, ["watch", "abc"])
    assert str(DISCOVERY["verdict"]) in " ".join(watched.stdout.split())
    job = ask("submit_discovery", "box", "fine")
    assert job.status.report == DISCOVERY
    assert isinstance(job.status.report, eddylift.Discovery)
    assert repr(job).endswith("Job('abc': symmetries of box to fine, done, 3 of 3 blocks)")
