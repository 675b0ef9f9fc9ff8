"""Which symmetries of the octahedral group a model keeps, and which irreps its relaxation weights have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from models.blocks import PERIODIC
from models.group import group, rotate_boundary, rotate_vector
from models.irreps import element_names, irrep_shares
from models.layers import GroupLayer
from models.superresolution import upscale

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.blocks import Boundaries
    from models.superresolution import SuperResolution


def equivariance_errors(
    model: SuperResolution, source: NDArray[np.float32], boundary: Boundaries = PERIODIC
) -> dict[str, float]:
    """||f(g u) - g f(u)|| / ||f(u) - its mean|| for each of the 48 elements g, which act on the boundary too.

    Args:
        model: the model f.
        source: the coarse velocity u, (frame, 3, z, y, x).
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
    """Share of each irrep in the relaxation weights of each layer; empty if the model is not relaxed.

    Args:
        model: as trained, not frozen.
    """
    return {
        name: irrep_shares(layer.relaxation.detach().double(), layer.over)
        for name, layer in model.named_modules()
        if isinstance(layer, GroupLayer) and layer.relaxation is not None
    }
