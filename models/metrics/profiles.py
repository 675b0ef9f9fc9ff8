"""Mean velocity and Reynolds stresses along the one axis on which a flow is not homogeneous."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor


class Profile:
    """Mean velocity U_i and Reynolds stresses <u_i' u_j'> as functions of the position along an axis.

    Parts are combined as in [`Moments`][models.metrics.moments.Moments].

    Args:
        positions: cells along the axis.
        axis: array axis, -3 to -1; averages are over the other two.

    Attributes:
        mean: U_i, (3, position).
    """

    def __init__(self, positions: int, axis: int) -> None:
        self.axis = axis
        self.count = torch.zeros(positions, dtype=torch.float64)
        self.mean = torch.zeros(3, positions, dtype=torch.float64)
        self.products = torch.zeros(3, 3, positions, dtype=torch.float64)

    def add(self, field: Float[Tensor, "3 z y x"], start: int = 0) -> None:
        """Add a part, whose cells along the axis begin at ``start``."""
        samples = field.movedim(self.axis, 1).flatten(2).double().cpu()
        where = slice(start, start + samples.shape[1])
        old, new = self.count[where], samples.shape[2]
        mean = samples.mean(dim=2)
        centred = samples - mean[:, :, None]
        gap = mean - self.mean[:, where]
        share = new / (old + new)
        products = torch.einsum("ips,jps->ijp", centred, centred)
        self.products[:, :, where] += products + gap[:, None] * gap[None] * (old * share)
        self.mean[:, where] += gap * share
        self.count[where] += new

    @property
    def stress(self) -> Float[Tensor, "3 3 position"]:
        """<u_i' u_j'>."""
        return self.products / self.count

    @property
    def rms(self) -> Float64[Tensor, ""]:
        """Root mean square of all components of u'."""
        squares = self.products.diagonal().sum()
        return (squares / (3 * self.count.sum())).sqrt()

    def errors(self, reference: Profile) -> tuple[float, float]:
        """Errors of the mean velocity and of the stresses.

        Each is ||profile - that of the reference|| / ||that of the reference||, the norm over positions and components.
        """
        mean = (self.mean - reference.mean).norm() / reference.mean.norm()
        stress = (self.stress - reference.stress).norm() / reference.stress.norm()
        return float(mean), float(stress)
