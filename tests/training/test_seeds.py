"""The table of experiments over seeds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from training.__main__ import main
from training.results import add_result
from training.seeds import EXPERIMENTS, adaptation_table, forecast_table, level_table, penalty_table

if TYPE_CHECKING:
    from training.forecasting.forecast import Errors

STORED = Path(__file__).parents[2] / "weights" / "SEEDS.md"


def errors(**families: list[float]) -> Errors:
    """Errors of some seeds on the split *future*, in reverse order on *domain*."""
    splits = {family: {"future": found, "domain": found[::-1]} for family, found in families.items()}
    return {
        family: {split: {str(seed): error for seed, error in enumerate(found)} for split, found in each.items()}
        for family, each in splits.items()
    }


def test_the_stored_page_is_what_the_command_writes(tmp_path: Path) -> None:
    out = tmp_path / "SEEDS.md"
    assert main(["seeds", "--out", str(out)]) == 0
    assert out.read_text() == STORED.read_text()


def test_tables_have_means_spreads_and_the_best_family() -> None:
    table = forecast_table({"smoke-rotation-32": errors(persistence=[0.8], conv=[0.5, 0.7], relaxed=[0.4, 0.6])})
    assert "| smoke-rotation-32, future | 0.800 | 0.600 ± 0.141 | **0.500 ± 0.141** |" in table
    levels = [
        {"levels": [5, 9], "errors": [[0.0, 1e-7], [0.9, top]], "rank correlation": 1 - top} for top in (0.1, 0.3)
    ]
    assert "| 9 | 0.900 | 0.2 ± 0.14 |" in level_table(levels)
    assert "Rank correlation of the two, by seed: 0.900, 0.700." in level_table(levels)
    penalties: list[list[tuple[float, ...]]] = [[(0.0, 1e-4, top, 0.5), (1e6, 0.0, 0.0, 0.6)] for top in (0.1, 0.3)]
    assert "| 0 | 0.01 ± 0 | 0.2 ± 0.14 | 0.500 ± 0.000 |" in penalty_table(penalties)


@pytest.mark.parametrize(
    ("name", "result", "told"),
    [
        (
            "smoke-levels-32-seed7",
            {"data": "smoke-levels-32", "levels": [0, 9], "seed": 7, "errors": [[0, 0]], "rank correlation": 1.0},
            "smoke-levels-32-seed7: {'data': 'smoke-levels-32', 'levels': [0, 9]}; expected {",
        ),
        ("smoke-levels-32-penalties-seed7", {"level": 5, "penalties": []}, "penalties-seed7: {'level': 5}; expected {"),
        ("square", {"findings": {"1": {"kept": []}}}, "--add: KeyError 'error_inside'; expected results as this"),
    ],
)
def test_results_that_cannot_be_in_the_tables_are_not_added(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, result: dict[str, Any], told: str
) -> None:
    results, run = tmp_path / "results", tmp_path / "run"
    shutil.copytree(EXPERIMENTS / "results", results)
    add_result(run / f"{name}.json", result)
    before = {path: path.read_text() for path in results.iterdir()}
    with pytest.raises(SystemExit):
        main(["seeds", "--add", str(run), "--results", str(results), "--out", str(tmp_path / "SEEDS.md")])
    assert told in capsys.readouterr().err
    assert {path: path.read_text() for path in results.iterdir()} == before


def test_penalties_are_those_of_all_seeds() -> None:
    with pytest.raises(ValueError, match=r"penalties: \[\(0.0,\), \(1.0,\)\]; expected the same of all seeds"):
        penalty_table([[(0.0, 1.0, 1.0, 1.0)], [(1.0, 1.0, 1.0, 1.0)]])


def test_a_flow_of_which_nothing_is_known_is_left_out() -> None:
    assert "kolmogorov" not in adaptation_table({"kolmogorov-64": {"flow": "kolmogorov", "adaptation": {"x,y,z": 0.0}}})


def test_elements_are_apart_if_all_that_are_kept_have_less_in_common() -> None:
    shares = {"x,y,z": 0.0, "-x,-y,z": 0.3, "y,-x,z": 0.2, "-y,x,z": 0.1, "x,-y,-z": 0.25}
    run = {"flow": "rotating", "adaptation": shares}
    assert adaptation_table({"a-adaptation": run}).splitlines()[2] == "| a | 4, 4 | 0.300 | 0.250 | no |"
    run["adaptation"] = {**shares, "-x,-y,z": 0.0}
    assert adaptation_table({"a-adaptation": run}).splitlines()[2] == "| a | 4, 4 | 0.200 | 0.250 | yes |"


def test_results_of_further_seeds_are_added_and_those_of_another_recipe_take_their_place(tmp_path: Path) -> None:
    path = tmp_path / "results" / "set.json"
    add_result(path, {"steps": 1, "rmse": errors(conv=[0.5], relaxed=[0.4])})
    add_result(path, {"steps": 1, "rmse": {"conv": {"future": {"1": 0.7}}, "plain": {"future": {"0": 0.9}}}})
    found = json.loads(path.read_text())["rmse"]
    assert found["conv"] == {"future": {"0": 0.5, "1": 0.7}, "domain": {"0": 0.5}}
    assert (found["relaxed"]["future"], found["plain"]["future"]) == ({"0": 0.4}, {"0": 0.9})
    add_result(path, {"steps": 1, "rmse": {"conv": {"future": [0.6]}}})
    add_result(path, {"steps": 1, "rmse": {"conv": {"future": {"0": 0.5}}}})
    assert json.loads(path.read_text())["rmse"]["conv"]["future"] == {"0": 0.5}
    add_result(path, longer := {"steps": 2, "rmse": errors(conv=[0.3])})
    assert json.loads(path.read_text()) == longer


def test_a_result_that_cannot_be_written_leaves_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_result(tmp_path / "set.json", first := {"rmse": errors(conv=[0.5])})

    def stop(self: Path, text: str) -> None:
        self.write_bytes(text.encode()[:9])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", stop)
    with pytest.raises(KeyboardInterrupt):
        add_result(tmp_path / "set.json", {"rmse": errors(conv=[0.4])})
    assert json.loads((tmp_path / "set.json").read_text()) == first


def test_folders_are_added_and_have_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, run, out = tmp_path / "results", tmp_path / "run", tmp_path / "SEEDS.md"
    add_result(results / "set.json", {"rmse": errors(persistence=[0.8], conv=[0.5])})
    options = ["--add", str(run), "--results", str(results), "--out", str(out)]
    with pytest.raises(SystemExit):
        main(["seeds", *options])
    assert "expected a folder with results, *.json" in capsys.readouterr().err
    add_result(run / "set.json", {"rmse": errors(relaxed=[0.4])})
    assert main(["seeds", *options]) == 0
    assert "| set, future | 0.800 | 0.500 | **0.400** |" in out.read_text()
