"""Scores of answers, computed by ``models.metrics``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch

from models.metrics.report import report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from models.blocks import Boundaries
    from models.metrics.compare import Value


Metrics = dict[str, "float | list[float | None] | None"]
# An error within this relative distance of the card's reproduces it.
TOLERANCE: Final = 0.005


class Scores(NamedTuple):
    """Metrics of a model and, beside them, of trilinear interpolation.

    Attributes:
        model: of the model.
        trilinear: of trilinear interpolation.
        expected_mae: the error that the model expects; None if it predicts none.
    """

    model: Metrics
    trilinear: Metrics
    expected_mae: float | None


class Expectation(NamedTuple):
    """How good an answer is expected to be.

    Attributes:
        expected_mae: mean of the errors that the model predicts.
        correction: mean of |answer - trilinear interpolation|.
        expected_mae_over_correction: the first over the second; None where there is no correction.
    """

    expected_mae: float
    correction: float
    expected_mae_over_correction: float | None

    @classmethod
    def of(cls, fine: NDArray[np.float32], trilinear: NDArray[np.float32]) -> Expectation:
        """From answers with their errors, (sample, 4, fine z, fine y, fine x), and their interpolations."""
        error = float(fine[:, 3:].mean(dtype=np.float64))
        correction = float(np.abs(fine[:, :3] - trilinear).mean(dtype=np.float64))
        return cls(error, correction, error / correction if correction else None)


def mean_error(fine: NDArray[np.float32]) -> float | None:
    """Mean of the errors that a model predicts, (sample, 4, fine z, fine y, fine x); None without this channel."""
    return float(fine[:, 3:].mean(dtype=np.float64)) if fine.shape[1] > 3 else None  # noqa: PLR2004 u, v, w


def measure(
    answers: NDArray[np.float32],
    references: NDArray[np.float32],
    coarse: NDArray[np.float32],
    baselines: NDArray[np.float32],
    boundary: Boundaries,
    length: tuple[float, float, float],
) -> Metrics:
    """All metrics, each the mean over the samples that have it.

    Args:
        answers: (sample, 3, fine z, fine y, fine x).
        references: of the same shape.
        coarse: what the answers are made from, (sample, 3, z, y, x).
        baselines: its trilinear interpolation, of the shape of the answers.
        boundary: of each axis (z, y, x).
        length: of each axis (z, y, x).
    """
    rows = [
        report(*map(torch.from_numpy, (answer, reference, source)), baseline=plain, boundary=boundary, length=length)
        for answer, reference, source, plain in zip(
            answers, references, coarse, map(torch.from_numpy, baselines), strict=True
        )
    ]
    return mean_of(rows)


def mean_of(rows: Sequence[Mapping[str, Value]]) -> Metrics:
    """The mean of every metric over the samples that have it."""
    return {name: _mean([row[name] for row in rows]) for name in rows[0]}


def _mean(values: Sequence[Value]) -> float | list[float | None] | None:
    """The mean of what is finite of numbers or, entry by entry, of lists; None where nothing is."""
    mean: float | list[float | None] | None
    mean = np.ma.masked_invalid(np.array(values, dtype=np.float64)).mean(axis=0).tolist()
    return mean


def close(value: object, to: object, tolerance: float = TOLERANCE) -> bool:
    """Whether two numbers agree, relatively; anything else agrees with nothing."""
    return isinstance(value, float) and isinstance(to, float) and math.isclose(value, to, rel_tol=tolerance)
