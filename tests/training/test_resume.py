"""A training continues from its checkpoint to the numbers of one that was never stopped, or is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.networks import Architecture
from tests.training.stored import store
from training import trainer as training
from training.dataset import StoredRun
from training.trainer import CHECKPOINT, LOSSES, Recipe, Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

SMALL = Architecture("equivariant", "O", 1, 1)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Several threads add up gradients in an order of their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_resuming_gives_the_uninterrupted_numbers(run: StoredRun, tmp_path: Path) -> None:
    recipe = Recipe(6, augment=True, checks=3)
    straight = Trainer(SMALL, recipe, [run], tmp_path / "straight")
    straight.run()
    halved = Trainer(SMALL, recipe, [run], tmp_path / "halved")
    for _ in range(3):
        halved._advance()
    halved.save()
    again = Trainer(SMALL, recipe, [run], tmp_path / "halved")
    assert again.step == 3
    again.run()
    assert again.losses == straight.losses
    assert (tmp_path / "halved" / LOSSES).read_text() == (tmp_path / "straight" / LOSSES).read_text()
    assert again.best is not None
    assert straight.best is not None
    assert (again.best.step, again.best.error) == (straight.best.step, straight.best.error)
    for ours, theirs in zip(again.averaged.parameters(), straight.averaged.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("part", ["loss", "schedule.step", "averaged.update_parameters"])
def test_a_step_that_was_stopped_is_taken_again(
    run: StoredRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    recipe = Recipe(6, augment=True)
    straight = Trainer(SMALL, recipe, [run], tmp_path / "straight")
    straight.run()
    stopped = Trainer(SMALL, recipe, [run], tmp_path / "stopped")
    owner, _, name = part.rpartition(".")
    owned = getattr(stopped, owner) if owner else stopped
    whole, calls = getattr(owned, name), []

    def stop(*args: Any) -> Any:  # noqa: ANN401
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return whole(*args)

    monkeypatch.setattr(owned, name, stop)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    again = Trainer(SMALL, recipe, [run], tmp_path / "stopped")
    assert again.step == (3 if part == "loss" else 0)
    again.run()
    assert again.losses == straight.losses


def test_another_recipe_is_refused(run: StoredRun, tmp_path: Path) -> None:
    trainer = Trainer(SMALL, Recipe(2), [run], tmp_path / "out")
    trainer.run()
    for other in (Recipe(2, seed=1), Recipe(1)):
        with pytest.raises(ValueError, match="use another --out"):
            Trainer(SMALL, other, [run], tmp_path / "out")


def test_other_data_is_refused(run: StoredRun, tmp_path: Path) -> None:
    Trainer(SMALL, Recipe(2), [run], tmp_path / "out").run()
    other = store(tmp_path / "other", 2)
    with pytest.raises(ValueError, match=r"data \['isotropic-16-seed1: .*\['isotropic-16-seed2: .*; use another"):
        Trainer(SMALL, Recipe(4), [other], tmp_path / "out")
    namesake = store(tmp_path / "namesake", 3)
    namesake.folder.rename(tmp_path / "namesake" / run.name)
    with pytest.raises(ValueError, match=rf"data \['{run.name}: .*\], not \['{run.name}: .*; use another"):
        Trainer(SMALL, Recipe(4), [StoredRun(tmp_path / "namesake" / run.name)], tmp_path / "out")


def test_a_checkpoint_of_another_layout_is_refused(run: StoredRun, tmp_path: Path) -> None:
    trainer = Trainer(SMALL, Recipe(1), [run], tmp_path)
    trainer.save()
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    for changed in ({**state, "model": {"other": torch.ones(1)}}, {"step": 1}):
        torch.save(changed, tmp_path / CHECKPOINT)
        with pytest.raises(ValueError, match=r"checkpoint.pt: \w+; expected what this version of eddylift writes"):
            Trainer(SMALL, Recipe(1), [run], tmp_path)


def test_more_steps_continue_a_complete_training(run: StoredRun, tmp_path: Path) -> None:
    Trainer(SMALL, Recipe(2), [run], tmp_path / "out").run()
    longer = Trainer(SMALL, Recipe(4), [run], tmp_path / "out")
    assert longer.step == 2
    longer.run()
    assert len(longer.losses) == longer.step == 4
    table = np.loadtxt(tmp_path / "out" / LOSSES, delimiter=",", skiprows=1)
    np.testing.assert_allclose(table, np.column_stack([range(1, 5), longer.losses]), rtol=1e-5)


def test_a_check_that_was_interrupted_is_made_up(
    run: StoredRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, calls = training.over_trilinear, []

    def stop(*args: Any) -> float:  # noqa: ANN401
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*args)

    recipe = Recipe(4, rate=1e-2, checks=2)
    monkeypatch.setattr(training, "over_trilinear", stop)
    with pytest.raises(KeyboardInterrupt):
        Trainer(SMALL, recipe, [run], tmp_path / "out").run()
    again = Trainer(SMALL, recipe, [run], tmp_path / "out")
    assert again.best is not None
    assert (again.step, again.best.step) == (4, 2)
    again.run()
    assert again.best.step == 4


def test_a_run_that_has_changed_is_refused(run: StoredRun, tmp_path: Path) -> None:
    """It would not give the numbers of a training that was never stopped."""
    Trainer(SMALL, Recipe(2), [run], tmp_path / "out").run()
    before = np.load(run.folder / "snapshot-0001.npy")
    np.save(run.folder / "snapshot-0001.npy", 2 * before)
    with pytest.raises(ValueError, match=r"3 snapshots, .*3 snapshots, .*; use another --out"):
        Trainer(SMALL, Recipe(4), [StoredRun(run.folder)], tmp_path / "out")
    np.save(run.folder / "snapshot-0001.npy", before)
    assert Trainer(SMALL, Recipe(4), [StoredRun(run.folder)], tmp_path / "out").step == 2
    np.save(run.folder / "snapshot-0003.npy", before)
    (run.folder / "run.json").write_text(json.dumps({**run.description, "times": [0, 1, 2, 3]}))
    with pytest.raises(ValueError, match=r"3 snapshots, .*4 snapshots, .*; use another --out"):
        Trainer(SMALL, Recipe(4), [StoredRun(run.folder)], tmp_path / "out")


def test_other_held_out_data_are_refused(run: StoredRun, tmp_path: Path) -> None:
    """Errors on them would be compared with those on the first ones."""
    Trainer(SMALL, Recipe(2), [run], tmp_path / "out", kept=[store(tmp_path / "a", 2)]).run()
    with pytest.raises(
        ValueError, match=r"held-out data \['isotropic-16-seed2: .*\['isotropic-16-seed3: .*use another"
    ):
        Trainer(SMALL, Recipe(2), [run], tmp_path / "out", kept=[store(tmp_path / "b", 3)])


def test_a_checkpoint_of_an_older_version_is_read(run: StoredRun, tmp_path: Path) -> None:
    recipe = Recipe(2, parent="a", parent_sha256="b")
    Trainer(SMALL, recipe, [run], tmp_path).run()
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    del state["recipe"]["parent_sha256"], state["held-out data"]
    torch.save(state, tmp_path / CHECKPOINT)
    assert Trainer(SMALL, recipe, [run], tmp_path).step == 2
