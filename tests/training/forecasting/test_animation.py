"""The moving picture of a forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from training.forecasting.animation import draw, vorticity

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_each_frame_is_a_picture_of_its_own(tmp_path: Path) -> None:
    truth = np.random.default_rng(0).standard_normal((4, 2, 8, 8), np.float32)
    draw(tmp_path / "forecast.gif", truth, -truth[2:], "relaxed")
    with Image.open(tmp_path / "forecast.gif") as film:
        pictures = {frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(film)}
    assert len(pictures) == len(truth)


def test_a_bar_says_what_the_colours_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, save = list[Figure](), FuncAnimation.save

    def keep(film: Any, *args: Any, **options: Any) -> None:  # noqa: ANN401 passed on
        drawn.append(film._fig)
        save(film, *args, **options)

    monkeypatch.setattr(FuncAnimation, "save", keep)
    truth = np.random.default_rng(0).standard_normal((4, 2, 8, 8), np.float32)
    draw(tmp_path / "forecast.gif", truth, -truth[2:], "relaxed-smoke")
    assert "vorticity, per frame" in [axes.get_ylabel() for axes in drawn[0].axes]
    assert "relaxed-smoke" in [str(line.get_label()) for axes in drawn[0].axes for line in axes.lines]


def test_vorticity_of_a_solid_rotation_is_twice_its_rate() -> None:
    y, x = np.mgrid[:4, :5].astype(np.float32)
    assert np.allclose(vorticity(np.stack((-3 * y, 3 * x))), 6)
