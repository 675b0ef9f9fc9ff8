"""Training samples: whole volumes, shifted within a coarse cell along periodic axes and, if asked, turned at random.

Every sample holds whole wall-normal columns, and beyond a wall it is continued as a served block is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.blocks import surrounded
from models.group import group, rotate_axes, rotate_vector
from models.metrics import coarsen, rms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.blocks import Boundaries
    from models.layers import Axes
    from training.dataset import StoredRun

FACTOR = 4


@dataclass(frozen=True)
class Sample:
    """One batch.

    Attributes:
        coarse: block means, (batch, frame, 3, z, y, x), with a halo along axes that are not circular.
        fine: the truth at the middle frame, (batch, 3, 4 z, 4 y, 4 x).
        mean: mean velocity over the coarse frames, (batch, 3).
        scale: rms of all components about it, (batch,).
        circular: axes (z, y, x) that wrap around.
    """

    coarse: Float[Tensor, "batch frame 3 z y x"]
    fine: Float[Tensor, "batch 3 fine_z fine_y fine_x"]
    mean: Float[Tensor, "batch 3"]
    scale: Float[Tensor, " batch"]
    circular: Axes

    @classmethod
    def of(cls, frames: Float[Tensor, "frame 3 fine_z fine_y fine_x"], boundary: Boundaries, halo: int) -> Sample:
        """One sample from fine frames.

        Args:
            frames: velocity.
            boundary: of each axis (z, y, x).
            halo: coarse cells beyond the ends of axes that are not periodic.
        """
        coarse = coarsen(frames, FACTOR)
        together = coarse.transpose(0, 1).flatten(1, 2)
        read, circular = surrounded(coarse.cpu().numpy(), halo, boundary)
        return cls(
            torch.from_numpy(read).to(frames.device)[None],
            frames[None, len(frames) // 2],
            coarse.mean(dim=(0, 2, 3, 4))[None],
            rms(together)[None],
            circular,
        )


class Source:
    """Draws samples from stored runs.

    Args:
        runs: where to draw from; each snapshot is as likely as any other.
        halo: coarse cells that the model reads beyond the ends of axes that are not periodic.
        augment: also rotate and reflect at random.
        device: where samples are put together.
        seed: of the draws.
        keep: snapshots at the end of each run that are never drawn, for validation.
    """

    def __init__(
        self, runs: Sequence[StoredRun], *, halo: int, augment: bool, device: str, seed: int, keep: int = 1
    ) -> None:
        self.halo = halo
        self.device = device
        self.matrices = group("Oh" if augment else "C1").matrices
        self.random = np.random.default_rng(seed)
        self.snapshots = [(run, index) for run in runs for index in range(len(run) - keep)]
        self.kept = [(run, index) for run in runs for index in range(len(run) - keep, len(run))]
        if not self.snapshots:
            message = f"training needs runs of at least {keep + 1} snapshots, got {[run.name for run in runs]}"
            raise ValueError(message)

    def draw(self) -> Sample:
        """A new sample, each with its own shift, so that one snapshot of a periodic box gives 64 coarse fields."""
        run, index = self.snapshots[self.random.integers(len(self.snapshots))]
        drawn = zip(self.random.integers(FACTOR, size=3), run.boundary, strict=True)
        shift = tuple(int(cells) if boundary == "periodic" else 0 for cells, boundary in drawn)
        matrix = self.matrices[self.random.integers(len(self.matrices))]
        fine = torch.from_numpy(np.array(run[index])).to(self.device).roll(shift, (1, 2, 3))
        return Sample.of(rotate_vector(fine, matrix)[None], rotate_axes(run.boundary, matrix), self.halo)

    def validation(self) -> list[Sample]:
        """The snapshots that are kept back, as they are."""
        return [
            Sample.of(torch.from_numpy(np.array(run[index])).to(self.device)[None], run.boundary, self.halo)
            for run, index in self.kept
        ]
