"""Runs of both flows: whatever stops them, they go on to the same numbers."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.catalogue import Catalogue
from models.held_out import HeldOutSamples
from training.__main__ import main
from training.dataset import StoredRun
from training.flows import channel, periodic
from training.flows.channel_simulation import ChannelSimulation
from training.flows.isotropic import IsotropicSimulation
from training.runs import Recipe, Run

if TYPE_CHECKING:
    from pathlib import Path

    from training.runs import Make

BOX = Recipe("isotropic", n=16, seed=4, interval=0.2, spin_up=0.3, settle=0.3)
CHANNEL = Recipe("channel", n=16, seed=4, interval=0.1, spin_up=0.0, settle=0.1)


def snapshots(folder: Path) -> list[bytes]:
    """Content of the snapshots, in order."""
    return [path.read_bytes() for path in sorted(folder.glob("snapshot-*.npy"))]


@pytest.mark.parametrize(
    ("recipe", "make", "flow"),
    [(BOX, IsotropicSimulation, periodic.Flow), (CHANNEL, ChannelSimulation, channel.Flow)],
    ids=["isotropic", "channel"],
)
def test_a_run_resumes_to_the_same_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe, make: Make, flow: type[periodic.Flow]
) -> None:
    """Stopped anywhere, a run goes on to the very numbers it would have had."""
    Run(recipe, tmp_path / "whole", make).advance(3)
    whole = snapshots(tmp_path / "whole")
    assert len(whole) == 3
    assert len(set(whole)) == 3

    Run(recipe, tmp_path / "longer", make).advance(1)
    Run(recipe, tmp_path / "longer", make).advance(3)
    assert snapshots(tmp_path / "longer") == whole

    step, left = flow.step, 0

    def interrupted(flow: periodic.Flow, limit: float = math.inf) -> float:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return step(flow, limit)

    monkeypatch.setattr(flow, "step", interrupted)
    monkeypatch.setattr("training.runs.SAVE_EVERY", 0.0)
    interruptions = 0
    for _ in range(80):
        left = 3
        try:
            Run(recipe, tmp_path / "broken", make).advance(3)
        except KeyboardInterrupt:
            interruptions += 1
            continue
        break
    assert interruptions > 2
    assert snapshots(tmp_path / "broken") == whole
    first, second = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("whole", "broken"))
    assert first == second
    assert first["times"] == pytest.approx([recipe.moment(number) for number in range(3)])
    assert not list((tmp_path / "broken").glob(".*"))


@pytest.mark.parametrize(("flow", "make"), [("isotropic", IsotropicSimulation), ("channel", ChannelSimulation)])
def test_a_run_may_start_with_its_first_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flow: str, make: Make
) -> None:
    monkeypatch.setattr("training.flows.periodic_simulation.SPIN_UP_POINTS", 12)
    Run(Recipe(flow, 16, 4, interval=0.05, spin_up=0.0, settle=0.0), tmp_path, make).advance(2)
    run = StoredRun(tmp_path)
    assert run.times == pytest.approx([0, 0.05])
    assert [snapshot.shape for snapshot in run] == [(3, 16, 16, 16)] * 2


def test_a_channel_is_simulated_by_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["simulate", "--flow", "channel", "--n", "16", "--seed", "9", "--snapshots", "2", "--interval", "0.05",
               "--settle", "0.05", "--out", str(tmp_path)]  # fmt: skip
    assert main(command) == 0
    assert "Moser, Kim & Mansour" in capsys.readouterr().out
    run = StoredRun(tmp_path / "channel-16-seed9")
    assert run.description["boundary"] == ["periodic", "wall", "periodic"]
    assert run.description["length"] == pytest.approx([0.75 * math.pi, 2, 1.5 * math.pi])
    for snapshot in run:
        assert snapshot.shape == (3, 16, 16, 16)
        # Streamwise, as the flux is kept; slower at the walls, which bound the second axis.
        assert snapshot[0].mean() == pytest.approx(channel.BULK, rel=1e-4)
        profile = snapshot[0].mean(axis=(0, 2))
        assert profile[[0, -1]].max() < 0.8 * profile[4:12].min()
        assert np.abs(snapshot[1:].mean(axis=(1, 2, 3))).max() < 0.1


def test_a_channel_has_no_spin_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--flow", "channel", "--n", "16", "--spin-up", "1", "--out", str(tmp_path)])
    assert "spin-up must be 0, not 1.0" in capsys.readouterr().err


def test_a_shorter_channel_has_the_same_spacing(tmp_path: Path) -> None:
    short = dataclasses.replace(CHANNEL, box=0.5)
    assert short.name == "channel-16-box0.5-seed4"
    Run(short, tmp_path / short.name, ChannelSimulation).advance(1)
    run = StoredRun(tmp_path / short.name)
    assert run[0].shape == (3, 8, 16, 8)
    assert run.length == pytest.approx((0.375 * math.pi, 2, 0.75 * math.pi))


@pytest.mark.parametrize(
    ("flow", "box", "message"),
    [("isotropic", "0.5", "box must be 1, not 0.5"), ("channel", "0.3", "no whole number of points beside 16")],
)
def test_boxes_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flow: str, box: str, message: str
) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--flow", flow, "--n", "16", "--box", box, "--out", str(tmp_path)])
    assert message in capsys.readouterr().err


def test_a_channel_is_trained_and_measured_with_its_walls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held_out = dataclasses.replace(CHANNEL, seed=5)
    for recipe in (CHANNEL, held_out):
        Run(recipe, tmp_path / recipe.name, ChannelSimulation).advance(2)
    network = ["--family", "relaxed", "--fields", "1", "--blocks", "1", "--steps", "2"]
    folders = ["--data", str(tmp_path / CHANNEL.name), "--out", str(tmp_path / "out"), "--weights", str(tmp_path)]
    assert main(["train", *network, *folders]) == 0
    data = str(tmp_path / held_out.name)
    assert main(["evaluate", "--weights", str(tmp_path), "--data", data, "--ship", data]) == 0
    assert "| relaxed-channel-x4 |" in capsys.readouterr().out
    card = Catalogue(tmp_path).card("relaxed-channel-x4")
    assert card.boundary == ("periodic", "wall", "periodic")
    entry = card.measured[0]
    # Two steps leave it near interpolation, with a correction that may go either way.
    assert entry["near_wall_mae_over_trilinear"]["mean"] == pytest.approx(1, abs=0.4)
    assert entry["stress_profile_error"]["mean"] > 0
    sample = HeldOutSamples(tmp_path).find("channel")
    assert sample is not None
    assert (sample.run, sample.boundary) == (held_out.name, card.boundary)
    assert sample.length == pytest.approx((0.75 * math.pi, 2, 1.5 * math.pi))
    # The untrained network is equivariant, whichever axis the walls are moved to.
    rotations = list(card.symmetry["equivariance_error"].values())[:24]
    assert max(rotations) < 1e-3


@pytest.mark.parametrize(
    ("recipe", "make", "spacing"), [(BOX, IsotropicSimulation, 0.02), (CHANNEL, ChannelSimulation, 0.002)]
)
def test_frames_of_a_snapshot_are_moments_apart(tmp_path: Path, recipe: Recipe, make: Make, spacing: float) -> None:
    """The middle one at the snapshot's time; an interruption between frames changes nothing."""
    three = dataclasses.replace(recipe, frames=3, spacing=spacing)
    assert three.name == f"{recipe.flow}-16-3frames-seed4"
    Run(three, tmp_path / "whole", make).advance(2)
    run = StoredRun(tmp_path / "whole")
    assert run.times == pytest.approx([recipe.moment(0), recipe.moment(1)])
    before, now, after = run.levels(1)
    assert np.array_equal(run[1], now)
    change = np.abs(now - before).mean()
    assert 0 < change < 0.2 * np.abs(now - run[0]).mean()
    assert np.abs(after - 2 * now + before).mean() < 0.2 * change  # smooth in time

    def stop(self: Run, what: str, until: float) -> None:
        if len(self.records) == 1 and len(self.taken) == 2:
            raise KeyboardInterrupt
        going_on(self, what, until)
        self._save()

    going_on = Run._run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_run", stop)
        interrupted = Run(three, tmp_path / "parts", make)
        with pytest.raises(KeyboardInterrupt):
            interrupted.advance(2)
        interrupted._save()
    again = Run(three, tmp_path / "parts", make)
    assert len(again.taken) == 2
    again.advance(2)
    assert snapshots(tmp_path / "parts") == snapshots(tmp_path / "whole")


