"""A penalty holds a relaxed steerable network to the symmetry that its data break."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from training.__main__ import main
from training.flows import planes

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_larger_the_penalty_the_smaller_the_error_that_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(planes.FRAMES, "levels", 60)
    folder = planes.simulate("smoke", "levels", 12, 0, tmp_path)
    command = ["forecast-penalties", "--data", str(folder), "--fields", "1", "--steps", "20", "--threads", "1"]
    command += ["--penalties", "0", "1e4", "1e6"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "smoke-levels-12-penalties-seed0.json").read_text())["penalties"]
    assert [strength for strength, *_ in found] == [0, 1e4, 1e6]
    for column in (1, 2):  # of delta^2 and of the equivariance error
        errors = [row[column] for row in found]
        assert errors == sorted(errors, reverse=True)
        assert errors[0] > 10 * errors[-1]
