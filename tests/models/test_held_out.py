"""Held-out samples come back as they were written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.catalogue import GENERAL, Catalogue
from models.held_out import HeldOut, HeldOutSamples

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = HeldOut(np.ones((1, 3, 1, 1, 1), np.float32), np.full((3, 4, 4, 4), 2, np.float32))


def test_held_out_sample(tmp_path: Path) -> None:
    samples = HeldOutSamples(tmp_path)
    assert samples.find("isotropic") is None
    samples.write("isotropic", SAMPLE)
    found = samples.find("isotropic")
    assert found is not None
    assert np.array_equal(found.coarse, SAMPLE.coarse)
    assert np.array_equal(found.fine, SAMPLE.fine)
    assert Catalogue(tmp_path).names() == ["trilinear-x4"]


def test_samples_of_factor_two_are_others(tmp_path: Path) -> None:
    samples = HeldOutSamples(tmp_path)
    samples.write("channel", HeldOut(np.ones((1, 3, 2, 2, 2), np.float32), np.ones((3, 4, 4, 4), np.float32)))
    assert samples.find("channel", factor=2) is not None
    assert samples.find("channel") is None


def test_general_models_are_tried_on_the_first_flow(tmp_path: Path) -> None:
    samples = HeldOutSamples(tmp_path)
    samples.write("isotropic", SAMPLE)
    assert samples.find(GENERAL) is not None
