"""Models are measured on what they have not seen, also where a number does not exist."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import xarray as xr

from models.catalogue import Catalogue, describe
from models.held_out import HeldOut, HeldOutSamples
from models.networks import Architecture, Network
from models.operators import coarsen
from models.superresolution import SuperResolution
from tests.training.recorded import velocity, write_components
from tests.training.stored import store
from training.__main__ import main
from training.evaluate import evaluate, judge, learned_from, require_unseen, rounded, snapshot, summary_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.metrics.compare import Value
    from training.dataset import StoredRun

SMALL = Architecture("equivariant", "O", 1, 1)


def test_evaluating_on_training_data_is_refused(
    run: StoredRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights"
    options = ["--family", "conv", "--fields", "1", "--blocks", "1", "--steps", "1"]
    main(["train", *options, "--data", str(run.folder), "--weights", str(weights), "--out", str(tmp_path / "out")])
    for data in (run.folder, f"{run.folder}@2"):
        with pytest.raises(SystemExit) as exit_:
            main(["evaluate", "--data", str(data), "--weights", str(weights)])
        assert exit_.value.code == 2
        assert "was trained on isotropic-16-seed1" in capsys.readouterr().err


def test_evaluating_on_training_data_of_a_parent_is_refused(run: StoredRun, tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    model = SuperResolution(Network(SMALL))
    trained = {"parent_data": sorted(learned_from(describe(model, flow=None, trained={"data": [{"run": run.name}]})))}
    card = catalogue.save(model, describe(model, flow="general", trained=trained))
    with pytest.raises(ValueError, match="equivariant-general-x4 was trained on isotropic-16-seed1"):
        evaluate(catalogue, card, [run], "cpu")


def test_a_model_that_is_named_is_measured_or_refused(
    run: StoredRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever flow it was named after, as that of a run is what was simulated."""
    catalogue = Catalogue(tmp_path)
    model = SuperResolution(Network(SMALL))
    name = catalogue.save(model, describe(model, flow="mine")).name
    command = ["evaluate", "--models", name, "--data", str(run.folder), "--weights", str(tmp_path)]
    assert main(command) == 0
    assert [entry["run"] for entry in catalogue.card(name).measured] == [run.name]
    assert f"| {name} |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*command, "--factor", "2"])
    assert f"--models: {name}, of 1 frames and factor 4; expected 1 and 2" in capsys.readouterr().err
    three = write_components(tmp_path / "three.nc", velocity(3, (16, 16, 16)), flow="jet", boundary="open")
    with pytest.raises(SystemExit):
        main(["evaluate", "--frames", "3", "--data", str(three), "--weights", str(tmp_path)])
    assert "has no model of 3 frames and factor 4" in capsys.readouterr().err


def test_a_channel_with_points_on_its_walls_is_measured_on_as_many_cells_as_are_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """17 Chebyshev points."""
    with xr.open_dataset(write_components(tmp_path / "plain.nc", velocity(2, (16, 17, 16)))) as plain:
        channel = plain.assign_coords(y=-np.cos(np.pi * np.arange(17) / 16))
        at_rest = channel * (1 - channel["y"] ** 2).astype(np.float32)
        at_rest.assign_attrs(flow="jet").to_netcdf(tmp_path / "mine.nc")
    command = ["evaluate", "--data", str(tmp_path / "mine.nc"), "--boundary", "periodic,wall,periodic"]
    command += ["--weights", str(tmp_path), "--resample"]
    with pytest.raises(SystemExit):
        main([*command, "y"])
    assert (
        "mine has (16, 17, 16) cells along z, y, x; each must be a multiple of 4; --resample y:16 resamples a file"
    ) in capsys.readouterr().err
    assert main([*command, "y:16"]) == 0
    assert "mine, 2 samples" in capsys.readouterr().out


