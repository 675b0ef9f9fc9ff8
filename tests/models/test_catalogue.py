"""Weights come back as they were saved, and never as something else."""

from __future__ import annotations

import errno
import pathlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.blocks import PERIODIC
from models.catalogue import Catalogue, UnknownModelError, describe
from models.networks import Architecture, Network
from models.replacing import replacing
from models.superresolution import SuperResolution, upscale
from models.weights import WEIGHTS, CorruptWeightsError

if TYPE_CHECKING:
    from pathlib import Path

RELAXED = Architecture("relaxed", "O", 1, 1, banks=2, head=(1,))


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    model = SuperResolution(Network(RELAXED))
    card = catalogue.save(model, describe(model, flow="isotropic", trained={"seed": 3}))
    assert card.name == "relaxed-isotropic-x4"
    assert catalogue.names() == ["relaxed-isotropic-x4", "trilinear-x4"]
    assert catalogue.card(card.name) == card
    assert (card.halo, card.receptive_field) == (model.halo, 2 * model.halo + 1)
    u = np.random.default_rng(0).standard_normal((1, 3, 4, 5, 6)).astype(np.float32)
    loaded = catalogue.load(card.name)
    assert np.array_equal(upscale(loaded, u, PERIODIC), upscale(model.frozen(), u, PERIODIC))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    (tmp_path / card.name).rename(tmp_path / "mine")
    assert catalogue.card("mine").name == "mine"
    assert catalogue.load("mine").family == "relaxed"
    (tmp_path / "mine").rename(tmp_path / "größer")
    with pytest.raises(ValueError, match="name: größer; expected letters"):
        catalogue.card("größer")
    with pytest.raises(ValueError, match="name: relaxed-größer-x4; expected letters"):
        describe(model, flow="größer")


def test_three_frames_are_named(tmp_path: Path) -> None:
    model = SuperResolution(Network(Architecture("equivariant", "O", 1, 1, frames=3)))
    card = Catalogue(tmp_path).save(model, describe(model, flow="channel"))
    assert card.name == "equivariant-channel-x4-3frames"
    assert card.target == "the middle frame"


def test_models_of_factor_two(tmp_path: Path) -> None:
    """They have names and cards of their own, and come back as they were."""
    catalogue = Catalogue(tmp_path)
    model = SuperResolution(Network(Architecture("equivariant", "O", 1, 1, factor=2)))
    card = catalogue.save(model, describe(model, flow="channel"))
    assert (card.name, card.factor) == ("equivariant-channel-x2", 2)
    u = np.random.default_rng(0).standard_normal((3, 4, 5, 6)).astype(np.float32)
    for name in (card.name, "trilinear-x2"):
        assert catalogue.card(name).factor == 2
        assert upscale(catalogue.load(name), u, PERIODIC).shape == (3, 8, 10, 12)


def test_trilinear_needs_no_folder(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "nowhere")
    assert catalogue.names() == ["trilinear-x4"]
    assert catalogue.load("trilinear-x4").family == "trilinear"
    assert not catalogue.card("trilinear-x4").consistent


def test_unknown_model(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"no model '../secret'; there are trilinear-x4"):
        Catalogue(tmp_path).load("../secret")


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    model = SuperResolution(Network(RELAXED))
    card = catalogue.save(model, describe(model, flow="isotropic"))
    path = tmp_path / card.name / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptWeightsError, match="sha256"):
        catalogue.load(card.name)


def test_a_full_disk_leaves_the_stored_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, _: object) -> None:
        path.open("wb").close()
        raise OSError(errno.ENOSPC, "No space left on device")

    catalogue = Catalogue(tmp_path)
    model = SuperResolution(Network(RELAXED))
    card = catalogue.save(model, describe(model, flow="isotropic"))
    with monkeypatch.context() as patch:
        for way in ("write_bytes", "write_text"):
            patch.setattr(pathlib.Path, way, fail)
        for store in (lambda: catalogue.save(model, card), lambda: catalogue.write(card)):
            with pytest.raises(OSError, match="No space left"):
                store()
    assert catalogue.load(card.name).family == "relaxed"
    assert len(list((tmp_path / card.name).iterdir())) == 2


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    with replacing(path) as one, replacing(path) as other:
        for part, content in ((one, "first"), (other, "second")):
            part.write_text(content)
    assert path.read_text() == "first"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"family": "trilinear", "group": "O"}, "family must be conv"),
        ({"family": "conv", "group": "O"}, "group must be C1"),
        ({"family": "relaxed", "group": "C1"}, "group must be C1"),
        ({"family": "conv", "group": "C1", "frames": 2}, "frames must be 1 or 3, not 2"),
        ({"family": "conv", "group": "C1", "head": (1, 1)}, "head must have one entry at most"),
        ({"family": "conv", "group": "C1", "factor": 2, "head": (1,)}, "none for factor 2"),
        ({"family": "conv", "group": "C1", "factor": 3}, "factor must be 2 or 4, not 3"),
        ({"family": "conv", "group": "C1", "mirrored": True}, "mirrored is for the group O, not C1"),
    ],
)
def test_architectures_that_do_not_exist(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture(**{"fields": 1, **values})  # type: ignore[arg-type]
