"""Block means, and trilinear interpolation: from fine to coarse and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch.nn import functional

from models.layers import NOWHERE, Axes, crop, wrap

if TYPE_CHECKING:
    from torch import Tensor

FACTOR = 4


def coarsen(fine: Float[Tensor, "*lead z y x"], factor: int = 4) -> Float[Tensor, "*lead z2 y2 x2"]:
    """The mean over blocks of ``factor``^3 cells, which commutes with every rotation and reflection.

    Raises:
        ValueError: if an axis is not a whole number of blocks long.
    """
    cells = fine.shape[-3:]
    if any(n % factor for n in cells):
        message = f"every axis must be a multiple of {factor} cells long, got {tuple(cells)}"
        raise ValueError(message)
    lead = fine.shape[:-3]
    return functional.avg_pool3d(fine.reshape(-1, 1, *cells), factor).reshape(*lead, *(n // factor for n in cells))


def trilinear(
    coarse: Float[Tensor, "batch component z y x"], circular: Axes = NOWHERE
) -> Float[Tensor, "batch component fine_z fine_y fine_x"]:
    """Trilinear interpolation to ``FACTOR`` times the resolution, cells centred.

    Args:
        coarse: the field, with one more cell at both ends of every axis that is not circular.
        circular: axes (z, y, x) to wrap around.
    """
    fine = functional.interpolate(wrap(coarse, circular), scale_factor=FACTOR, mode="trilinear", align_corners=False)
    return crop(fine, FACTOR)


def refine(coarse: Float[Tensor, "*lead z y x"]) -> Float[Tensor, "*lead fine_z fine_y fine_x"]:
    """Repeat every cell ``FACTOR`` times along each axis."""
    for axis in (-3, -2, -1):
        coarse = coarse.repeat_interleave(FACTOR, dim=axis)
    return coarse
