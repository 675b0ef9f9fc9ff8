"""The figure of the demonstration."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from examples.demo import LINES, MODELS, draw_spectra


def test_no_spectrum_hides_another() -> None:
    """Those that are solid become narrower, and those above them have gaps."""
    field = np.random.default_rng(0).standard_normal((3, 8, 8, 8)).astype(np.float32)
    axes = Figure().subplots()
    draw_spectra(axes, field, dict.fromkeys(MODELS, field), nyquist=2)
    true, *drawn = axes.lines[: 1 + len(LINES)]
    assert {line.get_label() for line in drawn} == set(MODELS.values())
    solid = [true, *(line for line in drawn if line.get_linestyle() == "-")]
    widths = [line.get_linewidth() for line in solid]
    assert widths == sorted(set(widths), reverse=True)
    assert drawn[-1].get_linestyle() == "--"
