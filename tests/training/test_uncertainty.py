"""An error head learns how far off a network is, leaves its answers as they are, and its card says how to read it."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.catalogue import Catalogue, describe
from models.convolution import EVERYWHERE
from models.networks import Architecture, Network
from models.superresolution import SuperResolution
from models.uncertainty import laplace_loss
from tests.training.recorded import velocity, write_components
from tests.training.stored import store, write
from training import uncertainty
from training.__main__ import main
from training.dataset import StoredRun
from training.samples import Sample, Source
from training.uncertainty import coarse_fields, local_variation, mean_ratios, predicted_and_found

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.blocks import Window

NAME = "equivariant-isotropic-x4"


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    torch.manual_seed(0)
    made = Catalogue(tmp_path / "weights")
    model = SuperResolution(Network(Architecture("equivariant", "O", 1, 1)))
    made.save(model, describe(model, flow="isotropic"))
    return made


def learn(catalogue: Catalogue, data: Path, steps: int) -> None:
    options = ["--models", NAME, "--data", str(data), "--weights", str(catalogue.folder), "--steps", str(steps)]
    assert main(["uncertainty", *options, "--rate", "0.03", "--threads", "1"]) == 0


def test_predicted_errors_come_to_agree_with_those_found(tmp_path: Path, catalogue: Catalogue) -> None:
    run, others = store(tmp_path / "data", 1), store(tmp_path / "others", 2)
    coarse = torch.randn(1, 1, 3, 4, 4, 4)
    before = catalogue.load(NAME)(coarse, EVERYWHERE)

    def loss() -> float:
        """On another run, as predictions were scaled to the errors on this one."""
        model = catalogue.load(NAME)
        source = Source([others], halo=model.halo, factor=4, augment=False, device="cpu", seed=0)
        (samples,) = source.validation().values()
        predicted, found = predicted_and_found(model, samples[0])
        return float(laplace_loss(predicted, found, torch.ones_like(found)))

    learn(catalogue, run.folder, 1)
    untrained = loss()
    learn(catalogue, run.folder, 60)
    assert loss() < untrained
    assert torch.equal(catalogue.load(NAME)(coarse, EVERYWHERE), before)
    quantiles = catalogue.card(NAME).uncertainty["quantiles"]
    assert 0 < quantiles["0.5"] < 1 < quantiles["0.9"] < 5


def test_too_few_times_for_one_model_are_refused_before_another_is_stored(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    three = SuperResolution(Network(Architecture("equivariant", "O", 1, 1, frames=3)))
    card, other = catalogue.card(NAME), catalogue.save(three, describe(three, flow="isotropic"))
    data = write_components(tmp_path / "short.nc", velocity(2, (16, 16, 16)), flow="isotropic", boundary="open")
    options = ["--data", str(data), "--weights", str(catalogue.folder), "--steps", "1"]
    with pytest.raises(SystemExit):
        main(["uncertainty", "--models", NAME, other.name, *options])
    assert "short.nc: time: 2 levels; expected at least 3" in capsys.readouterr().err
    assert catalogue.card(NAME) == card


def test_cells_at_rest_do_not_stop_the_others_from_learning() -> None:
    """Their errors over their variation, both round-off, are huge, and they have no weight."""
    predicted = torch.full((3,), 0.1, requires_grad=True)
    laplace_loss(predicted, torch.tensor([0.5, 0.5, 1e13]), torch.tensor([1.0, 1.0, 0.0])).backward()
    assert predicted.grad is not None
    assert (predicted.grad[:2] < 0).all()
    nothing = laplace_loss(predicted, torch.zeros(3), torch.zeros(3))
    assert float(nothing.detach()) == 0


def test_errors_of_rounding_have_no_weight() -> None:
    """As in laminar flow, which varies, but on which interpolation is exact."""
    fine = torch.zeros(1, 3, 8, 48, 8)
    fine[:, 0] = 0.3 * torch.arange(48)[:, None]
    model = SuperResolution(Network(Architecture("equivariant", "O", 1, 1)))
    sample = Sample.of(fine, (True, False, True), model.halo, model.factor)
    assert not local_variation(model, sample).any()


def test_mean_ratios_are_of_each_sample_that_has_errors() -> None:
    predicted, errors = torch.tensor([1.0, 3.0, 2.0, 5.0]), torch.tensor([2.0, 2.0, 4.0, 0.0])
    weights, origin = torch.tensor([3.0, 1.0, 1.0, 1.0]), torch.tensor([0, 0, 2, 1])
    torch.testing.assert_close(mean_ratios(predicted, errors, weights, origin), torch.tensor([6 / 8, 2 / 4]))


def test_evaluation_tells_how_good_the_prediction_is(tmp_path: Path, catalogue: Catalogue) -> None:
    learn(catalogue, store(tmp_path / "data", 1).folder, 60)
    held_out = store(tmp_path / "data", 2).folder
    assert main(["evaluate", "--data", str(held_out), "--weights", str(catalogue.folder), "--models", NAME]) == 0
    (measured,) = catalogue.card(NAME).measured
    assert measured["error_predicted_over_found"]["mean"] == pytest.approx(1, abs=0.3)
    assert measured["error_coverage_50"]["mean"] == pytest.approx(0.5, abs=0.15)
    assert measured["error_coverage_90"]["mean"] == pytest.approx(0.9, abs=0.1)
    assert -1 <= measured["error_rank_correlation"]["mean"] <= 1


def test_a_new_head_has_no_errors_of_the_last(tmp_path: Path, catalogue: Catalogue) -> None:
    """Nor traits, if its fields are synthetic."""
    sample, measured = {"mae": 1.0, "error_coverage_50": 0.4}, {"run": "a", "error_rank_correlation": {"mean": 0.9}}
    card = dataclasses.replace(catalogue.card(NAME), sample=sample, measured=[measured], learned={"a": [0.0, 1.0]})
    catalogue.write(card)
    learn(catalogue, write(tmp_path / "fields", 1, 2, flow="synthetic"), 1)
    card = catalogue.card(NAME)
    assert (card.sample, card.measured, card.learned) == ({"mae": 1.0}, [{"run": "a"}], {})


def test_what_a_head_has_learned_from_is_not_held_out(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    run = store(tmp_path / "data", 1)
    learn(catalogue, run.folder, 1)
    with pytest.raises(SystemExit):
        main(["evaluate", "--data", str(run.folder), "--weights", str(catalogue.folder), "--models", NAME])
    assert f"{NAME} was trained on {run.name}" in capsys.readouterr().err


def test_snapshots_of_uniform_flow_leave_those_of_other_runs(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    rest, other = store(tmp_path / "data", 1).folder, write(tmp_path / "other", 2, 3, flow="other")
    np.save(rest / "snapshot-0002.npy", np.full((3, 16, 16, 16), 0.3, np.float32))
    options = ["--models", NAME, "--weights", str(catalogue.folder), "--threads", "1"]
    assert main(["uncertainty", *options, "--data", str(rest), str(other), "--steps", "2"]) == 0
    card = catalogue.card(NAME)
    assert all(math.isfinite(bound) for bounds in card.learned.values() for bound in bounds)
    assert all(math.isfinite(bound) for bound in card.uncertainty["quantiles"].values())
    with pytest.raises(SystemExit):
        main(["uncertainty", *options, "--data", str(rest)])
    assert f"exact on what is held out: {rest.name}; expected data that vary" in capsys.readouterr().err


@pytest.mark.parametrize("beside", [False, True])
def test_a_part_of_a_single_snapshot_is_kept_back(tmp_path: Path, catalogue: Catalogue, *, beside: bool) -> None:
    """As when a model is adapted to it, beside another run too."""
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).standard_normal((3, 16, 88, 16)).astype(np.float32))
    data = [str(tmp_path / "mine.npy"), *([str(store(tmp_path / "data", 1).folder)] if beside else [])]
    options = ["--models", NAME, "--weights", str(catalogue.folder), "--threads", "1", "--steps", "2", "--flow", "mine"]
    assert main(["uncertainty", *options, "--boundary", "periodic", "--data", *data]) == 0
    assert catalogue.trained(NAME).error_head is not None
    assert catalogue.card(NAME).uncertainty["data"][0] == "mine"


def test_interpolation_cannot_learn_its_error(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--models", "trilinear-x4", "--data", str(store(tmp_path / "data", 1).folder)]
    with pytest.raises(SystemExit):
        main(["uncertainty", *options, "--weights", str(catalogue.folder)])
    assert "trilinear-x4 has no network" in capsys.readouterr().err


def test_what_does_not_fit_is_refused_before_the_first_head_is_trained(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing value that no sample reads, and a model without a network."""
    trained: list[None] = []
    monkeypatch.setattr(uncertainty, "learn", lambda *_, **__: trained.append(None))
    whole = velocity(2, (16, 16, 200))
    missing = whole.copy()
    missing[0, 0, 0, 0, 199] = np.nan
    for field, models, told in (
        (missing, [NAME], "1 values of time level 0 are not finite"),
        (whole, [NAME, "trilinear-x4"], "trilinear-x4 has no network"),
    ):
        data = write_components(tmp_path / "data.nc", field, flow="jet", boundary="open")
        with pytest.raises(SystemExit):
            main(["uncertainty", "--models", *models, "--data", str(data), "--weights", str(catalogue.folder)])
        assert told in capsys.readouterr().err
    assert not trained


def test_traits_are_taken_from_slabs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store(tmp_path, 1, snapshots=1)
    (whole,) = coarse_fields([run], 2)
    window, read = StoredRun.window, []

    def counted(self: StoredRun, index: int, where: Window, frames: int) -> NDArray[np.float32]:
        read.append(len(where[0]))
        return window(self, index, where, frames)

    monkeypatch.setattr(StoredRun, "window", counted)
    monkeypatch.setattr(uncertainty, "LAYERS", 3)
    (slabs,) = coarse_fields([run], 2)
    assert read == [6, 6, 4]
    np.testing.assert_array_equal(slabs, whole)
    np.testing.assert_allclose(slabs[0, 7, 0, 0], run[0][0, 14:, :2, :2].mean(), rtol=1e-5)


def test_a_head_that_diverges_is_not_stored(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    card, data = catalogue.card(NAME), store(tmp_path / "data", 1).folder
    options = ["--models", NAME, "--data", str(data), "--weights", str(catalogue.folder), "--steps", "9"]
    with pytest.raises(SystemExit):
        main(["uncertainty", *options, "--rate", "1e30", "--threads", "1"])
    assert "expected a finite one with finite gradients" in capsys.readouterr().err
    assert catalogue.card(NAME) == card
