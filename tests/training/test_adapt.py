"""Adapting begins as its parent, keeps data back, and stores what is better under a name of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.blocks import PERIODIC
from models.catalogue import Catalogue, describe
from models.convolution import EVERYWHERE
from models.group import MIRROR, rotate_vector
from models.networks import Architecture, Network
from models.superresolution import SuperResolution
from tests.training.stored import write
from training.__main__ import main
from training.adapt import descend, tell_symmetry
from training.dataset import StoredRun
from training.derived import parted
from training.recordings import Recording
from training.samples import Source

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from models.held_out import HeldOut

PARENT = "equivariant-general-x4"


def store(folder: Path, snapshots: int, n: int = 16) -> Path:
    """A run of smooth random fields that are strong along x, which no rotation keeps."""
    return write(folder, 0, snapshots, n, flow="mine", scale=(3.0, 1.0, 0.3))


def empty(_level: int, _where: tuple[slice, slice, slice]) -> NDArray[np.float32]:
    return np.zeros((3, 0, 0, 0), np.float32)


@pytest.fixture
def weights(tmp_path: Path) -> Catalogue:
    torch.manual_seed(0)
    catalogue = Catalogue(tmp_path / "weights")
    model = SuperResolution(Network(Architecture("equivariant", "O", 1, 1)))
    trained = {"data": [{"run": "a@2"}], "parent_data": ["b"]}
    catalogue.save(model, describe(model, flow="general", trained=trained, uncertainty={"data": ["c"]}))
    return catalogue


def test_a_relaxed_descendant_begins_as_the_same_function(weights: Catalogue) -> None:
    parent = weights.trained(PARENT)
    coarse = torch.randn(1, 1, 3, 5, 5, 5)
    for family in ("relaxed", "equivariant"):
        child = descend(parent, family)
        assert child.family == family
        torch.testing.assert_close(child(coarse, EVERYWHERE), parent(coarse, EVERYWHERE))


def test_a_mirrored_descendant_answers_with_the_mean_over_mirror_images(weights: Catalogue) -> None:
    parent = weights.trained(PARENT)
    child = descend(parent, "relaxed", mirrored=True)
    coarse = torch.randn(1, 1, 3, 5, 5, 5)
    answer, image = (parent(each, EVERYWHERE) for each in (coarse, rotate_vector(coarse, MIRROR)))
    assert (answer - rotate_vector(image, MIRROR)).abs().max() > 1e-2
    # Not quite equal, as residuals are bounded after the mean is taken.
    torch.testing.assert_close(
        child(coarse, EVERYWHERE), (answer + rotate_vector(image, MIRROR)) / 2, atol=1e-2, rtol=0
    )
    again = descend(child, "relaxed").network
    assert again is not None
    assert again.architecture.mirrored


def test_a_descendant_of_another_kind_is_refused(weights: Catalogue) -> None:
    with pytest.raises(ValueError, match="conv cannot begin from one that is equivariant"):
        descend(weights.trained(PARENT), "conv")
    with pytest.raises(ValueError, match="no weights to begin from"):
        descend(SuperResolution(), "relaxed")


def test_a_single_snapshot_is_cut_and_its_end_kept_back(tmp_path: Path, weights: Catalogue) -> None:
    model = descend(weights.trained(PARENT), "relaxed")
    run = StoredRun(store(tmp_path / "one", 1, n=96))
    learned, kept = parted([run], model.frames, model.factor)
    assert [part.cells for part in (*learned, *kept)] == [(72, 96, 96), (24, 96, 96)]
    source = Source(learned, halo=model.halo, factor=4, augment=False, device="cpu", seed=0, kept=kept)
    ((sample,),) = source.validation().values()
    assert torch.equal(sample.fine[0], torch.from_numpy(np.array(run[0][:, 72:])))
    assert sample.circular == (False, True, True)
    shapes = {source.draw().coarse.shape for _ in range(4)}
    assert shapes <= {(1, 1, 3, cells + 2 * model.halo, 24, 24) for cells in (17, 18)}  # begun at any fine cell


def test_all_levels_of_one_sample_of_three_frames_are_learned_from(tmp_path: Path) -> None:
    """Of four levels, no two samples of three are apart."""

    def read(level: int, where: tuple[slice, slice, slice]) -> NDArray[np.float32]:
        ripples = np.resize([-0.5, 0.5], 96)[:, None, None]
        return (level + np.broadcast_to(ripples, (3, 96, 8, 8)).astype(np.float32))[:, *where]

    run = Recording(tmp_path / "mine.nc", "mine", PERIODIC, (1.0, 1.0, 1.0), (96, 8, 8), 4, read)
    model = SuperResolution(Network(Architecture("equivariant", "O", 1, 1, frames=3)))
    learned, kept = parted([run], model.frames, model.factor)
    source = Source(learned, halo=1, factor=4, frames=3, augment=False, device="cpu", seed=0, kept=kept)
    assert {float(source.draw().fine.mean()) for _ in range(20)} == {1.0, 2.0}
    assert len(source.validation()["mine"]) == 2


def test_the_symmetry_is_that_of_a_patch_of_the_last_snapshot(
    tmp_path: Path, weights: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.adapt.PATCH", 2)
    run = StoredRun(store(tmp_path / "mine", 3))
    seen = []

    def look(_catalogue: Catalogue, _name: str, _model: SuperResolution, sample: HeldOut) -> dict[str, Any]:
        seen.append(sample)
        return {}

    monkeypatch.setattr("training.adapt.read_symmetry", look)
    tell_symmetry(weights, weights.card(PARENT), weights.trained(PARENT), run)
    assert np.array_equal(seen[0].fine, run[-1][:, :8, :8, :8])
    assert seen[0].boundary == ("open", "open", "open")


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    message = "one has 16 cells along z; expected at least 88 along its longest axis without walls, so that a part"
    with pytest.raises(ValueError, match=message):
        parted([StoredRun(store(tmp_path / "one", 1))], 1, 4)
    run = Recording(tmp_path / "mine.npy", "mine", PERIODIC, (1.0, 1.0, 1.0), (8, 8, 98), 1, empty)
    with pytest.raises(ValueError, match=r"mine has \(8, 8, 98\) cells along z, y, x; each must be a multiple of 4"):
        parted([run], 1, 4)
    for coarse in range(22, 40):
        run = Recording(tmp_path / "mine.npy", "mine", PERIODIC, (1.0, 1.0, 1.0), (4, 4 * coarse, 4), 1, empty)
        (learned,), (kept,) = parted([run], 1, 4)
        assert learned.cells[1] % 4 == 0
        assert learned.cells[1] + kept.cells[1] == 4 * coarse
        assert 24 <= kept.cells[1] < learned.cells[1]


def test_a_single_snapshot_is_never_cut_along_walls_that_move(tmp_path: Path, weights: Catalogue) -> None:
    model = descend(weights.trained(PARENT), "relaxed")
    folder = store(tmp_path / "one", 1, n=96)
    description = json.loads((folder / "run.json").read_text())
    for boundary, axis in ((("wall:u=0..1", "periodic", "wall"), 1), (("wall:u=0..1", "wall", "wall"), None)):
        (folder / "run.json").write_text(json.dumps({**description, "boundary": boundary}))
        if axis is None:
            with pytest.raises(ValueError, match="walls all round"):
                parted([StoredRun(folder)], model.frames, model.factor)
        else:
            learned, _ = parted([StoredRun(folder)], model.frames, model.factor)
            assert learned[0].cells.index(72) == axis


@pytest.mark.parametrize(
    ("wider", "mirrored", "name"), [(1, [], "relaxed-mine-x4"), (2, ["--mirrored"], "relaxed-mine-wide-x4")]
)
def test_what_is_better_is_stored_with_its_parent_and_gain(
    tmp_path: Path, weights: Catalogue, wider: int, mirrored: list[str], name: str
) -> None:
    options = ["--data", str(store(tmp_path / "mine", 3)), "--name", "mine", "--weights", str(weights.folder)]
    options += ["--steps", "60", "--relaxation-steps", "10", "--threads", "1", "--out", str(tmp_path / "out")]
    assert main(["adapt", *options, *mirrored, "--wider", str(wider), "--deeper", "1"]) == 0
    card = weights.card(name)
    assert card.architecture is not None
    assert card.architecture["blocks"] == 2  # one more than the parent
    assert (card.flow, card.architecture["fields"]) == ("mine", wider)
    assert (card.group, card.architecture["mirrored"]) == (("Oh", True) if mirrored else ("O", False))
    assert card.trained["parent"] == PARENT
    assert card.trained["parent_sha256"] == weights.card(PARENT).sha256
    assert card.trained["parent_data"] == ["a", "b", "c"]
    assert card.trained["gain"]["adapted"] < card.trained["gain"]["parent"]
    assert card.symmetry["equivariance_error"]["x,y,z"] < 1e-5 < card.symmetry["equivariance_error"]["y,-x,z"]
    assert weights.trained(name).network is not None


def test_a_deeper_network_is_compared_with_its_parent_between_walls(
    tmp_path: Path, weights: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its halo is wider than that of its parent."""
    folder = store(tmp_path / "mine", 3)
    description = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**description, "boundary": ("periodic", "wall", "periodic")}))
    options = ["--data", str(folder), "--name", "mine", "--weights", str(weights.folder), "--steps", "1"]
    main(["adapt", *options, "--deeper", "1", "--threads", "1", "--out", str(tmp_path / "out")])
    assert "MAE over trilinear's on held-out data" in capsys.readouterr().out


