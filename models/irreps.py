"""Irreducible representations (irreps) of the groups of a square and of a cube, and the share of each in a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from models.group import Group


def element_names(over: Group) -> list[str]:
    """Image of (x, y, z) under each element: ``-y,x,z``, as in the International Tables for Crystallography."""
    signs = {1: "", -1: "-"}
    return [
        ",".join(signs[int(row.sum())] + "xyz"[int(row.abs().argmax())] for row in matrix) for matrix in over.matrices
    ]


def irrep_shares(weights: Float[Tensor, "banks element"], over: Group) -> dict[str, float]:
    """Share of each irrep in the squared norm of functions on a group; the shares add up to one.

    With characters chi, ``(P w)(h) = chi(e) / |chi|^2 sum_g chi(g) w(g^-1 h)`` projects onto a real irrep (Serre,
    Linear Representations of Finite Groups, theorem 8). A real irrep that splits into two complex ones, E of C4, counts
    as one. Constant weights, as in an equivariant layer, have A1 alone (in C2 and C4: A). With reflections in space,
    each irrep occurs with even (``g``) and odd (``u``) parity.
    """
    moved = weights[:, over.quotients]
    total = weights.square().sum()
    return {
        name: float((torch.einsum("g,bgh->bh", chi, moved) * (chi[0] / chi.square().sum())).square().sum() / total)
        for name, chi in characters(over).items()
    }


def characters(over: Group) -> dict[str, Float[Tensor, " order"]]:
    """The character of every real irrep of a named group; the first value of each is its dimension."""
    matrices = over.matrices.double()
    parity = torch.linalg.det(matrices).round()
    trace = matrices.diagonal(dim1=1, dim2=2).sum(dim=1)
    one = torch.ones_like(trace)
    if over.order == 1:
        return {"A": one}
    if over.dimension == 2:  # noqa: PLR2004 a plane
        # Elements either keep the two axes or exchange them.
        keeps = 2 * matrices[:, 0, 0].abs() - 1
        return {
            "C2": {"A": one, "B": trace / 2},
            "C4": {"A": one, "B": keeps, "E": trace},
            "D4": {"A1": one, "A2": parity, "B1": keeps, "B2": keeps * parity, "E": trace},
        }[over.name]
    # Without signs, elements permute the axes: this gives the sign and the two-dimensional representation of S3.
    axes = matrices.abs()
    sign = torch.linalg.det(axes).round()
    fixed = axes.diagonal(dim1=1, dim2=2).sum(dim=1)
    turn = parity * trace
    proper = {"A1": one, "A2": sign, "E": fixed - 1, "T1": turn, "T2": sign * turn}
    if over.name == "O":
        return proper
    return {
        f"{name}{letter}": chi * factor
        for name, chi in proper.items()
        for letter, factor in (("g", one), ("u", parity))
    }
