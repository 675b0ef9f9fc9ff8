"""What each metric of a report means, in words. The client has the same; see its ``_metrics.py``."""

from __future__ import annotations

from typing import Final, NamedTuple


class Metric(NamedTuple):
    """What a metric of a report means.

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
    "mae_over_rms": Metric(
        "lower",
        "1",
        "mean absolute error relative to the rms of the true fluctuations: those about the mean of each plane across "
        "the one axis that is not periodic, else about the mean of the volume",
    ),
    "relative_l2": Metric("lower", "1", "norm of the error relative to that of the true fluctuations"),
    "skill": Metric("higher", "1", "1 - mean square error / that of trilinear: 1 is exact, 0 as good as trilinear"),
    "spectrum_error_low": Metric("lower", "1", "rms of log10 E/E_reference at scales that the coarse grid resolves"),
    "spectrum_error_high": Metric("lower", "1", "the same at finer scales"),
    "resolved_wavenumber": Metric(
        "higher", "1", "first shell of wavenumbers with less than half of the energy; in waves along the longest edge"
    ),
    "divergence": Metric(
        "near the reference's",
        "1",
        "rms of the divergence relative to the velocity gradient's, without cells at open ends",
    ),
    "divergence_reference": Metric("", "1", "divergence of the reference"),
    "kinetic_energy_ratio": Metric(
        "near 1", "1", "kinetic energy of the fluctuations, each about means of its own, relative to the reference's"
    ),
    "enstrophy_ratio": Metric("near 1", "1", "enstrophy relative to the reference's, without cells at open ends"),
    "dissipation_ratio": Metric("near 1", "1", "dissipation relative to the reference's, without cells at open ends"),
    "skewness": Metric(
        "near the reference's",
        "1",
        "skewness of du/dx, dv/dy, dw/dz, without cells at open ends; about -0.5 in turbulence",
    ),
    "skewness_reference": Metric("", "1", "skewness of the reference"),
    "flatness": Metric(
        "near the reference's", "1", "flatness of du/dx, dv/dy, dw/dz, without cells at open ends; 3 in Gaussian noise"
    ),
    "flatness_reference": Metric("", "1", "flatness of the reference"),
    "consistency": Metric("lower", "1", "difference between the block mean of the answer and the coarse volume"),
    "mae_near_wall": Metric("lower", "velocity", "mean absolute error in the coarse cells next to walls"),
    "mean_profile_error": Metric(
        "lower", "1", "error of the profile of the mean velocity along the one axis that is not periodic"
    ),
    "stress_profile_error": Metric(
        "lower", "1", "error of the profiles of the Reynolds stresses along the one axis that is not periodic"
    ),
}
