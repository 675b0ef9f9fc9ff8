"""The forecasts of an exact network are as good of turned, boosted and scaled turbulence as of that which it knows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from training.__main__ import main
from training.flows import planes

if TYPE_CHECKING:
    from pathlib import Path


def test_errors_of_exact_networks_stay_and_those_of_a_plain_one_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(planes.FRAMES, "decaying", 90)
    monkeypatch.setattr(planes, "RUNS", 4)
    data = planes.simulate("planar", "decaying", 12, 0, tmp_path)
    options = ["--data", str(data), "--families", "plain", "conv", "equivariant", "--out", str(tmp_path)]
    training = ["--steps", "10", "--fields", "2", "--blocks", "1", "--precision", "float32"]
    assert main(["forecast", *options, *training]) == 0
    assert main(["forecast-symmetries", *options]) == 0
    found = json.loads((tmp_path / "planar-decaying-12-seed0-symmetries.json").read_text())["symmetries"]
    exact = found["equivariant"].pop("as simulated")["0"]
    for errors in found["equivariant"].values():
        assert errors == {"0": pytest.approx(exact, rel=1e-4)}
    assert found["conv"]["turned"] != {"0": pytest.approx(exact, rel=1e-4)}
    assert found["conv"]["boosted"] == {"0": pytest.approx(found["conv"]["as simulated"]["0"], rel=1e-4)}
    plain = found["plain"]["as simulated"]["0"]
    assert min(found["plain"][name]["0"] for name in ("boosted", "scaled")) > 1.05 * plain
