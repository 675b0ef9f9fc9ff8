"""Three numbers that characterise a coarse velocity, whatever its units and its mean.

They show whether a model has learned to predict its errors on such fields:

- ``roughness``: rms second difference over rms first difference along the axes. Near 0 where the grid resolves
  everything already, sqrt(3) for white noise.
- ``skewness``: of differences of a component along its own axis (Monin & Yaglom, Statistical Fluid Mechanics 2, section
  12). Turbulence has it below zero, as it stretches vortices; phases drawn at random have none.
- ``divergence``: rms of the divergence over the rms of the nine gradients, from cell to cell, as if cells were cubes.
  Small where the flow is incompressible, 1 / sqrt(3) where the components know nothing of each other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Velocity = Float[np.ndarray[Any, Any], "3 z y x"]
# About how many cells there are to each independent sample of their differences.
CORRELATED = 4.0
# How far outside of the range a trait may be, relative to the end of the range.
MARGIN = 0.1


def traits(velocity: Velocity) -> dict[str, float]:
    """Roughness, skewness and divergence of a velocity of at least 4 cells along each axis; NaN where it is uniform.

    The skewness is the mean over the components that vary along their own axes.
    """
    u = np.asarray(velocity, np.float64)
    first, second, third, along = [], [], [], []
    for axis in (1, 2, 3):
        difference = np.diff(u, axis=axis)
        first.append(np.square(difference).mean())
        second.append(np.square(np.diff(difference, axis=axis)).mean())
        own = difference[3 - axis] - difference[3 - axis].mean()
        third.append((own**3).mean())
        along.append(np.square(own).mean())
    inside = (slice(None), *[slice(1, -1)] * 3)
    # By x, y, z, so that the component of an axis has its number.
    gradients = [(np.roll(u, -1, axis)[inside] - np.roll(u, 1, axis)[inside]) / 2 for axis in (3, 2, 1)]
    divergence = np.square(sum(gradients[axis][axis] for axis in range(3))).mean()
    varies = np.array(along) > 0
    skewness = np.array(third)[varies] / np.array(along)[varies] ** 1.5
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "roughness": float(np.sqrt(np.sum(second) / np.sum(first))),
            "skewness": float(np.sum(skewness) / len(skewness)),
            "divergence": float(np.sqrt(divergence / np.square(gradients).mean((-3, -2, -1)).sum())),
        }


def ranges(fields: Iterable[Velocity]) -> dict[str, list[float]]:
    """The least and the largest value of each trait over the fields that have it; fluids at rest have none."""
    found: dict[str, list[float]] = {}
    for field in fields:
        for name, value in traits(field).items():
            if math.isfinite(value):
                found.setdefault(name, []).append(value)
    return {name: [round(min(values), 4), round(max(values), 4)] for name, values in found.items()}


def unlike(found: Mapping[str, float], learned: Mapping[str, list[float]], cells: int) -> dict[str, str]:
    """Traits outside of the ranges that a model has learned from, and whether they are ``low`` or ``high``.

    Args:
        found: of a field.
        learned: the [`ranges`][models.metrics.traits.ranges] of what a model has learned from.
        cells: of the field; the fewer they are, the less its skewness says.
    """
    # Of n independent samples of a normal distribution the skewness has a standard deviation of sqrt(6 / n).
    uncertain = {"skewness": math.sqrt(6 * CORRELATED / max(3 * cells, 1))}
    outside = {}
    for name, (low, high) in learned.items():
        if name not in found:
            continue
        room = uncertain.get(name, 0.0)
        if found[name] < low - MARGIN * abs(low) - room:
            outside[name] = "low"
        elif found[name] > high + MARGIN * abs(high) + room:
            outside[name] = "high"
    return outside
