"""What the metrics of a report mean.

The words are those of ``models/metrics/meanings.py``. Neither can import the other: a test compares them.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Metric(NamedTuple):
    """What a metric of a `Report` means.

    Attributes:
        better: which values are: ``lower``, ``higher``, ``near 1`` or ``near the reference's``; empty of the reference.
        unit: ``velocity`` is the unit of the volume; ``1`` is a number without one.
        meaning: what it measures.
    """

    better: str
    unit: str
    meaning: str


METRICS: Final = {
    "mae": Metric("lower", "velocity", "mean absolute error of all components"),
    "mae_u": Metric("lower", "velocity", "mean absolute error of u"),
    "mae_v": Metric("lower", "velocity", "mean absolute error of v"),
    "mae_w": Metric("lower", "velocity", "mean absolute error of w"),
    "mae_over_rms": Metric("lower", "1", "mean absolute error over the rms of the fluctuations"),
    "relative_l2": Metric("lower", "1", "norm of the error over that of the reference about its mean"),
    "skill": Metric("higher", "1", "1 - mean square error over trilinear's: 1 is exact, 0 as good as trilinear"),
    "spectrum_error_low": Metric("lower", "1", "rms of log10 E/E_reference at scales that the coarse grid resolves"),
    "spectrum_error_high": Metric("lower", "1", "the same at the finer scales"),
    "resolved_wavenumber": Metric("higher", "1", "shell of wavenumbers from which under half of the energy is there"),
    "divergence": Metric("near the reference's", "1", "rms of the divergence over that of the velocity gradient"),
    "divergence_reference": Metric("", "1", "the same of the reference"),
    "kinetic_energy_ratio": Metric("near 1", "1", "kinetic energy of the fluctuations over the reference's"),
    "enstrophy_ratio": Metric("near 1", "1", "enstrophy over the reference's"),
    "dissipation_ratio": Metric("near 1", "1", "dissipation over the reference's"),
    "skewness": Metric("near the reference's", "1", "skewness of du/dx, dv/dy, dw/dz; about -0.5 in turbulence"),
    "flatness": Metric("near the reference's", "1", "flatness of du/dx, dv/dy, dw/dz; 3 of Gaussian noise"),
    "consistency": Metric("lower", "1", "how far the block mean of the answer is from the coarse volume"),
    "mae_near_wall": Metric("lower", "velocity", "mean absolute error in the coarse cells next to walls"),
    "mean_profile_error": Metric("lower", "1", "error of the profile of the mean velocity between walls"),
    "stress_profile_error": Metric("lower", "1", "error of the profiles of the Reynolds stresses between walls"),
}
