"""Baselines for the networks: classical interpolations, and the best linear estimator.

Coarse cells are means over fine ones; volumes are continued beyond their ends as blocks are. Coarse fields are
(3, z, y, x), answers (3, 4 z, 4 y, 4 x), and boundaries are those of the axes (z, y, x).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from models.blocks import collect
from models.continuation import continue_beyond, continued, driven
from models.convolution import spread
from models.operators import FACTOR, coarsen, refine, trilinear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from models.blocks import Boundaries, Boundary

    # From the cells of an axis to the matrix that interpolates along it.
    Interpolation = Callable[[int], Tensor]

Coarse = Float[Tensor, "3 z y x"]
Fine = Float[Tensor, "3 fine_z fine_y fine_x"]


def consistent_trilinear(coarse: Coarse, boundary: Boundaries) -> Fine:
    """Trilinear interpolation, shifted in each coarse cell so that its mean is that of the input."""
    answer = trilinear(_surrounded(coarse, 1, boundary)[None])[0]
    return answer + refine(coarse - coarsen(answer, FACTOR))


def tricubic(coarse: Coarse, boundary: Boundaries) -> Fine:
    """Cubic convolution along each axis (Keys, IEEE Trans. Acoust. Speech Signal Process. 29, 1981; a = -1/2)."""
    return _along_axes(coarse, boundary, _cubic)


def spectral(coarse: Coarse, boundary: Boundaries) -> Fine:
    """Fourier interpolation along each axis that undoes the block mean: exact for what the coarse grid resolves."""
    return _along_axes(coarse, boundary, _fourier)


def _along_axes(coarse: Tensor, boundary: Boundaries, interpolation: Interpolation) -> Tensor:
    for axis in (1, 2, 3):
        cells, name = coarse.shape[axis], boundary[axis - 1]
        matrix = _between_ends(cells, name, interpolation).to(coarse)
        # Without the flow that moving walls alone would drive, the field vanishes on the walls.
        coarse = coarse - _driven(cells, name, axis).to(coarse)
        coarse = torch.tensordot(coarse, matrix, dims=([axis], [1])).movedim(-1, axis)
        coarse = coarse + _driven(FACTOR * cells, name, axis).to(coarse)
    return coarse


def _driven(cells: int, boundary: Boundary, axis: int) -> Tensor:
    """Velocity (3, ...) that is linear from wall to wall, to be broadcast along the other axes."""
    velocity = torch.from_numpy(driven(np.arange(cells), cells, boundary))
    return velocity.reshape(3, *[1] * (axis - 1), -1, *[1] * (3 - axis))


def _between_ends(cells: int, boundary: Boundary, interpolation: Interpolation) -> Float[Tensor, "fine cell"]:
    """The matrix of an interpolation along an axis; one that is not periodic is continued to twice its length."""
    if boundary == "periodic":
        return interpolation(cells)
    index, sign, _ = continued(np.arange(2 * cells), cells, boundary)
    continuation = torch.zeros(2 * cells, cells, dtype=torch.float64)
    continuation[torch.arange(2 * cells), torch.from_numpy(index)] = torch.from_numpy(sign).double()
    return interpolation(2 * cells)[: FACTOR * cells] @ continuation


def _surrounded(coarse: Tensor, cells: int, boundary: Boundaries) -> Tensor:
    """A field with more cells at both ends of each axis."""
    beyond = [
        continued(np.arange(-cells, n + cells), n, name) for n, name in zip(coarse.shape[1:], boundary, strict=True)
    ]
    z, y, x = (axis.cells for axis in beyond)
    values = coarse.numpy()
    return torch.from_numpy(continue_beyond(collect(lambda z, y, x: values[:, z, y, x], (z, y, x)), beyond))


def _fine_centres(cells: int) -> Tensor:
    """Centres of fine cells in coarse cells from the first coarse centre: -3/8, -1/8, 1/8 ..."""
    return (torch.arange(FACTOR * cells, dtype=torch.float64) + 0.5) / FACTOR - 0.5


def _cubic(cells: int) -> Float[Tensor, "fine cell"]:
    x = _fine_centres(cells)
    first = x.floor().long()
    matrix = torch.zeros(FACTOR * cells, cells, dtype=torch.float64)
    for step in range(-1, 3):
        s = (x - (first + step)).abs()
        near, far = (1.5 * s - 2.5) * s**2 + 1, ((-0.5 * s + 2.5) * s - 4) * s + 2
        weight = torch.where(s <= 1, near, far)
        matrix.scatter_add_(1, ((first + step) % cells)[:, None], weight[:, None])
    return matrix


def _fourier(cells: int) -> Float[Tensor, "fine cell"]:
    # The phase of the Nyquist wavenumber, which only even axes have, is unknown: it is not amplified.
    k = torch.arange(-((cells - 1) // 2), (cells - 1) // 2 + 1, dtype=torch.float64) * (2 * math.pi / cells)
    offsets = _fine_centres(1)
    kept = torch.cos(k[:, None] * offsets).mean(dim=1)  # attenuation of a mode by the mean over a cell
    distance = _fine_centres(cells)[:, None] - torch.arange(cells, dtype=torch.float64)
    matrix = (torch.cos(distance[..., None] * k) / kept).sum(dim=-1) / cells
    if cells % 2 == 0:
        signs = 1.0 - 2.0 * (torch.arange(cells, dtype=torch.float64) % 2)
        matrix += signs.repeat_interleave(FACTOR)[:, None] * signs / cells
    return matrix


class LinearEstimator:
    """The linear map from a neighbourhood of coarse cells to the fine cells of its middle with least squared error.

    There is one kernel for all places, from all three components to all three. The mean velocity is subtracted before
    and added after. As the middle cell is among the inputs, the block mean of the answer is the input, up to round-off.

    Args:
        fields: fine fields to fit to, by their block means.
        boundary: of each axis of all fields.
        radius: cells on each side of the middle one.

    Raises:
        ValueError: if the fields hold too few cells to determine the kernel.
    """

    def __init__(self, fields: Iterable[Fine], boundary: Boundaries, radius: int = 2) -> None:
        self.radius = radius
        size = 2 * radius + 1
        inputs, cells = 3 * size**3, 0
        products = torch.zeros(inputs, inputs, dtype=torch.float64)
        targets = torch.zeros(inputs, 3 * FACTOR**3, dtype=torch.float64)
        for field in fields:
            coarse = coarsen(field.double(), FACTOR)
            mean = coarse.mean(dim=(1, 2, 3), keepdim=True)
            around = _surrounded(coarse, radius, boundary) - mean
            for axis in (1, 2, 3):
                around = around.unfold(axis, size, 1)
            around = around.permute(0, 4, 5, 6, 1, 2, 3).reshape(inputs, -1)
            products += around @ around.T
            targets += around @ _by_cell(field.double() - mean).flatten(1).T
            cells += around.shape[1]
        if cells < 2 * inputs:
            message = f"{cells} coarse cells are too few to fit {inputs} weights for each fine cell"
            raise ValueError(message)
        # Of least norm, as a component may be zero everywhere.
        weights = torch.linalg.lstsq(products, targets, driver="gelsd").solution
        self.kernel = weights.T.reshape(3 * FACTOR**3, 3, size, size, size)

    def __call__(self, coarse: Coarse, boundary: Boundaries) -> Fine:
        """Estimate the fine field."""
        mean = coarse.double().mean(dim=(1, 2, 3), keepdim=True)
        around = _surrounded(coarse.double(), self.radius, boundary) - mean
        channels = functional.conv3d(around[None], self.kernel)
        return (spread(channels, FACTOR)[0] + mean).to(coarse.dtype)


def _by_cell(fine: Tensor) -> Tensor:
    """Fine cells, (3, 4 z, 4 y, 4 x), as channels of the coarse ones they lie in: undoes ``spread``."""
    _, z, y, x = fine.shape
    parts = fine.reshape(3, z // FACTOR, FACTOR, y // FACTOR, FACTOR, x // FACTOR, FACTOR)
    return parts.permute(0, 2, 4, 6, 1, 3, 5).reshape(3 * FACTOR**3, z // FACTOR, y // FACTOR, x // FACTOR)
