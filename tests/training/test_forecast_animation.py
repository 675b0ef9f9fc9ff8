"""The moving picture of a forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from training.__main__ import main
from training.forecast_animation import vorticity

if TYPE_CHECKING:
    from pathlib import Path


def test_a_model_is_shown_on_its_sample(tmp_path: Path) -> None:
    path = tmp_path / "forecast.gif"
    assert main(["forecast-animation", "--out", str(path)]) == 0
    assert path.stat().st_size < 1e6
    with Image.open(path) as found:
        first = np.asarray(found.convert("RGB"))
        found.seek(29)
        truth, forecast, _ = np.array_split(np.asarray(found.convert("RGB")), 3, axis=1)
    assert (first != 255).any()
    assert not np.array_equal(truth, forecast)


def test_vorticity_of_a_solid_rotation_is_twice_its_rate() -> None:
    y, x = np.mgrid[:4, :5].astype(np.float32)
    assert np.allclose(vorticity(np.stack((-3 * y, 3 * x))), 6)
