"""Training learns, resumes to the same numbers, and what it stores can be measured and served."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.catalogue import Catalogue
from models.held_out import HeldOutSamples
from models.networks import Architecture
from models.operators import coarsen
from models.weights import WEIGHTS
from tests.training.recorded import velocity, write_components
from tests.training.stored import store
from training.__main__ import main
from training.dataset import StoredRun
from training.precision import fastest_precision
from training.samples import Source
from training.trainer import CHECKPOINT, Recipe, Trainer, over_trilinear

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.blocks import Boundaries
    from models.superresolution import SuperResolution
    from training.samples import Sample

WALLS: Boundaries = ("periodic", "wall", "periodic")
SMALL = Architecture("equivariant", "O", 1, 1)


def test_runs_of_two_kinds_are_refused(tmp_path: Path, run: StoredRun, capsys: pytest.CaptureFixture[str]) -> None:
    other = store(tmp_path / "other", 2)
    (other.folder / "run.json").write_text(json.dumps({**other.description, "boundary": WALLS}))
    folders = [str(run.folder), str(other.folder)]
    with pytest.raises(SystemExit):
        main(["train", "--data", *folders, "--out", str(tmp_path / "out"), "--steps", "1"])
    assert "isotropic-16-seed2 is isotropic with boundaries periodic,wall,periodic" in capsys.readouterr().err


def channel(folder: Path, seed: int) -> StoredRun:
    """Another flow than ``store``'s, between walls, and with a grid and an amplitude of its own."""
    run = store(folder, seed, snapshots=9)
    for path in run.folder.glob("*.npy"):
        np.save(path, 100 * np.load(path)[:, :, :, :8])
    (run.folder / "run.json").write_text(json.dumps({**run.description, "flow": "channel", "boundary": WALLS}))
    return StoredRun(run.folder)


def test_every_flow_is_drawn_as_often_and_counts_as_much(run: StoredRun, tmp_path: Path) -> None:
    """However many snapshots there are of it, and however fast it is."""
    runs = [run, channel(tmp_path / "other", 2)]
    source = Source(runs, halo=4, factor=4, augment=False, device="cpu", seed=0)
    drawn = [source.draw() for _ in range(200)]
    assert 80 < sum(sample.fine.shape[-1] == 8 for sample in drawn) < 120
    trainer = Trainer(SMALL, Recipe(1), runs, tmp_path / "out")
    trainer.model.network.project.psi.data.zero_()  # type: ignore[union-attr]
    losses = [trainer.loss(samples[0]).item() for samples in trainer.source.validation().values()]
    assert all(0.4 < loss < 1.0 for loss in losses)  # trilinear interpolation, made consistent


