"""The command that asks which symmetries data keep."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import spglib
import torch
from matplotlib.figure import Figure

from models.discovery.discover import discover
from models.discovery.fit import Recipe
from models.discovery.pairs import ENOUGH_PAIRS, Pairs
from models.discovery.point_groups import symbol
from models.group import group, rotate_scalar
from models.irreps import element_names
from models.operators import coarsen
from training.__main__ import main
from training.dataset import StoredRun
from training.discovery_figure import KEPT, deciding, draw_elements, draw_findings, draw_target, title_of
from training.experiments.perovskite import PHASES, SPECIES, density, read_structure
from training.experiments.squares import square_to
from training.experiments.turbulence import expected, pairs_of

if TYPE_CHECKING:
    from pathlib import Path

SPACE_GROUPS = {"cubic": "Pm-3m", "tetragonal": "P4mm", "orthorhombic": "Amm2", "rhombohedral": "R3m"}
POINT_GROUPS = {"cubic": "m-3m", "tetragonal": "4mm", "orthorhombic": "mm2", "rhombohedral": "3m"}


@pytest.mark.parametrize(
    ("target", "kept", "moved"), [("rectangle", "2mm", ["A1", "B1"]), ("diagonal", "2mm", ["A1", "B2"])]
)
def test_a_square_becomes(target: str, kept: str, moved: list[str]) -> None:
    finding = discover(square_to(target), group("D4", 2))
    assert finding.exact
    assert (finding.symbol, finding.moved) == (kept, moved)
    assert finding.mse <= 1e-5


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")  # of spglib, about its own errors
@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_has_its_space_group_and_its_density_the_point_group(phase: str) -> None:
    structure = read_structure(phase)
    numbers = [SPECIES.index(name) for name in structure.species]
    found = spglib.get_spacegroup((structure.lattice.tolist(), structure.shares.tolist(), numbers), symprec=1e-3)
    assert found is not None
    assert found.split()[0] == SPACE_GROUPS[phase]
    drawn, over = density(structure)[None], group("Oh")
    kept = [matrix for matrix in over.matrices if torch.allclose(rotate_scalar(drawn, matrix), drawn, atol=1e-9)]
    assert symbol(torch.stack(kept)) == POINT_GROUPS[phase]


def test_arrays_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Y stretches X along x, whatever X is."""
    pairs = square_to("rectangle")
    np.save(tmp_path / "x.npy", pairs.x[:].numpy())
    np.save(tmp_path / "y.npy", pairs.y[:].numpy())
    out = tmp_path / "found"
    arguments = ["--x", str(tmp_path / "x.npy"), "--y", str(tmp_path / "y.npy"), "--out", str(out)]
    assert main(["discover", *arguments]) == 0
    assert "y of D4: 2mm, 4 elements: x,y -x,-y x,-y -x,y" in capsys.readouterr().out
    finding = json.loads((out / "y.json").read_text())["findings"]["y of D4"]
    assert finding["moved"] == ["A1", "B1"]
    assert (out / "y.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("flow", "kept"),
    [("isotropic", "m-3m"), ("rotating", "4/m"), ("stratified", "4/mmm"), ("channel", "mm2"), ("couette", "2/m")],
)
def test_what_the_equations_of_flows_keep(flow: str, kept: str) -> None:
    elements = expected(flow)
    assert elements is not None
    assert symbol(group("Oh").matrices[elements]) == kept


def test_a_run_has_pairs_of_two_resolutions_and_of_two_times(tmp_path: Path) -> None:
    snapshots = np.random.default_rng(0).standard_normal((3, 3, 3, 8, 8, 8), np.float32)
    for index, frames in enumerate(snapshots):
        np.save(tmp_path / f"snapshot-{index:04d}.npy", frames)
    about = {"flow": "rotating", "n": 8, "seed": 1, "frames": 3, "times": [0, 1, 2]}
    (tmp_path / "run.json").write_text(json.dumps(about))
    pairs = pairs_of(StoredRun(tmp_path))
    fields = torch.from_numpy(snapshots)
    assert torch.equal(pairs["finer"].x[:], coarsen(fields[:, 1], 2))
    assert torch.equal(pairs["finer"].y[:], fields[:, 1])
    assert torch.equal(pairs["later"].x[:], coarsen(fields[:, 0], 2))
    assert torch.equal(pairs["later"].y[:], coarsen(fields[:, 2], 2))


