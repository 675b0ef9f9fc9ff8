"""The table of experiments over seeds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from training.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_table_has_means_spreads_and_the_best_family(tmp_path: Path) -> None:
    errors = {"persistence": [0.8], "conv": [0.5, 0.7], "relaxed": [0.4, 0.6]}
    forecasts = {family: {"future": found, "domain": found[::-1]} for family, found in errors.items()}
    (tmp_path / "smoke-rotation-32.json").write_text(json.dumps({"rmse": forecasts}))
    for seed, top in enumerate((0.1, 0.3)):
        levels = {"errors": [[0.0, 1e-7], [0.9, top]], "rank correlation": 1 - seed / 10}
        (tmp_path / f"smoke-levels-32-seed{seed}.json").write_text(json.dumps(levels))
        penalties = [[0.0, 1e-4, top, 0.5], [1e6, 0.0, 0.0, 0.6]]
        (tmp_path / f"smoke-levels-32-penalties-seed{seed}.json").write_text(json.dumps({"penalties": penalties}))
    places = {"middle": 16.0, "places": [[16, 5]]}
    (tmp_path / "smoke-translation-32-places.json").write_text(json.dumps(places))
    moved = {"as simulated": [0.1, 0.3], "turned": [0.2, 0.2]}
    symmetries = {"plain": moved, "equivariant": moved}
    (tmp_path / "planar-decaying-32-seed0-symmetries.json").write_text(json.dumps({"symmetries": symmetries}))
    out = tmp_path / "SEEDS.md"
    assert main(["seeds", "--runs", str(tmp_path), "--discoveries", str(tmp_path / "none"), "--out", str(out)]) == 0
    rows = out.read_text().splitlines()
    assert "| smoke-rotation-32 | future | 0.800 | 0.600 ± 0.141 | **0.500 ± 0.141** |" in rows
    assert "| 1 | 0.900 | 0.2 ± 0.1 |" in rows
    assert "| 0 | 0.01 ± 0 | 0.2 ± 0.1 | 0.500 ± 0.000 |" in rows
    assert "| 1 | 16 | 5 | 16 |" in rows
    assert "| runs | plain | equivariant |" in rows
    assert "| as simulated | 0.2000 ± 0.1414 | 0.2000 ± 0.1414 |" in rows
    assert "Rank correlation of the two, by seed: 1.000, 0.900." in rows


def test_without_results_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["seeds", "--runs", str(tmp_path), "--discoveries", str(tmp_path), "--out", str(tmp_path / "SEEDS.md")])
        == 1
    )
    assert "no results" in capsys.readouterr().out
    assert not (tmp_path / "SEEDS.md").exists()
