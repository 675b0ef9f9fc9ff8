"""How group elements move regular features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.group import rotate_scalar

if TYPE_CHECKING:
    from jaxtyping import Shaped
    from torch import Tensor

    from models.group import Group


def rotate_regular(
    features: Shaped[Tensor, "batch channels *cells"], of: Group, element: int
) -> Shaped[Tensor, "batch channels *cells2"]:
    """Move regular features: (k f)_h(x) = f_(k^-1 h)(k^-1 x), with channels numbered (field, group element)."""
    moved = rotate_scalar(features, of.matrices[element])
    fields: Tensor = moved.unflatten(1, (-1, of.order))
    return fields[:, :, of.quotients[element]].flatten(1, 2)
