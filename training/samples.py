"""Training samples: whole volumes or patches of large ones, shifted and, if asked, turned at random.

Wall-normal columns are always whole, and beyond the ends of an axis a sample is continued as a served block is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.blocks import EDGE, continue_beyond, continued, is_wall
from models.group import group, rotate_axes, rotate_vector
from models.layers import crop
from models.metrics.pointwise import rms
from models.operators import FACTOR, coarsen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.layers import Axes
    from training.dataset import Dataset

    Moments = tuple[Tensor, Tensor]

PATCH = 24
"""Coarse cells along an axis of a patch."""


@dataclass(frozen=True)
class Sample:
    """One batch.

    Attributes:
        coarse: block means, (batch, frame, 3, z, y, x), with a halo along axes that are not circular.
        fine: the truth at the middle frame, (batch, 3, 4 z, 4 y, 4 x), without.
        mean: mean velocity over the coarse frames of the whole volume, (batch, 3).
        scale: rms of all components about it, (batch,).
        circular: axes (z, y, x) that wrap around.
    """

    coarse: Float[Tensor, "batch frame 3 z y x"]
    fine: Float[Tensor, "batch 3 fine_z fine_y fine_x"]
    mean: Float[Tensor, "batch 3"]
    scale: Float[Tensor, " batch"]
    circular: Axes

    @classmethod
    def of(
        cls,
        frames: Float[Tensor, "frame 3 fine_z fine_y fine_x"],
        circular: Axes,
        halo: int,
        moments: Moments | None = None,
    ) -> Sample:
        """One sample from fine frames.

        Args:
            frames: velocity, with ``halo`` coarse cells more at both ends of axes that are not circular.
            circular: axes (z, y, x) that wrap around.
            halo: see above.
            moments: mean velocity (3,) and rms of the coarse volume; None if the sample is all of it.
        """
        coarse = coarsen(frames, FACTOR)
        inside = crop(coarse, halo, circular)
        mean, scale = moments or (inside.mean(dim=(0, 2, 3, 4)), rms(inside.transpose(0, 1).flatten(1, 2)))
        fine = crop(frames[len(frames) // 2], FACTOR * halo, circular)
        return cls(coarse[None], fine[None], mean[None], scale[None], circular)


class Source:
    """Draws samples from stored runs.

    Args:
        runs: where to draw from; each snapshot is as likely as any other.
        halo: coarse cells that the model reads beyond the ends of axes that are not circular.
        frames: time levels of a sample.
        augment: also rotate and reflect at random.
        device: where samples are put together.
        seed: of the draws.
        keep: snapshots at the end of each run that are never drawn, for validation.

    Raises:
        ValueError: if there are too few snapshots, or their axes are no whole number of coarse cells.
    """

    def __init__(
        self,
        runs: Sequence[Dataset],
        *,
        halo: int,
        augment: bool,
        device: str,
        seed: int,
        frames: int = 1,
        keep: int = 1,
    ) -> None:
        self.halo = halo
        self.frames = frames
        self.device = device
        self.matrices = group("Oh" if augment else "C1").matrices
        self.random = np.random.default_rng(seed)
        self.moments: dict[tuple[int, int], Moments] = {}
        for run in runs:
            if any(n % FACTOR for n in run.cells):
                message = f"{run.name} has {run.cells} cells along z, y, x; each must be a multiple of {FACTOR}"
                raise ValueError(message)
        counts = [(run, run.count(frames)) for run in runs]
        self.snapshots = [(run, index) for run, count in counts for index in range(count - keep - run.shared(frames))]
        self.kept = [(run, index) for run, count in counts for index in range(max(count - keep, 0), count)]
        if not self.snapshots:
            message = f"training needs runs of at least {keep + 1} snapshots, got {[run.name for run in runs]}"
            raise ValueError(message)

    def draw(self) -> Sample:
        """A new sample, each with its own shift, so that one snapshot of a periodic box gives 64 coarse fields."""
        run, index = self.snapshots[self.random.integers(len(self.snapshots))]
        shift = self.random.integers(FACTOR, size=3)
        matrix = self.matrices[self.random.integers(len(self.matrices))]
        start = self.random.random(3) if self._is_large(run) else np.zeros(3)
        return self._sample(run, index, shift, matrix, start)

    def validation(self) -> list[Sample]:
        """The snapshots that are kept back, as they are; of large ones, a patch at the start."""
        still, itself = np.zeros(3, np.intp), self.matrices[0]
        return [self._sample(run, index, still, itself, np.zeros(3)) for run, index in self.kept]

    def _is_large(self, run: Dataset) -> bool:
        return not all(_is_whole(n, is_wall(name)) for n, name in zip(run.cells, run.boundary, strict=True))

    def _sample(
        self, run: Dataset, index: int, shift: NDArray[np.intp], matrix: Tensor, start: NDArray[np.float64]
    ) -> Sample:
        beyond, circular = [], []
        for axis, (n, name) in enumerate(zip(run.cells, run.boundary, strict=True)):
            whole = _is_whole(n, is_wall(name))
            wraps = whole and name == "periodic"
            first = -shift[axis] if wraps else 0
            length = n if whole else FACTOR * PATCH
            if not whole and name == "periodic":
                first = int(start[axis] * n)
            elif not whole:  # coarse cells as they are served, so that an end is where one ends
                first = FACTOR * int(start[axis] * ((n - length) // FACTOR + 1))
            halo = 0 if wraps else FACTOR * self.halo
            beyond.append(continued(np.arange(first - halo, first + length + halo), n, name))
            circular.append(wraps)
        z, y, x = (axis.cells for axis in beyond)
        values = continue_beyond(run.window(index, (z, y, x), self.frames), beyond)
        fine = rotate_vector(torch.from_numpy(values).to(self.device), matrix)
        moments = None
        if self._is_large(run):
            mean, scale = self._moments(run, index)
            moments = matrix.to(mean) @ mean, scale
        return Sample.of(fine, rotate_axes((circular[0], circular[1], circular[2]), matrix), self.halo, moments)

    def _moments(self, run: Dataset, index: int) -> Moments:
        """Mean velocity and rms of a coarse volume, read once, in slabs."""
        key = id(run), index  # names need not differ
        if key not in self.moments:
            z, y, x = (np.arange(n) for n in run.cells)
            slabs = [
                coarsen(torch.from_numpy(run.window(index, (part, y, x), self.frames)).double())
                for part in np.split(z, range(FACTOR * PATCH, len(z), FACTOR * PATCH))
            ]
            coarse = torch.cat(slabs, dim=-3).transpose(0, 1).flatten(1, 2)
            mean, scale = coarse.mean(dim=(1, 2, 3)), rms(coarse)
            self.moments[key] = mean.float().to(self.device), scale.float().to(self.device)
        return self.moments[key]


def _is_whole(cells: int, between_walls: bool) -> bool:  # noqa: FBT001
    """Whether samples hold an axis whole."""
    return between_walls or cells <= FACTOR * EDGE