def test_a_card_has_all_steps_of_a_model_that_was_trained_on_under_its_own_name(
    tmp_path: Path, weights: Catalogue
) -> None:
    options = ["--data", str(store(tmp_path / "mine", 3)), "--family", "equivariant", "--weights", str(weights.folder)]
    options += ["--threads", "1", "--checks", "0"]
    assert main(["adapt", *options, "--name", "mine", "--steps", "40", "--out", str(tmp_path / "first")]) == 0
    first = weights.card("equivariant-mine-x4")
    options += ["--from", first.name, "--overwrite"]
    assert main(["adapt", *options, "--name", "mine", "--steps", "30", "--out", str(tmp_path / "second")]) == 0
    card = weights.card(first.name)
    assert card.sha256 != first.sha256
    assert card.trained["steps"] == 70
    assert card.trained["minutes"] >= first.trained["minutes"]
    for key in ("parent", "parent_sha256"):
        assert card.trained[key] == first.trained[key]


def test_a_model_is_not_replaced_unless_told(
    tmp_path: Path, weights: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    before = weights.card(PARENT)
    options = ["--data", str(store(tmp_path / "mine", 3)), "--name", "general", "--family", "equivariant"]
    with pytest.raises(SystemExit):
        main(["adapt", *options, "--weights", str(weights.folder), "--out", str(tmp_path / "out")])
    assert "has a model equivariant-general-x4 already" in capsys.readouterr().err
    assert weights.card(PARENT) == before


def test_the_name_of_a_wide_network_is_given_without_wide(
    tmp_path: Path, weights: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(store(tmp_path / "mine", 3)), "--name", "mine-wide", "--wider", "2"]
    with pytest.raises(SystemExit):
        main(["adapt", *options, "--weights", str(weights.folder), "--out", str(tmp_path / "out")])
    assert "--name: mine-wide; expected it without -wide" in capsys.readouterr().err


def test_what_is_not_better_is_not_stored(tmp_path: Path, weights: Catalogue) -> None:
    options = ["--data", str(store(tmp_path / "mine", 3)), "--name", "mine", "--weights", str(weights.folder)]
    options += ["--steps", "1", "--rate", "0", "--relaxation-rate", "1e-30", "--out", str(tmp_path / "out")]
    assert main(["adapt", *options]) == 1
    assert weights.names() == [PARENT, "trilinear-x4"]


def test_another_parent_of_the_same_name_is_refused(
    tmp_path: Path, weights: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training does not go on from the one that was replaced."""
    options = ["--data", str(store(tmp_path / "mine", 3)), "--name", "mine", "--weights", str(weights.folder)]
    command = ["adapt", *options, "--steps", "2", "--out", str(tmp_path / "out"), "--overwrite"]
    main(command)
    model = SuperResolution(Network(Architecture("equivariant", "O", 1, 1)))
    weights.save(model, describe(model, flow="general"))
    with pytest.raises(SystemExit):
        main(command)
    assert f"'parent_sha256': '{weights.card(PARENT).sha256}'}}; use another --out" in capsys.readouterr().err


def test_held_out_data_at_rest_are_refused_before_training(
    tmp_path: Path, weights: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = store(tmp_path / "mine", 3), tmp_path / "out"
    np.save(folder / "snapshot-0002.npy", np.zeros((3, 16, 16, 16), np.float32))
    options = ["--data", str(folder), "--name", "mine", "--weights", str(weights.folder), "--out", str(out)]
    with pytest.raises(SystemExit):
        main(["adapt", *options])
    assert "trilinear interpolation is exact on what is held out: mine; expected data that vary" in (
        capsys.readouterr().err
    )
    assert not list(out.iterdir())
    other = store(tmp_path / "other", 3)
    assert main(["adapt", *options, "--data", str(folder), str(other), "--steps", "60", "--threads", "1"]) == 0
    assert weights.card("relaxed-mine-x4").trained["gain"]["parent"] > 0


def test_what_a_run_breaks_is_read_from_relaxation_weights(
    tmp_path: Path, weights: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = store(tmp_path / "mine", 8), tmp_path / "found"
    options = ["--from", PARENT, "--weights", str(weights.folder), "--threads", "1", "--out", str(out)]
    assert main(["discover", "--run", str(run), *options]) == 0
    found = json.loads((out / "mine-adaptation.json").read_text())
    with pytest.raises(SystemExit):
        main(["discover", "--run", str(store(tmp_path / "one", 1)), *options])
    assert "has 1 snapshots; expected at least 2" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["discover", "--run", str(run), "--from", "trilinear-x4", "--weights", str(weights.folder)])
    assert "--from: a model that is trilinear; expected one that is equivariant" in capsys.readouterr().err
    np.save(run / "snapshot-0003.npy", np.zeros((3, 16, 16, 16), np.float32))
    assert main(["discover", "--run", str(run), *options]) == 0
    at_rest = json.loads((out / "mine-adaptation.json").read_text())["adaptation"]
    assert np.isfinite(list(at_rest.values())).all()
    half_turns, others = ["x,-y,-z", "-x,y,-z", "-x,-y,z"], ["y,-x,z", "y,z,x", "z,y,-x"]
    shares = found["adaptation"]
    assert max(shares[element] for element in half_turns) < 0.1 < min(shares[element] for element in others)
