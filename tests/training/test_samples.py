"""Samples are shifted, turned and continued as volumes are served, and never drawn from what is held out."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.blocks import parse_boundary
from models.group import rotate_boundary, rotate_vector
from models.networks import Architecture, Network
from models.operators import coarsen
from models.superresolution import SuperResolution, upscale
from tests.training.recorded import velocity, write_components
from tests.training.stored import store, write
from training.dataset import StoredRun
from training.recordings import open_dataset
from training.samples import Source

if TYPE_CHECKING:
    from pathlib import Path

    from models.blocks import Boundaries, Boundary

WALLS: Boundaries = ("periodic", "wall", "periodic")
SMALL = Architecture("equivariant", "O", 1, 1)


def test_a_sample_is_the_block_mean_of_a_shifted_snapshot(run: StoredRun) -> None:
    sample = Source([run], halo=4, factor=4, augment=False, device="cpu", seed=0).draw()
    assert sample.coarse.shape == (1, 1, 3, 4, 4, 4)
    means = sample.fine.reshape(1, 3, 4, 4, 4, 4, 4, 4).mean(dim=(3, 5, 7))
    torch.testing.assert_close(sample.coarse[:, 0], means)
    snapshots = [torch.from_numpy(np.array(run[index])) for index in range(2)]
    shifts = [(z, y, x) for z in range(4) for y in range(4) for x in range(4)]
    assert any(torch.equal(s.roll(shift, (1, 2, 3)), sample.fine[0]) for s in snapshots for shift in shifts)


def test_an_open_box_begins_at_any_fine_cell(run: StoredRun) -> None:
    """The rest of its last coarse cell is then left out; for validation it is whole."""
    (run.folder / "run.json").write_text(json.dumps({**run.description, "boundary": ["periodic", "open", "open"]}))
    run = StoredRun(run.folder)
    source = Source([run], halo=1, factor=4, augment=False, device="cpu", seed=0)
    snapshots = [torch.from_numpy(np.array(run[index])) for index in range(2)]
    begins = set()
    for _ in range(20):
        fine = source.draw().fine[0]
        y, x = fine.shape[2:]
        for z, a, b in itertools.product(range(4), range(17 - y), range(17 - x)):
            parts = (s.roll(z, 1)[:, :, a : a + y, b : b + x] for s in snapshots)
            if any(torch.equal(part, fine) for part in parts):
                begins.add((a, b))
    assert {a for a, _ in begins} == {b for _, b in begins} == {0, 1, 2, 3}
    assert source.validation()["isotropic"][0].fine.shape == (1, 3, 16, 16, 16)


def test_validation_snapshots_are_never_drawn(run: StoredRun) -> None:
    source = Source([run], halo=4, factor=4, augment=False, device="cpu", seed=0)
    kept = source.validation()["isotropic"]
    assert len(kept) == 1
    assert torch.equal(kept[0].fine[0], torch.from_numpy(np.array(run[2])))
    energy = {float(source.draw().fine.square().mean().round(decimals=6)) for _ in range(40)}
    assert len(energy) == 2
    assert float(kept[0].fine.square().mean().round(decimals=6)) not in energy


def test_runs_of_a_flow_are_drawn_by_the_square_root_of_their_cells(tmp_path: Path) -> None:
    fine, coarse = store(tmp_path / "fine", 1, n=32, snapshots=1), store(tmp_path / "coarse", 2, snapshots=32)
    source = Source([fine, coarse], halo=4, factor=4, augment=False, device="cpu", seed=1, keep=0)
    drawn = [source.draw().fine.shape[-1] == 32 for _ in range(200)]
    assert 48 < sum(drawn) < 86  # one in three; by snapshots one in 33, by cells one in five


def test_flows_are_drawn_by_the_square_root_of_their_runs(tmp_path: Path) -> None:
    many = [store(tmp_path / str(seed), seed, snapshots=1) for seed in range(4)]
    other = StoredRun(write(tmp_path / "other", 9, 1, 32, flow="channel"))
    source = Source([*many, other], halo=4, factor=4, augment=False, device="cpu", seed=1, keep=0)
    drawn = [source.draw().fine.shape[-1] == 32 for _ in range(200)]
    assert 52 < sum(drawn) < 82  # one in three; all alike would be a half, by runs one in five


def test_augmentation_turns_components_with_axes(run: StoredRun) -> None:
    """Each draw is a shifted snapshot that is turned as a whole, in one of 48 ways."""
    source = Source([run], halo=4, factor=4, augment=True, device="cpu", seed=1)
    snapshots = [torch.from_numpy(np.array(run[index])) for index in range(2)]
    shifts = list(itertools.product(range(4), repeat=3))
    shifted = {s.roll(shift, (1, 2, 3)).numpy().tobytes() for s in snapshots for shift in shifts}
    seen = set()
    for _ in range(10):
        fine = source.draw().fine[0]
        back = [rotate_vector(fine, matrix.T).contiguous().numpy().tobytes() in shifted for matrix in source.matrices]
        assert sum(back) == 1
        seen.add(back.index(True))
    assert len(seen) > 5


def test_a_sample_between_walls_is_read_as_a_served_block(tmp_path: Path) -> None:
    """Shifted along x and z alone, continued oddly beyond walls; training and serving give the same answer."""
    run = store(tmp_path / "data", 1, snapshots=2)
    (run.folder / "run.json").write_text(json.dumps({**run.description, "boundary": WALLS}))
    run = StoredRun(run.folder)
    torch.manual_seed(0)
    model = SuperResolution(Network(SMALL)).frozen()
    source = Source([run], halo=model.halo, factor=4, augment=True, device="cpu", seed=0)
    seen = set()
    for _ in range(12):
        sample = source.draw()
        wall = sample.circular.index(False)
        assert sum(sample.circular) == 2
        seen.add(wall)
        boundary: list[Boundary] = ["periodic"] * 3
        boundary[wall] = "wall"
        coarse = coarsen(sample.fine[0]).numpy()
        served = upscale(model, coarse, (boundary[0], boundary[1], boundary[2]))
        answer = model(sample.coarse, sample.circular)[0]
        torch.testing.assert_close(answer, torch.from_numpy(served), rtol=0, atol=1e-5)
    assert seen == {0, 1, 2}
    still = Source([run], halo=1, factor=4, augment=False, device="cpu", seed=0)
    profile = torch.from_numpy(np.array(run[0])).mean(dim=(1, 3))
    for _ in range(4):
        torch.testing.assert_close(still.draw().fine[0].mean(dim=(1, 3)), profile, rtol=0, atol=1e-6)


def test_a_sample_between_walls_that_move_is_read_as_a_served_block(tmp_path: Path) -> None:
    """Their velocities turn with the sample."""
    run = store(tmp_path / "data", 1, snapshots=2)
    boundary = parse_boundary("periodic,wall:u=-0.1..0.3,periodic")
    (run.folder / "run.json").write_text(json.dumps({**run.description, "boundary": boundary}))
    model = SuperResolution().eval()
    source = Source([StoredRun(run.folder)], halo=model.halo, factor=4, augment=True, device="cpu", seed=0)
    turned = {rotate_boundary(boundary, matrix) for matrix in source.matrices}
    for _ in range(12):
        sample = source.draw()
        coarse = coarsen(sample.fine[0]).numpy()
        answer = model(sample.coarse, sample.circular)[0].numpy()
        served = [upscale(model, coarse, each) for each in turned]
        assert min(np.abs(answer - each).max() for each in served) < 1e-6
        assert np.abs(answer - upscale(model, coarse, WALLS)).max() > 0.01


def test_too_few_snapshots_or_time_levels_are_told_with_their_number(tmp_path: Path) -> None:
    """Of the levels, none that is held out is learned from."""
    stored = store(tmp_path / "one", 1, snapshots=1)
    files = {
        levels: open_dataset(write_components(tmp_path / f"{levels}.nc", velocity(levels, (16, 16, 16))), "jet", "open")
        for levels in (5, 6)
    }
    for data, frames, told in ((stored, 1, "2 snapshots"), (files[5], 3, "6 time levels")):
        with pytest.raises(ValueError, match=f"training needs runs of at least {told}, got"):
            Source([data], halo=4, factor=4, frames=frames, augment=False, device="cpu", seed=0)
    enough = Source([files[6]], halo=4, factor=4, frames=3, augment=False, device="cpu", seed=0)
    assert enough.draw().coarse.shape[1] == 3
