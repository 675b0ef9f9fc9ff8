"""Training samples: whole periodic boxes, shifted within a coarse cell and, if asked, turned at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.group import group, rotate_vector
from models.metrics import coarsen, rms
from training.dataset import require_boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.dataset import StoredRun

FACTOR = 4


@dataclass(frozen=True)
class Sample:
    """One batch.

    Attributes:
        coarse: block means, (batch, frame, 3, z, y, x).
        fine: the truth at the middle frame, (batch, 3, 4 z, 4 y, 4 x).
        mean: mean velocity over the coarse frames, (batch, 3).
        scale: rms of all components about it, (batch,).
    """

    coarse: Float[Tensor, "batch frame 3 z y x"]
    fine: Float[Tensor, "batch 3 fine_z fine_y fine_x"]
    mean: Float[Tensor, "batch 3"]
    scale: Float[Tensor, " batch"]

    @classmethod
    def of(cls, frames: Float[Tensor, "frame 3 fine_z fine_y fine_x"]) -> Sample:
        """One sample from fine frames."""
        coarse = coarsen(frames, FACTOR)
        together = coarse.transpose(0, 1).flatten(1, 2)
        return cls(
            coarse[None], frames[None, len(frames) // 2], coarse.mean(dim=(0, 2, 3, 4))[None], rms(together)[None]
        )


class Source:
    """Draws samples from stored runs.

    Args:
        runs: where to draw from; each snapshot is as likely as any other.
        augment: also rotate and reflect at random.
        device: where samples are put together.
        seed: of the draws.
        keep: snapshots at the end of each run that are never drawn, for validation.
    """

    def __init__(self, runs: Sequence[StoredRun], *, augment: bool, device: str, seed: int, keep: int = 1) -> None:
        require_boxes(runs)
        self.device = device
        self.matrices = group("Oh" if augment else "C1").matrices
        self.random = np.random.default_rng(seed)
        self.snapshots = [(run, index) for run in runs for index in range(len(run) - keep)]
        self.kept = [(run, index) for run in runs for index in range(len(run) - keep, len(run))]
        if not self.snapshots:
            message = f"training needs runs of at least {keep + 1} snapshots, got {[run.name for run in runs]}"
            raise ValueError(message)

    def draw(self) -> Sample:
        """A new sample, each with its own shift, so that one snapshot gives 64 coarse fields."""
        run, index = self.snapshots[self.random.integers(len(self.snapshots))]
        shift = self.random.integers(FACTOR, size=3)
        matrix = self.matrices[self.random.integers(len(self.matrices))]
        fine = torch.from_numpy(np.array(run[index])).to(self.device)
        return Sample.of(rotate_vector(fine.roll(tuple(shift), (1, 2, 3)), matrix)[None])

    def validation(self) -> list[Sample]:
        """The snapshots that are kept back, as they are."""
        return [Sample.of(torch.from_numpy(np.array(run[index])).to(self.device)[None]) for run, index in self.kept]
