"""The forecasts of an exact network are as good of turned, boosted and scaled turbulence as of that which it knows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.forecasting.catalogue import ForecastCatalogue
from training.__main__ import main
from training.flows import planes
from training.forecasting import animation
from training.forecasting.training import TESTED
from training.forecasting.windows import BEGIN

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def test_errors_of_exact_networks_stay_and_those_of_a_plain_one_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(planes.FRAMES, "decaying", 90)
    monkeypatch.setattr(planes, "RUNS", 4)
    data = planes.simulate("planar", "decaying", 12, 0, tmp_path)
    options = ["--data", str(data), "--families", "plain", "conv", "equivariant", "--out", str(tmp_path)]
    training = ["--steps", "10", "--fields", "2", "--blocks", "1", "--precision", "float32"]
    weights = ["--weights", str(tmp_path / "weights")]
    assert main(["forecast", *options, *training, *weights]) == 0
    drawn: list[NDArray[np.float32]] = []
    monkeypatch.setattr(animation, "draw", lambda _path, *fields: drawn.extend(fields[:2]))
    assert main(["forecast-animation", "--model", "plain-planar", *weights]) == 0
    catalogue, (frames, units) = ForecastCatalogue(tmp_path / "weights"), planes.decaying(12, 0)
    run = frames[2:3, BEGIN : BEGIN + 10 + TESTED].float()
    answer = catalogue.load("plain-planar")(run[:, :10], TESTED, (True, True), units)
    for found, wanted in zip(drawn, (run, answer), strict=True):
        np.testing.assert_allclose(found * units.dx / units.dt, wanted[0], rtol=1e-3, atol=1e-5)
    assert main(["forecast-symmetries", *options]) == 0
    found = json.loads((tmp_path / "planar-decaying-12-seed0-symmetries.json").read_text())["symmetries"]
    exact = found["equivariant"].pop("as simulated")["0"]
    for errors in found["equivariant"].values():
        assert errors == {"0": pytest.approx(exact, rel=1e-4)}
    assert found["conv"]["turned"] != {"0": pytest.approx(exact, rel=1e-4)}
    assert found["conv"]["boosted"] == {"0": pytest.approx(found["conv"]["as simulated"]["0"], rel=1e-4)}
    plain = found["plain"]["as simulated"]["0"]
    assert min(found["plain"][name]["0"] for name in ("boosted", "scaled")) > 1.05 * plain
