"""Every flow is a run: made by one command, of its own options, and taken up again to the same numbers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.blocks import parse_boundary
from training.__main__ import main
from training.dataset import StoredRun
from training.flows.decaying import DecayingSimulation
from training.flows.kinds import FLOWS, OPTIONS, recipe_of
from training.flows.synthetic import KINDS
from training.runs import Run

if TYPE_CHECKING:
    from pathlib import Path

    from training.runs import Recipe


def short(flow: str, n: int = 16, seed: int = 1, interval: float = 0.1, **options: float) -> Recipe:
    """A run that takes no time."""
    return recipe_of(flow, n, seed, interval=interval, spin_up=0.0, settle=0.1, options=options)


@pytest.mark.parametrize("flow", sorted(FLOWS.keys() - KINDS.keys()))
def test_a_flow_is_simulated_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str], flow: str) -> None:
    time = 0.5 if flow == "sheared" else 0.1
    command = ["simulate", "--flow", flow, "--n", "16", "--seed", "2", "--compact", "--interval", f"{time}"]
    command += ["--spin-up", "0", "--settle", f"{time}", "--out", str(tmp_path)]
    assert main([*command, "--snapshots", "1"]) == 0
    assert main([*command, "--snapshots", "3"]) == 0
    assert "known" in capsys.readouterr().out or flow == "taylor-green"
    run = StoredRun(tmp_path / f"{flow}-16-compact-seed2")
    assert (run.flow, run.n, run.seed, len(run)) == (flow, 16, 2, 3)
    between_walls = flow in {"channel", "couette"}
    assert run.cells == ((12, 16, 12) if between_walls else (12, 12, 12))
    assert run.boundary == parse_boundary(",".join(run.boundary))
    once = dataclasses.replace(short(flow, seed=2), compact=True, interval=time, settle=time)
    Run(once, tmp_path / "once", FLOWS[flow].make).advance(3)
    whole = StoredRun(tmp_path / "once")
    for index in range(3):
        assert np.array_equal(run[index], whole[index])
        assert np.isfinite(run[index]).all()
    assert run.description["statistics"] == whole.description["statistics"]
    assert run.times == pytest.approx([time, 2 * time, 3 * time])


def test_options_are_in_the_name_and_in_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = ["--interval", "0.1", "--spin-up", "0", "--settle", "0.1", "--snapshots", "1", "--out", str(tmp_path)]
    assert main(["simulate", "--n", "16", "--resolution", "0.7", *times]) == 0
    run = StoredRun(tmp_path / "isotropic-16-resolution0.7-seed1")
    assert run.description["options"] == {"resolution": 0.7}
    assert run.description["nu"] == pytest.approx((0.7 / (16 / 3)) ** (4 / 3))
    with pytest.raises(SystemExit):
        main(["simulate", "--n", "16", "--rotation", "2", *times])
    assert "isotropic flow has no option rotation; it has resolution" in capsys.readouterr().err
    assert recipe_of("channel", 16, 1, options={"re_tau": 180.0}).name == "channel-16-seed1"


def test_what_decays_has_no_spin_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--flow", "decaying", "--n", "16", "--spin-up", "1", "--out", str(tmp_path)])
    assert "spin-up must be 0, not 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--interval", "0.1", "--spacing", "0.1"], "interval: 0.1; expected at least 0.2, twice the spacing"),
        (["--spacing", "0"], "spacing: 0; expected more than 0"),
        (["--spacing", "-0.1"], "spacing: -0.1; expected more than 0"),
        (["--settle", "0"], "settle: 0; expected at least 0.1, the spacing"),
        (["--settle", "2"], "settle, interval: 2, 2; expected no snapshot near t = 6, where the flow restarts"),
        (["--seed", "1001"], "seed: 1001; expected less than 1000"),
    ],
)
def test_frames_of_a_snapshot_and_seeds_of_lives_are_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--flow", "decaying", "--n", "16", "--frames", "3", *options, "--out", str(tmp_path)])
    assert told in capsys.readouterr().err


def test_a_sheared_flow_is_taken_where_its_points_are_those_of_the_box(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["simulate", "--flow", "sheared", "--n", "16", "--spin-up", "0", "--out", str(tmp_path)]
    for more, told in (
        (["--interval", "0.7"], "interval: 0.7; expected a multiple of 1 / shear = 0.5"),
        (["--settle", "0.3"], "spin-up + settle: 0.3; expected a multiple"),
        (["--frames", "3"], "frames: 3; expected 1"),
    ):
        with pytest.raises(SystemExit):
            main([*command, *more])
        assert told in capsys.readouterr().err
    assert main([*command, "--settle", "0.5", "--snapshots", "1"]) == 0
    run = StoredRun(tmp_path / "sheared-16-seed1")
    assert run.boundary == ("periodic", "open", "periodic")
    (slope, _) = np.polyfit(np.arange(16) * 2 * np.pi / 16, run[0][0].mean(axis=(0, 2)), 1)
    assert slope == pytest.approx(2, rel=0.2)  # the mean velocity is there


def test_every_option_is_explained() -> None:
    assert {name for kind in FLOWS.values() for name in kind.make.usual} == set(OPTIONS)


def test_couette_flow_says_how_its_walls_move(tmp_path: Path) -> None:
    recipe = short("couette", reynolds=400.0, nx=12, nz=20)
    Run(recipe, tmp_path, FLOWS["couette"].make).advance(1)
    run = StoredRun(tmp_path)
    assert run.boundary == ("periodic", "wall:u=-1..1", "periodic")
    assert run.cells == (20, 16, 12)
    assert run.description["nu"] == pytest.approx(1 / 400)
    profile = run[0][0].mean(axis=(0, 2))
    assert profile[0] == pytest.approx(-profile[-1], abs=0.05)
    assert -1 < profile[0] < -0.5


def test_what_decays_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each restart has another spectrum and seed; snapshots are at the same time after it."""
    monkeypatch.setattr(DecayingSimulation, "restart_after", 0.2)
    Run(short("decaying", interval=0.2), tmp_path, DecayingSimulation).advance(4)
    run = StoredRun(tmp_path)
    found = run.description["statistics"]
    assert min(record["energy"] for record in found) > 1  # of 2 at the start
    sizes = [record["energy"] / record["enstrophy"] for record in found]
    assert sizes[0] == pytest.approx(sizes[3], rel=0.1)  # of the same spectrum
    assert sizes[1] < 0.7 * sizes[0]
    correlations = np.corrcoef([snapshot.ravel() for snapshot in run])[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 0.3
    assert run.times == pytest.approx([0.1, 0.3, 0.5, 0.7])
