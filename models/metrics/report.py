"""All metrics of a super-resolved field, compared with the true one.

Fields are velocity, (3, z, y, x) with components (u, v, w), on uniform cell-centred grids. Everything is computed in
double precision, whatever the input. Each metric takes a volume part by part, so that the same code measures a volume
in memory and one of any size on a disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor  # noqa: TC002 the tests check shapes at run time

from models.blocks import CUBE, PERIODIC
from models.metrics.compare import Value, compare

if TYPE_CHECKING:
    import numpy as np

    from models.blocks import Boundaries, Read


# Cells that are processed at a time.
SLAB = 1 << 18


def report(
    answer: Float[Tensor, "3 z y x"],
    reference: Float[Tensor, "3 z y x"],
    coarse: Float[Tensor, "3 coarse_z coarse_y coarse_x"],
    *,
    baseline: Float[Tensor, "3 z y x"] | None = None,
    boundary: Boundaries = PERIODIC,
    length: tuple[float, float, float] = CUBE,
) -> dict[str, Value]:
    """Every metric of an answer in memory, computed on the CPU; see [`compare`][models.metrics.compare.compare].

    Args:
        answer: the super-resolved field.
        reference: the true field.
        coarse: what the answer was made from.
        baseline: trilinear interpolation of ``coarse``, for the skill.
        boundary: of each axis (z, y, x).
        length: of each axis (z, y, x).
    """
    _, nz, ny, nx = answer.shape
    return compare(
        _reader(answer),
        _reader(reference),
        _reader(coarse),
        None if baseline is None else _reader(baseline),
        cells=(nz, ny, nx),
        boundary=boundary,
        length=length,
        factor=nx // coarse.shape[-1],
        slab=SLAB,
    )


def _reader(field: Float[Tensor, "3 z y x"]) -> Read[np.floating]:
    values = field.numpy(force=True)
    return lambda z, y, x: values[:, z, y, x]
