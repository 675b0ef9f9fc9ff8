"""The moving picture of a forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageSequence

from training.forecasting.animation import draw, vorticity

if TYPE_CHECKING:
    from pathlib import Path


def test_each_frame_is_a_picture_of_its_own(tmp_path: Path) -> None:
    truth = np.random.default_rng(0).standard_normal((4, 2, 8, 8), np.float32)
    draw(tmp_path / "forecast.gif", truth, -truth[2:], "relaxed")
    with Image.open(tmp_path / "forecast.gif") as film:
        pictures = {frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(film)}
    assert len(pictures) == len(truth)


def test_vorticity_of_a_solid_rotation_is_twice_its_rate() -> None:
    y, x = np.mgrid[:4, :5].astype(np.float32)
    assert np.allclose(vorticity(np.stack((-3 * y, 3 * x))), 6)
