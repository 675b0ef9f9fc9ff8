"""Which symmetries of the octahedral group a model keeps, and what its relaxed weights say of those it breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from models.blocks import PERIODIC
from models.group import Group, group, rotate_boundary, rotate_vector
from models.layers import GroupLayer
from models.superresolution import upscale

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.blocks import Boundaries
    from models.superresolution import SuperResolution

IRREPS = {"A1": 1, "A2": 1, "E": 2, "T1": 3, "T2": 3}
"""Irreducible representations of the rotations O, and their dimensions."""


def element_names(over: Group) -> list[str]:
    """Where each element takes the point (x, y, z): ``-y,x,z``, as in the International Tables for Crystallography."""
    signs = {1: "", -1: "-"}
    return [
        ",".join(signs[int(row.sum())] + "xyz"[int(row.abs().argmax())] for row in matrix) for matrix in over.matrices
    ]


def equivariance_errors(
    model: SuperResolution, source: NDArray[np.float32], boundary: Boundaries = PERIODIC
) -> dict[str, float]:
    """||f(g u) - g f(u)|| / ||f(u) - its mean|| for each of the 48 elements g, which take walls along.

    Args:
        model: f.
        source: u, (frame, 3, z, y, x).
        boundary: of each axis (z, y, x) of u.
    """
    over = group("Oh")
    answer = torch.from_numpy(upscale(model, source, boundary)).double()
    scale = (answer - answer.mean(dim=(1, 2, 3), keepdim=True)).norm()
    errors = {}
    for name, matrix in zip(element_names(over), over.matrices, strict=True):
        moved = rotate_vector(torch.from_numpy(source), matrix).contiguous().numpy()
        gap = torch.from_numpy(upscale(model, moved, rotate_boundary(boundary, matrix))).double()
        gap -= rotate_vector(answer, matrix)
        errors[name] = float(gap.norm() / scale)
    return errors


def relaxation(model: SuperResolution) -> dict[str, dict[str, float]]:
    """The share of each irrep in the relaxation weights of each layer; empty for a model that is not relaxed.

    Args:
        model: as trained, not frozen.
    """
    return {
        name: irrep_shares(layer.relaxation.detach().double(), layer.over)
        for name, layer in model.named_modules()
        if isinstance(layer, GroupLayer) and layer.relaxation is not None
    }


def irrep_shares(weights: Float[Tensor, "banks element"], over: Group) -> dict[str, float]:
    """How much of the squared norm of functions on a group lies in each irrep; the shares add up to one.

    With characters chi, ``(P w)(h) = d / |G| sum_g chi(g) w(g^-1 h)`` projects on an irrep of dimension d (Serre,
    Linear Representations of Finite Groups, theorem 8). Constant weights, an equivariant layer, are A1 alone; with
    reflections the irreps come in two parities, even (``g``) and odd (``u``).
    """
    moved = weights[:, over.quotients]
    shares = {}
    for name, (dimension, characters) in _characters(over).items():
        part = torch.einsum("g,bgh->bh", characters, moved) * (dimension / over.order)
        shares[name] = float(part.square().sum() / weights.square().sum())
    return shares


def _characters(over: Group) -> dict[str, tuple[int, Float[Tensor, " order"]]]:
    """Dimension and character of every real irrep."""
    matrices = over.matrices.double()
    parity = torch.linalg.det(matrices).round()
    rotations = matrices * parity[:, None, None]
    trace = rotations.diagonal(dim1=1, dim2=2).sum(dim=1)
    # Without its signs an element exchanges the axes, which makes the sign and the plane representation of S3.
    axes = rotations.abs()
    sign = torch.linalg.det(axes).round()
    fixed = axes.diagonal(dim1=1, dim2=2).sum(dim=1)
    proper = {"A1": torch.ones_like(trace), "A2": sign, "E": fixed - 1, "T1": trace, "T2": sign * trace}
    if bool((parity > 0).all()):
        return {name: (IRREPS[name], character) for name, character in proper.items()}
    return {
        f"{name}{letter}": (IRREPS[name], character * factor)
        for name, character in proper.items()
        for letter, factor in (("g", torch.ones_like(parity)), ("u", parity))
    }
