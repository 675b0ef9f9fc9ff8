"""Fields for pictures, derived from a part of a velocity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from service.formats.error import ERROR
from service.formats.grid import length_of
from service.formats.names import COMPONENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.volumes.view import View

    Values = NDArray[np.float32]

FieldName = Literal["u", "v", "w", "speed", "vorticity", "q", "error"]


def spacing_of(view: View, cells: Sequence[int]) -> list[float]:
    """Of a grid over the volume of a view, along (z, y, x)."""
    return [length / n for length, n in zip(length_of(view.source), cells, strict=True)]


def derive(velocity: NDArray[np.float32], field: FieldName, spacing: Sequence[float]) -> NDArray[np.float32]:
    """A field of a velocity (3, z, y, x), with its expected error as a fourth component if that is asked for.

    Args:
        velocity: in any unit.
        field: ``vorticity`` is |curl u|; ``q`` is (|W|^2 - |S|^2) / 2 with W and S the antisymmetric and symmetric
            parts of du_i/dx_j, positive where rotation prevails (Hunt, Wray & Moin 1988).
        spacing: of the cells along (z, y, x).
    """
    stored = (*COMPONENTS, ERROR)
    if field in stored:
        component: NDArray[np.float32] = velocity[stored.index(field)]
        return component
    if field == "speed":
        speed: NDArray[np.float32] = np.sqrt(np.square(velocity[:3]).sum(axis=0))
        return speed
    # du_i/dx_j with j running over (x, y, z), as i does over (u, v, w).
    gradient = np.stack([_slope(velocity[:3], 2 - j, spacing[2 - j]) for j in range(3)], axis=1)
    if field == "q":
        q: NDArray[np.float32] = -np.einsum("ij...,ji...->...", gradient, gradient) / 2
        return q
    curl = [gradient[2, 1] - gradient[1, 2], gradient[0, 2] - gradient[2, 0], gradient[1, 0] - gradient[0, 1]]
    vorticity: NDArray[np.float32] = np.sqrt(np.square(curl).sum(axis=0))
    return vorticity


def _slope(values: NDArray[np.float32], axis: int, spacing: float) -> NDArray[np.float32]:
    n = values.shape[1 + axis]
    if n == 1:
        return np.zeros_like(values)
    slope: NDArray[np.float32] = np.gradient(values, np.float32(spacing), axis=1 + axis, edge_order=min(2, n - 1))
    return slope


def mean(values: Values, step: int) -> Values:
    """Means over ``step`` cells along every axis; over those that there are at the ends."""
    if step == 1:
        return values
    for axis in range(values.ndim):
        starts = range(0, values.shape[axis], step)
        counts = np.diff([*starts, values.shape[axis]]).astype(np.float32)
        counts = np.expand_dims(counts, [each for each in range(values.ndim) if each != axis])
        values = np.divide(np.add.reduceat(values, starts, axis=axis), counts, dtype=np.float32)
    return values
