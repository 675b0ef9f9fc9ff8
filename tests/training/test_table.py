"""The table holds everyone, and says of them what evaluation says."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch

from models.catalogue import BASELINE, Catalogue, describe
from models.networks import Architecture, Network
from models.superresolution import SuperResolution
from training import table
from training.__main__ import main
from training.dataset import StoredRun
from training.flows.kinds import FLOWS, recipe_of

if TYPE_CHECKING:
    from pathlib import Path


def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that take no time."""
    usual = FLOWS["isotropic"]
    monkeypatch.setitem(FLOWS, "isotropic", dataclasses.replace(usual, interval=0.2, spin_up=0.2, settle=0.2))
    runs = [(recipe_of("isotropic", 16, 101, frames=frames), 2) for frames in (1, 3)]
    monkeypatch.setattr(table, "HELD_OUT", {"isotropic": runs})
    monkeypatch.setattr(table, "FITTED", {"isotropic": ((recipe_of("isotropic", 32, 4), 2),)})


@pytest.mark.slow
def test_one_command_makes_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny(monkeypatch)
    catalogue = Catalogue(tmp_path / "weights")
    torch.manual_seed(0)
    network = SuperResolution(Network(Architecture("relaxed", "O", 1, 1)))
    card = describe(network, flow="isotropic", trained={"seed": 3, "minutes": 2.0})
    catalogue.save(network, card)
    Catalogue(tmp_path / "weights" / "others" / "seed-3").save(network, card)
    (catalogue.folder / BASELINE).write_text('{"channel": 0.5, "isotropic": 2.0}')  # of an earlier table
    three = SuperResolution(Network(Architecture("conv", "C1", 2, 1, frames=3)))
    catalogue.save(three, describe(three, flow="isotropic", trained={"seed": 0, "minutes": 1.0}))
    where = ["--data", f"{tmp_path}/data", "--weights", f"{tmp_path}/weights"]
    command = ["table", "--flows", "isotropic", *where, "--snapshots", "2"]
    assert main(command) == 0
    text = (tmp_path / "weights" / "TABLE.md").read_text()
    assert text in capsys.readouterr().out
    one, _, three_frames = text.partition("of 3 frames")
    (linear,) = (line.split("|")[7] for line in three_frames.splitlines() if line.startswith(f"| {table.LINEAR}"))
    assert catalogue.linear() == {"channel": 0.5, "isotropic": pytest.approx(float(linear.split("±")[0]), rel=0.01)}
    rows, all_rows = (
        {line.split("|")[1].strip(): line.split("|")[2:-1] for line in part.splitlines() if "±" in line and "|" in line}
        for part in (one, three_frames)
    )
    assert set(all_rows) - set(rows) == {"conv-isotropic-x4-3frames"}
    assert list(rows) == [
        "trilinear-x4",
        "trilinear + consistency",
        "tricubic",
        "spectral",
        "best linear estimator",
        "relaxed-isotropic-x4",
        "relaxed-isotropic-x4, seed 3",
    ]
    head = next(line for line in text.splitlines() if line.startswith("| model |")).split("|")[2:-1]
    assert "the same at walls" not in text.split("## Isotropic")[1]
    assert all(len(row) == len(head) for row in rows.values())
    ratio = [name.strip() for name in head].index("MAE / trilinear's ↓")
    assert rows["trilinear-x4"][ratio].strip() == "1.00 ± 0.00"
    assert float(rows["trilinear + consistency"][ratio].split("±")[0]) < 1
    assert rows["relaxed-isotropic-x4"] == rows["relaxed-isotropic-x4, seed 3"]
    assert "over training seeds, mean and standard deviation: relaxed-isotropic-x4 0." in one
    assert int(rows["relaxed-isotropic-x4"][1].replace(",", "")) == 2460
    assert (tmp_path / "weights" / "TABLE.png").stat().st_size > 10_000
    times = StoredRun(tmp_path / "data" / "isotropic-16-seed101").times
    assert main(command) == 0
    assert StoredRun(tmp_path / "data" / "isotropic-16-seed101").times == times
    assert (tmp_path / "weights" / "TABLE.md").read_text() == text


def test_a_model_trained_on_a_held_out_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny(monkeypatch)
    catalogue = Catalogue(tmp_path / "weights")
    network = SuperResolution(Network(Architecture("relaxed", "O", 1, 1)))
    trained = {"data": [{"run": "isotropic-16-seed101", "seed": 101}]}
    catalogue.save(network, describe(network, flow="isotropic", trained=trained))
    with pytest.raises(SystemExit):
        main(["table", "--flows", "isotropic", "--data", f"{tmp_path}/data", "--weights", f"{tmp_path}/weights"])
    assert "relaxed-isotropic-x4 was trained on isotropic-16-seed101" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ({"mean": 0.12515, "std": 0.0098}, "0.125 ± 0.010"),
        ({"mean": 1.6, "std": 0.05}, "1.60 ± 0.05"),
        ({"mean": 0.0192, "std": 0.0026}, "0.0192 ± 0.0026"),
        ({"mean": 0.0192}, "0.0192"),  # of one snapshot
        ({"mean": 1e-7, "std": 0.0}, "1e-07"),
        ({"mean": 0.0, "std": 0.0}, "0"),
    ],
)
def test_numbers_are_shown_to_three_digits(found: dict[str, float], wanted: str) -> None:
    assert table.shown(found) == wanted


def test_spread_over_training_seeds_leaves_other_widths_alone() -> None:
    rows = {"tricubic": 0.7, "conv-x4": 0.2, "conv-x4, 24 channels": 0.3, "relaxed-x4": 0.1, "relaxed-x4, seed 1": 0.3}
    assert table.over_seeds(rows) == [
        "MAE / trilinear's over training seeds, mean and standard deviation: relaxed-x4 0.200 ± 0.141 (2)."
    ]
    assert table.over_seeds({"tricubic": 0.7}) == []
