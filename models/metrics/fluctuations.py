"""What a turbulent velocity is besides its mean flow. Every metric "of the fluctuations" means these."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor  # noqa: TC002 the tests check shapes at run time

from models.blocks import PERIODIC
from models.metrics.moments import Moments
from models.metrics.pointwise import ROUNDING, Errors, ratio
from models.metrics.profiles import Profile
from models.metrics.slabs import Grid

if TYPE_CHECKING:
    from models.blocks import Boundaries
    from models.metrics.slabs import Box


class Fluctuations:
    """The difference u' of a velocity, which comes part by part, from its own mean.

    If just one axis is not periodic, as between walls or in a uniform shear, the mean is that over the plane across
    this axis, a profile such as U(y). Else it is that over the volume.

    Args:
        grid: of the field.

    Attributes:
        moments: about the mean over the volume.
        profile: of the mean velocity and the Reynolds stresses; None unless just one axis is not periodic.
    """

    def __init__(self, grid: Grid) -> None:
        self.moments = Moments()
        axis = grid.profile_axis
        self.profile = None if axis is None else Profile(grid.cells[axis], axis)

    def add(self, field: Float[Tensor, "3 z y x"], box: Box) -> None:
        """Add the cells of a box."""
        self.moments.add(field.flatten(1))
        if self.profile is not None:
            self.profile.add(field, box[self.profile.axis].start)

    @property
    def rms(self) -> float:
        """Root mean square of all components of u'."""
        return float(self.moments.rms if self.profile is None else self.profile.rms)

    @property
    def scale(self) -> float:
        """The ``rms``, to divide by; NaN where it is zero but for rounding, as in laminar flow between walls."""
        rms = self.rms
        return rms if rms > ROUNDING * float(self.moments.magnitude) else math.nan


def mae_over_rms(
    answer: Float[Tensor, "3 z y x"], reference: Float[Tensor, "3 z y x"], boundary: Boundaries = PERIODIC
) -> float:
    """Mean absolute error of all components over the rms of the reference's fluctuations.

    NaN where it has none but rounding; see [`Fluctuations`][models.metrics.fluctuations.Fluctuations].
    """
    _, nz, ny, nx = reference.shape
    errors, fluctuations = Errors(), Fluctuations(Grid((nz, ny, nx), 1, boundary))
    errors.add(answer.double() - reference)
    fluctuations.add(reference.double(), (slice(0, nz), slice(0, ny), slice(0, nx)))
    return ratio(errors.mae.mean(), fluctuations.scale)