def test_a_run_keeps_what_both_kinds_of_pairs_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pairs to a vector along x, 4mm about x, and others to a vector along y."""
    x, targets = torch.ones(ENOUGH_PAIRS, 1, 3, 3, 3).double(), torch.zeros(2, ENOUGH_PAIRS, 3, 3, 3, 3).double()
    targets[0, :, 0] = targets[1, :, 1] = 1
    pairs = {name: Pairs(x, y, "scalar", "vector") for name, y in zip(("finer", "later"), targets, strict=True)}
    monkeypatch.setattr("training.discover.pairs_of", lambda _run: pairs)
    monkeypatch.setattr("training.discover.RECIPE", Recipe(fields=1, equivariant_steps=2, steps=10))
    (tmp_path / "run.json").write_text(json.dumps({"flow": "mine"}))
    assert main(["discover", "--run", str(tmp_path), "--out", str(tmp_path)]) == 0
    *readings, last = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in readings[::2]] == [[name, "of", "Oh:", "4mm,"] for name in pairs]
    assert all("4mm: 8 of the 48 elements of Oh are kept to rounding." in line for line in readings[1::2])
    assert last.split(":") == ["         all of Oh", " m, 2 elements", " x,y,z x,y,-z"]
    stored = json.loads((tmp_path / f"{tmp_path.name}.json").read_text())
    assert (stored["flow"], stored["symbol"], stored["kept"]) == ("mine", "m", ["x,y,z", "x,y,-z"])


def test_a_run_of_few_snapshots_says_nothing_of_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(ENOUGH_PAIRS - 1):
        np.save(tmp_path / f"snapshot-{index:04d}.npy", np.ones((1, 3, 8, 8, 8), np.float32))
    about = {"flow": "isotropic", "n": 8, "seed": 1, "frames": 1, "times": [*range(ENOUGH_PAIRS - 1)]}
    (tmp_path / "run.json").write_text(json.dumps(about))
    with pytest.raises(SystemExit):
        main(["discover", "--run", str(tmp_path), "--out", str(tmp_path)])
    assert "has 9 snapshots; expected at least 10" in " ".join(capsys.readouterr().err.split())


def test_the_figure_shows_what_decided(tmp_path: Path) -> None:
    """Errors of exact data; p-values of independent pairs; shares in standard errors where a recipe says so."""
    pairs = square_to("rectangle")
    exact = discover(pairs, group("C2", 2), Recipe(fields=1, equivariant_steps=1, steps=1))
    p, common, errors = ({"x,y": float(one), "-x,-y": other} for one, other in ((1, 0.4), (0, 0.3), (0, 0.1)))
    noisy = dataclasses.replace(exact, p_values=p, common=common, common_errors=errors)
    assert deciding(exact, 2.0) == ("equivariance error", exact.equivariance_errors, None)
    assert deciding(noisy, None) == ("p-value", p, None)
    _, ratios, most = deciding(noisy, 2.0)
    assert (ratios, most) == ({"x,y": 0, "-x,-y": pytest.approx(3)}, 2.0)
    assert title_of("mine", exact).splitlines() == [
        "mine",
        f"keeps group {exact.symbol} ({len(exact.kept)} of 2 elements of C2)",
    ]
    draw_findings(tmp_path / "found.png", [("exact", pairs, exact), ("noisy", pairs, noisy)], 2.0)
    assert (tmp_path / "found.png").stat().st_size > 0


def test_the_figure_names_the_elements_and_what_is_a_colour() -> None:
    figure = Figure()
    image, elements = figure.subplots(1, 2)
    pairs = square_to("rectangle")
    finding = discover(pairs, group("D4", 2), Recipe(fields=1, equivariant_steps=1, steps=1))
    draw_target(image, pairs)
    draw_elements(elements, finding, None)
    ticks = {tick.get_text(): tick.get_color() for tick in elements.get_yticklabels()}
    assert list(ticks) == element_names(group("D4", 2))
    assert [name for name, colour in ticks.items() if colour == KEPT] == finding.kept
    assert [axes.get_ylabel() for axes in figure.axes] == ["y", "", "Y"]


@pytest.mark.parametrize("arguments", [[], ["square", "--run", "here"], ["--x", "x.npy"]])
def test_one_thing_is_asked_about(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["discover", *arguments])
    assert "give an experiment (square, perovskite), or --run, or --x and --y" in capsys.readouterr().err
