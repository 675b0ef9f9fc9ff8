"""Forecasting networks learn from sets of runs in a plane, and go on where they were."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.forecasting.catalogue import SAMPLE, ForecastCatalogue
from models.forecasting.network import ForecastArchitecture
from training.__main__ import main
from training.flows import planes
from training.flows.plumes import EDGE
from training.forecasting.forecast import store
from training.forecasting.training import AHEAD, TESTED, Recipe, load, loss, train
from training.forecasting.windows import Windows

if TYPE_CHECKING:
    from pathlib import Path

N, FRAMES = 12, 90
FAMILIES = ["conv", "plain", "relaxed-translation", "relaxed-scale"]
SHORT = ["--fields", "2", "--blocks", "1", "--precision", "float32", "--threads", "1"]


@pytest.fixture(scope="module")
def rotation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(planes.FRAMES, "rotation", FRAMES)
        return planes.simulate("smoke", "rotation", N, 0, tmp_path_factory.mktemp("data"))


def test_windows_keep_the_splits_apart(rotation: Path) -> None:
    data = Windows(rotation)
    length = 10 + TESTED
    for _ in range(3):
        window = data.draw(8, 10 + AHEAD, torch.Generator().manual_seed(1))
        assert window.frames.shape == (8, 16, 2, N, N)
        assert set(found(data, window.frames)) <= {run for run in range(36) if run % 9 % 4 != 2}
    for split, places in (("future", {0, 1, 3, 4, 5, 7, 8}), ("domain", {2, 6})):
        frames = data.test(split, length).frames
        assert {run % 9 for run in found(data, frames)} == places
    late = data.frames[:, data.early :]
    assert torch.equal(data.test("future", length).frames[0], late[0, :length])


def found(data: Windows, frames: torch.Tensor) -> list[int]:
    """The runs that windows are from."""
    return [
        next(run for run in range(len(data.frames)) if (data.frames[run] == window[0]).all(dim=(1, 2, 3)).any())
        for window in frames
    ]


def test_a_batch_is_closed_under_turns(rotation: Path) -> None:
    data = Windows(rotation)
    runs = found(data, data.draw(8, 16, torch.Generator().manual_seed(2)).frames)
    assert [run // 9 for run in runs] == 2 * [0, 1, 2, 3]
    assert [len({run % 9 for run in part}) for part in (runs[:4], runs[4:])] == [1, 1]


def test_each_inflow_is_drawn_in_all_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(planes.FRAMES, "scale", 30)
    data = Windows(planes.simulate("smoke", "scale", N, 0, tmp_path))
    window = data.draw(4, 10, torch.Generator().manual_seed(4))
    assert window.scales.velocity.div(EDGE / N / 2).tolist() == pytest.approx([0.5, 0.5**0.5, 2**0.5, 2.0])
    stored = torch.from_numpy(np.load(tmp_path / f"smoke-scale-{N}" / "frames.npy"))[:, :, :2]
    assert torch.allclose(data.frames * data.scales.velocity[:, None, None, None, None], stored)


def test_training_lowers_the_loss(rotation: Path, tmp_path: Path) -> None:
    data = Windows(rotation)
    window = data.draw(4, 10 + AHEAD, torch.Generator().manual_seed(3))
    losses = []
    for steps in (1, 8):
        recipe = Recipe(steps, rate=5e-3, batch=4)
        model = train(ForecastArchitecture("equivariant", "C4", 2, 1), recipe, data, tmp_path / f"{steps}.pt")
        with torch.inference_mode():
            losses.append(float(loss(model, window, data, recipe)))
    assert losses[1] < 0.95 * losses[0]


def test_the_command_compares_families_and_goes_on(
    rotation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["forecast", "--data", str(rotation), "--families", *FAMILIES, "--out", str(tmp_path), *SHORT]
    assert main([*command, "--steps", "2"]) == 0
    first = json.loads((tmp_path / "smoke-rotation-12.json").read_text())["rmse"]
    assert set(first) == {"persistence", *FAMILIES}
    assert "relaxed-translation" in capsys.readouterr().out
    assert main([*command, "--steps", "2", "--weights", str(tmp_path / "weights")]) == 0
    assert main([*command, "--steps", "2", "--seeds", "1", "--families", "conv"]) == 0
    more = json.loads((tmp_path / "smoke-rotation-12.json").read_text())["rmse"]
    assert more["conv"]["domain"].pop("1") != more["conv"]["domain"]["0"]
    del more["conv"]["future"]["1"]
    assert more == first
    catalogue = ForecastCatalogue(tmp_path / "weights")
    assert catalogue.names() == [f"{family}-smoke" for family in sorted(FAMILIES)]
    card = catalogue.card("conv-smoke")
    assert card.boundary == ("wall", "wall")
    assert card.measured["domain"]["conv"] == first["conv"]["domain"]["0"]
    sample = torch.from_numpy(np.load(catalogue.folder / card.name / SAMPLE))[None]
    answer = catalogue.load(card.name)(sample[:, :10], TESTED, (False, False))
    assert answer.shape == sample[:, 10:].shape
    for options, told in (
        (["--steps", "3"], "use another --out"),
        (["--weights", str(tmp_path / "weights")], "has a model conv-smoke already; give another name, or --overwrite"),
    ):
        with pytest.raises(SystemExit):
            main([*command, *options])
        assert told in capsys.readouterr().err


def test_networks_that_are_compared_were_trained_alike(rotation: Path, tmp_path: Path) -> None:
    data, architecture = Windows(rotation), ForecastArchitecture("conv", "C1", 2, 1)
    for steps in (1, 2):
        train(architecture, Recipe(steps), data, tmp_path / f"{steps}.pt")
    models, how = load([tmp_path / "1.pt"])
    assert (len(models), how["channels"], how["steps"]) == (1, 2, 1)
    with pytest.raises(ValueError, match=r"2.pt: .*'steps': 2.*; expected .*'steps': 1.*, as in .*1.pt"):
        load([tmp_path / "1.pt", tmp_path / "2.pt"])
    for over, fields in (("C4", 2), ("D4", 1)):
        train(ForecastArchitecture("equivariant", over, fields, 1), Recipe(1), data, tmp_path / f"{over}.pt")
    train(ForecastArchitecture("conv", "C1", 8, 1), Recipe(1), data, tmp_path / "conv.pt")
    assert load([tmp_path / "conv.pt", tmp_path / "C4.pt"])[1]["group"] == "C4"
    with pytest.raises(ValueError, match=r"D4.pt: .*'group': 'D4'}; expected .*'group': 'C4'}, as in .*conv.pt"):
        load([tmp_path / "conv.pt", tmp_path / "C4.pt", tmp_path / "D4.pt"])


def test_results_of_two_groups_are_not_seeds_of_one(rotation: Path, tmp_path: Path) -> None:
    for over, fields, seed in (("C4", "2", "0"), ("D4", "1", "1")):
        command = ["forecast", "--data", str(rotation), "--families", "equivariant", "--out", str(tmp_path), *SHORT]
        assert main([*command, "--steps", "1", "--group", over, "--fields", fields, "--seeds", seed]) == 0
        result = json.loads((tmp_path / "smoke-rotation-12.json").read_text())
        assert (result["group"], list(result["rmse"]["equivariant"]["domain"])) == (over, [seed])


def test_windows_that_a_set_has_not_are_refused(rotation: Path) -> None:
    data = Windows(rotation)
    with pytest.raises(ValueError, match=r"28 runs of 32 frames in the split future; expected 33"):
        data.test("future", 33)
    with pytest.raises(ValueError, match=r"level: 12; expected one of those of .*smoke-rotation-12, \["):
        Windows(rotation, 12)


def test_a_checkpoint_that_cannot_be_read_is_refused(rotation: Path, tmp_path: Path) -> None:
    architecture, checkpoint = ForecastArchitecture("conv", "C1", 2, 1), tmp_path / "conv.pt"
    torch.save({"about": {"architecture": {"other": 1, "cells": ()}, "recipe": {"steps": 1}}}, checkpoint)
    with pytest.raises(ValueError, match=r"conv.pt: TypeError; expected what this version of eddylift writes"):
        load([checkpoint])
    checkpoint.write_bytes(b"another file")
    with pytest.raises(ValueError, match=r"conv.pt: \w+; expected what this version of eddylift writes"):
        train(architecture, Recipe(1), Windows(rotation), checkpoint)


def test_a_namesake_of_the_data_is_refused(rotation: Path, tmp_path: Path) -> None:
    """Errors on it would be written down as those of a network that learned from it."""
    architecture, checkpoint, data = ForecastArchitecture("conv", "C1", 2, 1), tmp_path / "conv.pt", Windows(rotation)
    train(architecture, Recipe(1), data, checkpoint)
    state = torch.load(checkpoint, weights_only=True)
    data.frames[5, 7] *= 2
    with pytest.raises(ValueError, match=r"'(smoke-rotation-12: 36 runs of 90 frames), .* not .*'\1.*use another"):
        train(architecture, Recipe(1), data, checkpoint)
    del state["about"]["data"]  # as older versions wrote it
    torch.save(state, checkpoint)
    train(architecture, Recipe(1), data, checkpoint)


def test_a_network_that_diverges_is_not_stored(
    rotation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["forecast", "--data", str(rotation), "--families", "conv", "--out", str(tmp_path), *SHORT]
    with pytest.raises(SystemExit):
        main([*command, "--steps", "9", "--rate", "1e30", "--weights", str(tmp_path / "weights")])
    assert "expected a finite one with finite gradients" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    data, recipe = Windows(rotation), Recipe(1)
    model = train(ForecastArchitecture("conv", "C1", 2, 1), recipe, data, tmp_path / "conv.pt")
    errors = {"future": {"0": 1.0}, "domain": {"0": float("inf")}}
    with pytest.raises(ValueError, match=r"conv-smoke: errors .*inf.*; expected finite ones; it is not stored"):
        store(model, data, recipe, {"conv": errors, "persistence": errors}, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
