"""A relaxed network breaks a symmetry where its data do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from training.__main__ import main
from training.flows import planes

if TYPE_CHECKING:
    from pathlib import Path


def test_a_network_keeps_what_its_data_keep_and_breaks_what_they_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(planes.FRAMES, "levels", 50)
    folder = planes.simulate("smoke", "levels", 12, 0, tmp_path)
    command = ["forecast-levels", "--data", str(folder), "--fields", "2", "--steps", "15", "--threads", "1"]
    command += ["--levels", "0", "9"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert "rank correlation 1.000" in capsys.readouterr().out
    found = json.loads((tmp_path / "smoke-levels-12-seed0.json").read_text())
    assert (found["levels"], found["channels"], found["steps"]) == ([0, 9], 8, 15)
    still, uneven = found["errors"]
    assert max(still) < 1e-5
    assert min(uneven) > 1e-4
    with pytest.raises(SystemExit):
        main([*command, "--levels", "3", "--out", str(tmp_path)])
    assert "--levels: [3]; expected several, to be ranked" in capsys.readouterr().err