def test_interpolation_by_two_is_measured(run: StoredRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--factor", "2", "--data", str(run.folder), "--weights", str(tmp_path)]) == 0
    assert "| trilinear-x2 |" in capsys.readouterr().out


def test_evaluating_without_a_sample_leaves_the_symmetry(tmp_path: Path) -> None:
    """It was read from other data when the model was adapted."""
    catalogue = Catalogue(tmp_path)
    model = SuperResolution(Network(SMALL))
    card = catalogue.save(model, describe(model, flow="mine", symmetry={"equivariance_error": {"x,y,z": 0.0}}))
    assert evaluate(catalogue, card, [], "cpu") == card


def test_a_sample_that_a_model_was_trained_on_is_neither_shipped_nor_measured(
    run: StoredRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogue = Catalogue(tmp_path / "weights")
    unseen = str(store(tmp_path / "data", 101).folder)
    command = ["evaluate", "--data", unseen, "--weights", str(catalogue.folder)]
    assert main([*command, "--ship", str(run.folder)]) == 0
    model = SuperResolution(Network(SMALL))
    card = catalogue.save(model, describe(model, flow="isotropic", trained={"data": [{"run": run.name}]}))
    for more in ([], ["--ship", str(run.folder)], ["--ship", str(run.folder), "--models", "trilinear-x4"]):
        with pytest.raises(SystemExit):
            main([*command, *more])
        assert f"{card.name} was trained on {run.name}" in capsys.readouterr().err
    assert catalogue.card(card.name) == card
    assert main([*command, "--ship", unseen]) == 0
    assert catalogue.card(card.name).sample["mae_over_trilinear"] > 0


def test_a_sample_that_is_replaced_is_measured_anew_by_all_models_or_none(
    run: StoredRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogue = Catalogue(tmp_path / "weights")
    first, second = (store(tmp_path / "data", seed) for seed in (101, 102))
    trained = {"data": [{"run": run.name}]}
    cards = []
    for network in (Network(SMALL), Network(Architecture("conv", "C1", 1, 1))):
        model = SuperResolution(network)
        cards.append(catalogue.save(model, describe(model, flow="isotropic", trained=trained)))
    one, other = (card.name for card in cards)
    command = ["evaluate", "--weights", str(catalogue.folder), "--data", str(second.folder)]

    def samples() -> list[dict[str, Value]]:
        return [catalogue.card(name).sample for name in (one, other)]

    assert main([*command, "--ship", str(first.folder)]) == 0
    before = samples()
    with pytest.raises(SystemExit):
        main([*command, str(run.folder), "--ship", str(second.folder)])
    assert "was trained on isotropic-16-seed1" in capsys.readouterr().err
    shipped = HeldOutSamples(catalogue.folder).find("isotropic")
    assert shipped is not None
    assert (shipped.run, samples()) == (first.name, before)
    assert main([*command, "--ship", str(second.folder), "--models", one]) == 0
    after = samples()
    assert main(command) == 0
    assert samples() == after
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_a_sample_is_replaced_whole(run: StoredRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = HeldOutSamples(tmp_path / "weights")
    sample = snapshot(run, 0, 1, 4)
    folder = samples.write("isotropic", sample)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def stop(path: Path, values: NDArray[np.float32]) -> None:
        path.write_bytes(values.tobytes()[:9])
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        samples.write("isotropic", sample)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_other_points_or_frames_of_a_run_are_the_same_run() -> None:
    trained = {"data": [{"run": "taylor-green-16-nx8-compact-seed7"}, {"run": "mine-16"}], "parent_data": ["a-8-seed1"]}
    card = describe(SuperResolution(Network(SMALL)), flow="isotropic", trained=trained)
    require_unseen(card, ["taylor-green-16-seed8", "green-16-seed7", "mine-32", "taylor-green-16-seed77"])
    for run in ("taylor-green-96-3frames-seed7", "taylor-green-16-seed7@2", "a-96-compact-seed1", "mine-16"):
        with pytest.raises(ValueError, match=f"was trained on .*, and so has seen {run}: held-out runs have seeds"):
            require_unseen(card, [run])


@pytest.mark.parametrize(
    ("times", "cells", "said"),
    [(2, (16, 16, 16), "time: 2 levels; expected at least 3"), (3, (16, 18, 16), "each must be a multiple of 4")],
)
@pytest.mark.parametrize("option", ["--data", "--ship"])
def test_what_cannot_be_measured_is_refused_before_anything_is_written(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    times: int,
    cells: tuple[int, int, int],
    said: str,
    option: str,
) -> None:
    catalogue = Catalogue(tmp_path / "weights")
    model = SuperResolution(Network(dataclasses.replace(SMALL, frames=3)))
    card = catalogue.save(model, describe(model, flow="jet"))
    about = {"flow": "jet", "boundary": "open"}
    good = write_components(tmp_path / "good.nc", velocity(3, (16, 16, 16)), **about)
    bad = write_components(tmp_path / "bad.nc", velocity(times, cells), **about)
    paths = {"--data": good, "--ship": good, option: bad}
    command = ["evaluate", "--frames", "3", "--weights", str(catalogue.folder)]
    for name, path in paths.items():
        command += [name, str(path)]
    with pytest.raises(SystemExit):
        main(command)
    error = capsys.readouterr().err
    assert "bad" in error
    assert said in error
    assert HeldOutSamples(catalogue.folder).find("jet", 3, 4) is None
    assert catalogue.card(card.name) == card


@pytest.mark.parametrize("resting", [[0], [0, 1, 2]])
def test_what_is_at_rest_has_no_relative_errors(
    run: StoredRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], resting: list[int]
) -> None:
    for index in resting:
        np.save(run.folder / f"snapshot-{index:04d}.npy", np.zeros((3, 16, 16, 16), np.float32))
    catalogue = Catalogue(tmp_path)
    model = SuperResolution(Network(SMALL))
    name = catalogue.save(model, describe(model, flow="mine")).name
    assert main(["evaluate", "--models", name, "--data", str(run.folder), "--weights", str(tmp_path)]) == 0
    (entry,) = catalogue.card(name).measured
    assert entry["samples"] == 3
    assert "samples" not in entry["mae"]
    if len(resting) < 3:
        assert entry["mae_over_rms"]["samples"] == entry["mae_over_trilinear"]["samples"] == 2
    else:
        assert "mae_over_rms" not in entry
        assert f"| {name} | {catalogue.card(name).parameters:,} | - | - | - | - | - |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("slope", "uniform", "boundary"),
    [(1, 0, "wall:u=0..1"), (0.3, 0, "wall:u=0..0.3"), (0, 0.3, "periodic")],
    ids=["laminar", "laminar, rounded", "uniform"],
)
def test_where_interpolation_is_exact_nothing_is_relative_to_it(
    run: StoredRun, tmp_path: Path, slope: float, uniform: float, boundary: str
) -> None:
    """As in laminar flow between a wall at rest and one that moves; but for rounding, which is no error to compare."""
    field = np.full((3, 16, 16, 16), uniform, np.float32)
    field[0] += (slope * (np.arange(16) + 0.5) / 16)[:, None]
    np.save(run.folder / "snapshot-0000.npy", field)
    about = {**run.description, "times": [0], "boundary": ["periodic", boundary, "periodic"]}
    (run.folder / "run.json").write_text(json.dumps(about))
    catalogue = Catalogue(tmp_path)
    model = SuperResolution(Network(SMALL))
    name = catalogue.save(model, describe(model, flow="mine")).name
    assert main(["evaluate", "--models", name, "--data", str(run.folder), "--weights", str(tmp_path)]) == 0
    (entry,) = catalogue.card(name).measured
    assert not {"mae_over_trilinear", "near_wall_mae_over_trilinear", "skill"} & entry.keys()
    # There are no fluctuations, either.
    assert not {"mae_over_rms", "trilinear_mae_over_rms", "relative_l2", "kinetic_energy_ratio"} & entry.keys()
    assert entry["mae"]["mean"] > 0


def test_errors_relative_to_the_fluctuations_are_of_one_definition() -> None:
    """In a flow whose mean between walls is most of it."""
    random = np.random.default_rng(1).standard_normal((3, 16, 16, 16)).astype(np.float32)
    fine = random + 100 * np.arange(16, dtype=np.float32)[:, None]
    coarse = coarsen(torch.from_numpy(fine)).numpy()[None]
    found = judge(fine + np.float32(0.5), HeldOut(coarse, fine, ("periodic", "wall", "periodic")))
    ours, theirs, over = (found[name] for name in ("mae_over_rms", "trilinear_mae_over_rms", "mae_over_trilinear"))
    assert isinstance(theirs, float)
    assert isinstance(over, float)
    assert ours == pytest.approx(over * theirs)
    assert ours == pytest.approx(0.5, rel=0.02)


def test_metrics_are_averaged_over_the_samples_that_have_them() -> None:
    rows: list[dict[str, Value]] = [
        {"a": 1.0, "b": math.nan, "c": None},
        {"a": 3.0, "b": 2.0, "c": None},
        {"a": math.inf, "b": math.inf, "c": None},
    ]
    several, single = {"mean": 2.0, "std": rounded(2**0.5), "samples": 2}, {"mean": 2.0, "samples": 1}
    assert summary_of(rows) == {"a": several, "b": single}
    assert rounded(math.inf) is None