def test_three_frames_are_trained_on_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    three = dataclasses.replace(BOX, frames=3, spacing=0.02)
    for recipe in (three, dataclasses.replace(three, seed=5), BOX):
        Run(recipe, tmp_path / recipe.name, IsotropicSimulation).advance(2)
    weights, data = str(tmp_path / "weights"), str(tmp_path / "isotropic-16-3frames-seed5")
    network = ["--family", "conv", "--fields", "1", "--blocks", "1", "--steps", "2", "--frames", "3"]
    folders = ["--out", str(tmp_path / "out"), "--weights", weights]
    assert main(["train", *network, *folders, "--data", str(tmp_path / three.name)]) == 0
    assert main(["evaluate", "--frames", "3", "--weights", weights, "--data", data, "--ship", data]) == 0
    assert "| conv-isotropic-x4-3frames |" in capsys.readouterr().out
    card = Catalogue(tmp_path / "weights").card("conv-isotropic-x4-3frames")
    assert card.frames == 3
    assert card.measured[0]["mae_over_trilinear"]["mean"] < 1
    sample = HeldOutSamples(tmp_path / "weights").find("isotropic", 3)
    assert sample is not None
    assert sample.coarse.shape == (3, 3, 4, 4, 4)
    with pytest.raises(SystemExit):
        main(["train", *network, *folders, "--data", str(tmp_path / BOX.name)])
    assert "isotropic-16-seed4 has 1 frame a snapshot, not 3: simulate it with --frames 3" in capsys.readouterr().err
