"""How far answers are from the truth, computed as ``models.metrics`` defines it."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from models import metrics
from service.errors import unfit
from service.layouts import AXES, FACTOR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from models.blocks import Boundaries
    from models.metrics import Value
    from service.layouts import Volume

Metrics = dict[str, "float | list[float] | None"]
TRILINEAR = "trilinear-x4"


def coarsened(reference: Volume) -> Volume:
    """The block means of a volume, on the grid of the coarse cells.

    Raises:
        Problem: 422 if an axis is not a whole number of coarse cells long.
    """
    for axis, n in zip(AXES, reference.cells, strict=True):
        if n % FACTOR:
            raise unfit(
                field="reference.shape",
                value=list(reference.cells),
                expected=f"a multiple of {FACTOR} cells along {axis}",
            )
    return dataclasses.replace(
        reference,
        velocity=metrics.coarsen(torch.from_numpy(reference.velocity), FACTOR).numpy(),
        coordinates=tuple(
            None if values is None else values.reshape(-1, FACTOR).mean(axis=1) for values in reference.coordinates
        ),
    )


def targets(reference: Volume, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """What answers are held against, (sample, 3, z, y, x): the middle one of as many levels as make one answer.

    Args:
        reference: one level for each answer, or for each level that went into a single answer.
        samples: what the answers are made from, (sample, frame, 3, z, y, x).

    Raises:
        Problem: 422 if there is not one for each answer.
    """
    levels = len(reference.velocity)
    answers, frames = samples.shape[:2]
    if answers == 1 and levels == frames:
        return reference.velocity[frames // 2 :][:1]
    if levels != answers:
        raise unfit(field="reference.levels", value=levels, expected=f"{answers}, one for each level of the answer")
    return reference.velocity


def measure(
    answers: NDArray[np.float32],
    references: NDArray[np.float32],
    coarse: NDArray[np.float32],
    baselines: NDArray[np.float32],
    boundary: Boundaries,
    length: tuple[float, float, float],
) -> Metrics:
    """All metrics, each the mean over samples.

    Args:
        answers: (sample, 3, 4 z, 4 y, 4 x).
        references: the same.
        coarse: what the answers are made from, (sample, 3, z, y, x).
        baselines: what trilinear interpolation makes of it, like the answers.
        boundary: of each axis (z, y, x).
        length: of each axis (z, y, x).
    """
    rows = [
        metrics.report(
            *map(torch.from_numpy, (answer, reference, source)), baseline=plain, boundary=boundary, length=length
        )
        for answer, reference, source, plain in zip(
            answers, references, coarse, map(torch.from_numpy, baselines), strict=True
        )
    ]
    return mean_of(rows)


def mean_of(rows: Sequence[Mapping[str, Value]]) -> Metrics:
    """The mean of every metric over samples."""
    return {name: _mean([row[name] for row in rows]) for name in rows[0]}


def _mean(values: Sequence[Value]) -> float | list[float] | None:
    """The mean of numbers or, entry by entry, of lists; None where there is none, as JSON has no NaN."""
    if any(value is None for value in values):
        return None
    mean = np.mean(np.array(values, dtype=np.float64), axis=0)
    if not np.isfinite(mean).all():
        return None
    return [float(part) for part in mean] if mean.ndim else float(mean)


def close(value: object, to: object, tolerance: float) -> bool:
    """Whether two numbers agree, relatively; what is no number agrees with nothing."""
    return isinstance(value, float) and isinstance(to, float) and math.isclose(value, to, rel_tol=tolerance)