def test_a_network_of_several_flows(run: StoredRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is named by ``--flow``, says what it learned from, and is measured on any of them."""
    folders = [str(run.folder), str(channel(tmp_path / "other", 2).folder)]
    weights = ["--weights", str(tmp_path / "weights")]
    options = ["--fields", "1", "--blocks", "1", "--steps", "1", "--out", str(tmp_path / "out")]
    main(["train", "--flow", "general", "--family", "equivariant", "--data", *folders, *options, *weights])
    text = capsys.readouterr().out
    assert "isotropic 0." in text
    assert "channel 0." in text
    card = Catalogue(tmp_path / "weights").card("equivariant-general-x4")
    assert card.boundary is None
    assert [entry["flow"] for entry in card.trained["data"]] == ["isotropic", "channel"]
    unseen = [str(store(tmp_path / "data", 101).folder), str(channel(tmp_path / "data", 102).folder)]
    main(["evaluate", "--models", card.name, "--data", *unseen, *weights])
    measured = Catalogue(tmp_path / "weights").card(card.name).measured
    assert [entry["flow"] for entry in measured] == ["isotropic", "channel"]


def test_a_network_of_factor_two(run: StoredRun, tmp_path: Path) -> None:
    weights = ["--weights", str(tmp_path / "weights")]
    options = ["--fields", "1", "--blocks", "1", "--steps", "1", "--factor", "2", "--out", str(tmp_path / "out")]
    main(["train", "--family", "equivariant", "--data", str(run.folder), *options, *weights])
    held_out = str(store(tmp_path / "data", 101).folder)
    main(["evaluate", "--factor", "2", "--data", held_out, "--ship", held_out, *weights])
    card = Catalogue(tmp_path / "weights").card("equivariant-isotropic-x2")
    assert card.measured[0]["mae_over_trilinear"]["mean"] < 1
    assert card.sample["consistency"] < 1e-6


def test_too_few_snapshots(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 2 snapshots, got \\['isotropic-16-seed4'\\]"):
        Source([store(tmp_path, 4, snapshots=1)], halo=4, factor=4, augment=False, device="cpu", seed=0)


def test_training_beats_interpolation(run: StoredRun, tmp_path: Path) -> None:
    trainer = Trainer(SMALL, Recipe(40, rate=1e-2, average=0.9), [run], tmp_path / "out")
    before = over_trilinear(trainer.model, trainer.source.validation()["isotropic"])
    model = trainer.run()
    after = over_trilinear(model, trainer.source.validation()["isotropic"])
    assert after < 0.95 * before
    assert after < 0.8


def test_the_best_weights_on_held_out_data_are_kept(
    run: StoredRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(SMALL, Recipe(8, rate=1e-2, average=0.5, checks=4), [run], tmp_path / "out")
    errors = iter([0.9, 0.5, float("nan"), 0.7])
    seen = []

    def error(model: SuperResolution, samples: Sequence[Sample]) -> float:
        assert samples
        seen.append([parameter.clone() for parameter in model.parameters()])
        return next(errors)

    monkeypatch.setattr("training.trainer.over_trilinear", error)
    model = trainer.run()
    assert trainer.best is not None
    assert (trainer.best.step, trainer.best.error) == (4, 0.5)
    assert len(seen) == 4
    for found, second, last in zip(model.parameters(), seen[1], seen[3], strict=True):
        assert torch.equal(found, second)
        assert not torch.equal(second, last)


def test_relaxation_weights_learn_at_no_rate(run: StoredRun, tmp_path: Path) -> None:
    relaxed = Architecture("relaxed", "O", 1, 1)
    trainer = Trainer(relaxed, Recipe(1, relaxation_rate=0.0), [run], tmp_path)
    before = {name: each.clone() for name, each in trainer.model.named_parameters()}
    trainer.run()
    moved = {name.rpartition(".")[2] for name, each in trainer.model.named_parameters() if (each != before[name]).any()}
    assert "psi" in moved
    assert "relaxation" not in moved


def test_training_stops_before_it_learns_from_what_is_not_finite(run: StoredRun, tmp_path: Path) -> None:
    trainer = Trainer(SMALL, Recipe(4), [run], tmp_path / "out")
    draw, drawn = trainer.source.draw, []

    def spoiled() -> Sample:
        drawn.append(draw())
        if len(drawn) == 3:
            drawn[-1].fine[0, 0, 0, 0, 0] = torch.nan
        return drawn[-1]

    trainer.source.draw = spoiled  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="loss of step 3: nan; expected a finite one"):
        trainer.run()
    again = Trainer(SMALL, Recipe(4), [run], tmp_path / "out")
    assert again.step == 2
    assert all(each.isfinite().all() for each in again.run().state_dict().values())


def test_samples_of_uniform_flow_are_learned_from_and_checked_on_no_more(run: StoredRun, tmp_path: Path) -> None:
    """Trilinear interpolation is exact there but for rounding."""
    np.save(run.folder / "snapshot-0000.npy", np.full((3, 16, 16, 16), 0.3, np.float32))
    for architecture in (SMALL, Architecture("relaxed", "Oh", 1, 1, head=(1,)), Architecture("conv", "C1", 2, 1)):
        trainer = Trainer(architecture, Recipe(8), [run], tmp_path / architecture.family)
        trainer.run()
        assert 0.0 in trainer.losses
        assert max(trainer.losses) > 0
    np.save(run.folder / "snapshot-0002.npy", np.full((3, 16, 16, 16), 0.3, np.float32))
    other = store(tmp_path / "other", 2)
    kept = Trainer(SMALL, Recipe(1), [run, other], tmp_path / "out").source.validation()["isotropic"]
    assert len(kept) == 1
    assert torch.equal(kept[0].fine[0], torch.from_numpy(other[-1].copy()))


def test_bfloat16_is_for_processors_that_compute_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, precision in (("avx512_bf16", "bfloat16"), ("avx512_f", "float32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", {name: True}.copy)
        assert fastest_precision("cpu") == precision


def test_bfloat16_training_keeps_the_answer_consistent(run: StoredRun, tmp_path: Path) -> None:
    """Only the network runs in bfloat16; interpolation and consistency stay in single precision."""
    answers = []
    for precision in ("float32", "bfloat16"):
        trainer = Trainer(SMALL, Recipe(1, precision=precision), [run], tmp_path / precision)
        trainer.model.register_forward_hook(lambda _model, _given, answer: answers.append(answer))
        sample = trainer.source.draw()
        trainer.loss(sample).backward()
        torch.testing.assert_close(coarsen(answers[-1]), sample.coarse[:, 0], rtol=0, atol=1e-5)
    exact, rounded = answers
    assert 1e-5 < (exact - rounded).abs().max() < 0.1


def test_train_and_evaluate_on_the_command_line(
    run: StoredRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held_out = store(tmp_path / "data", 101)
    weights = tmp_path / "weights"
    options = ["--fields", "1", "--blocks", "1", "--steps", "2", "--weights", str(weights), "--device", "cpu"]
    for family in ("conv", "relaxed"):
        out = str(tmp_path / family)
        assert main(["train", "--family", family, "--data", str(run.folder), *options, "--out", out]) == 0
    status = main(
        ["evaluate", "--data", str(held_out.folder), "--weights", str(weights), "--ship", str(held_out.folder)]
    )
    assert status == 0
    text = capsys.readouterr().out
    assert "| relaxed-isotropic-x4 |" in text
    catalogue = Catalogue(weights)
    assert catalogue.names() == ["conv-isotropic-x4", "relaxed-isotropic-x4", "trilinear-x4"]
    card = catalogue.card("relaxed-isotropic-x4")
    assert card.trained["data"][0]["seed"] == 1
    entry = card.measured[0]
    assert (entry["seed"], entry["samples"]) == (101, 3)
    assert entry["consistency"]["mean"] < 1e-6
    assert catalogue.card("trilinear-x4").measured[0]["mae_over_trilinear"] == {"mean": 1.0, "std": 0.0}
    ratio = entry["mae_over_trilinear"]["mean"]
    assert 0 < ratio < 1
    assert len(card.symmetry["equivariance_error"]) == 48
    assert card.symmetry["equivariance_error"]["x,y,z"] == 0
    assert card.symmetry["relaxation"]["network.lift"]["A1"] > 0.99
    held = HeldOutSamples(catalogue.folder).find("isotropic")
    assert held is not None
    assert held.fine.shape == (3, 16, 16, 16)


def test_a_stored_model_is_not_replaced_unless_told(
    run: StoredRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogue = Catalogue(tmp_path / "weights")
    command = ["train", "--family", "conv", "--fields", "1", "--blocks", "1", "--data", str(run.folder)]
    command += ["--weights", str(catalogue.folder), "--out", str(tmp_path / "out")]
    assert main([*command, "--steps", "1"]) == 0
    first = catalogue.card("conv-isotropic-x4")
    with pytest.raises(SystemExit):
        main([*command, "--steps", "2"])
    assert "has a model conv-isotropic-x4 already; give another name, or --overwrite" in capsys.readouterr().err
    assert main([*command, "--steps", "2", "--name", "mine"]) == 0
    assert catalogue.card("conv-isotropic-x4") == first
    assert catalogue.card("conv-mine-x4").flow == "mine"
    assert main([*command, "--steps", "3", "--overwrite"]) == 0
    assert catalogue.card("conv-isotropic-x4") != first


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["evaluate", "--models", "typo", "--data", "{data}"], "there is no model 'typo'; there are trilinear-x4"),
        (["forecast", "--data", "none"], "No such file or directory: 'none/run.json'"),
        (["discover", "--x", "none.npy", "--y", "none.npy"], "No such file or directory: 'none.npy'"),
        (["train", "--steps", "0", "--data", "{data}", "--out", "out"], "--steps: 0; expected at least 1"),
        (["adapt", "--checks", "-1", "--data", "{data}", "--name", "mine", "--out", "out"], "--checks: -1; expected"),
        (["simulate", "--flow", "rotating", "--rotation", "0"], "rotation: 0; expected more than 0"),
        (["simulate", "--interval", "0"], "interval: 0; expected more than 0"),
        (["train", "--banks", "0", "--data", "{data}", "--out", "out"], "--banks: 0; expected at least 1"),
        (["train", "--head", "2", "0", "--data", "{data}", "--out", "out"], "--head: 0; expected at least 1"),
        (["train", "--rate", "-1", "--data", "{data}", "--out", "out"], "--rate: -1.0; expected at least 0"),
        (["train", "--rate", "nan", "--data", "{data}", "--out", "out"], "--rate: nan; expected at least 0"),
        (["train", "--device", "cuda:99", "--data", "{data}", "--out", "out"], "--device: cuda:99; expected one that"),
        (["simulate", "--device", "gpu"], "--device: gpu; expected one that there is"),
        (["table", "--external", "none"], "--external: none; expected a folder"),
        (
            ["forecast", "--data", "{data}"],
            "has a run in space, for `train`, `evaluate` and `discover`; expected",
        ),
        (["train", "--data", "{plane}", "--out", "out"], "set has a set of runs in a plane, for `forecast`; expected"),
        (["discover", "--run", "{plane}"], "set has a set of runs in a plane, for `forecast`; expected a run in space"),
        (["forecast-symmetries", "--data", "{plane}"], "set has the set rotation; expected decaying"),
        (["forecast-places", "--data", "{plane}"], "set has the set rotation; expected translation"),
        (
            ["simulate", "--flow", "planar", "--frames", "3", "--re-tau", "5", "--snapshots", "3"],
            "--frames, --re-tau, --snapshots: planar flow has no such options",
        ),
        (["simulate", "--set", "rotation"], "--set: isotropic flow has no such options"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(
    run: StoredRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    plane = tmp_path / "set"
    plane.mkdir()
    (plane / "run.json").write_text(json.dumps({"flow": "smoke", "set": "rotation", "runs": [{"inflow": 0}]}))
    with contextlib.chdir(tmp_path), pytest.raises(SystemExit) as exit_:
        main([option.format(data=run.folder, plane=plane) for option in options])
    assert exit_.value.code == 2
    assert told in capsys.readouterr().err


def test_weights_are_stored_in_half_the_bytes(run: StoredRun, tmp_path: Path) -> None:
    options = ["--family", "conv", "--fields", "1", "--blocks", "1", "--steps", "1", "--data", str(run.folder)]
    models = []
    for name, more in (("whole", []), ("half", ["--half"])):
        main(["train", *options, *more, "--weights", str(tmp_path / name), "--out", str(tmp_path / "out")])
        models.append(Catalogue(tmp_path / name).trained("conv-isotropic-x4"))
    sizes = [(tmp_path / name / "conv-isotropic-x4" / WEIGHTS).stat().st_size for name in ("whole", "half")]
    assert sizes[0] / 2 < sizes[1] < 0.6 * sizes[0]
    catalogue = Catalogue(tmp_path / "half")
    catalogue.save(models[1], catalogue.card("conv-isotropic-x4"))
    assert (tmp_path / "half" / "conv-isotropic-x4" / WEIGHTS).stat().st_size == sizes[1]
    whole, half = (dict(model.named_parameters()) for model in models)
    for name, value in whole.items():
        torch.testing.assert_close(half[name], value, rtol=1e-3, atol=1e-6)


def test_a_held_out_snapshot_with_missing_values_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    field = velocity(3, (16, 16, 16))
    field[2, 0, 0, 0, 0] = np.nan
    data = write_components(tmp_path / "mine.nc", field, flow="jet", boundary="open")
    with pytest.raises(SystemExit):
        main(["train", "--data", str(data), "--out", str(tmp_path / "out"), "--steps", "1", "--fields", "1"])
    assert "values of time level 2 are not finite" in capsys.readouterr().err
    assert not (tmp_path / "out" / CHECKPOINT).exists()
