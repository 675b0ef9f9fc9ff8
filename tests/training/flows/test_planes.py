"""Sets of runs in a plane: what they break, and how they are kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.group import group, rotate_vector
from training.__main__ import main
from training.flows import planes
from training.flows.plumes import UNEVEN, Plume, plumes, simulate

if TYPE_CHECKING:
    from pathlib import Path

N, FRAMES, SIDES = 16, 12, 4


def side_by_side(strengths: list[float]) -> list[float]:
    """How far plumes from each side are from those of the first one, turned."""
    frames = simulate([Plume(0, 20.0, side, (by, by)) for side, by in enumerate(strengths)], N, FRAMES)[:, :, :2]
    turn = next(matrix for matrix in group("C4", 2).matrices if matrix[1, 0] == 1)
    wanted, errors = frames[0], []
    for found in frames[1:]:
        wanted = rotate_vector(wanted, turn)
        errors.append(float((found - wanted).norm() / wanted.norm()))
    return errors


def test_plumes_of_all_sides_are_one_plume_turned_and_the_more_apart_the_more_their_buoyancy_differs() -> None:
    assert max(side_by_side(SIDES * [1.0])) < 1e-12
    assert min(side_by_side([1.0, 1.1, 1.2, 1.3])) > 0.01
    levels = [sum(side_by_side([1 + uneven * side / 3 for side in range(SIDES)])) for uneven in UNEVEN]
    assert levels == sorted(levels)


def test_sets() -> None:
    sizes = {"translation": 35, "rotation": 36, "scale": 36, "levels": 200}
    assert {name: len(plumes(name)) for name in sizes} == sizes
    with pytest.raises(ValueError, match="set must be translation"):
        plumes("none")


def test_right_of_the_middle_smoke_rises_faster() -> None:
    frames = simulate([Plume(0, 16.0, strength=(1, 2)), Plume(1, 48.0, strength=(1, 2))], N, FRAMES)
    left, right = frames[:, -1, 1].abs().amax(dim=(-2, -1))
    assert right > 1.3 * left


def test_scale_multiplies_velocity_alone() -> None:
    usual, scaled = simulate([Plume(0, 20.0), Plume(0, 20.0, scale=2.0)], N, FRAMES)
    assert torch.allclose(scaled[:, :2], 2 * usual[:, :2])
    assert torch.equal(scaled[:, 2], usual[:, 2])


@pytest.mark.parametrize(("flow", "name", "components"), [("smoke", "scale", 3), ("planar", "decaying", 2)])
def test_a_set_is_simulated_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flow: str, name: str, components: int
) -> None:
    monkeypatch.setitem(planes.FRAMES, name, 3)
    command = ["simulate", "--flow", flow, "--set", name, "--n", "12", "--out", str(tmp_path)]
    assert main(command) == 0
    (folder,) = tmp_path.iterdir()
    frames = np.load(folder / "frames.npy")
    about = json.loads((folder / "run.json").read_text())
    assert frames.shape == (len(about["runs"]), 3, components, 12, 12)
    assert frames.dtype == np.float32
    assert np.isfinite(frames).all()
    assert len(about["dx"]) == len(about["dt"]) == len(frames)
    written = (folder / "frames.npy").stat().st_mtime_ns
    assert main(command) == 0
    assert (folder / "frames.npy").stat().st_mtime_ns == written


def test_a_set_of_another_flow_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--flow", "planar", "--set", "levels"])
    assert "set must be one of decaying for planar flow, not 'levels'" in capsys.readouterr().err
