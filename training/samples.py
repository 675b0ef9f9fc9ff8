"""Training samples: whole volumes or patches of large ones, shifted and, if asked, turned at random.

Wall-normal columns are always whole, and beyond the ends of an axis a sample is continued as a served block is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.blocks import EDGE
from models.continuation import continue_beyond, continued
from models.convolution import crop
from models.group import group, rotate_axes, rotate_vector
from models.metrics.pointwise import ROUNDING, magnitude
from models.operators import coarsen, trilinear
from models.walls import is_wall
from training.dataset import require_whole
from training.derived import Slab

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.blocks import Boundary
    from models.continuation import Continuation
    from models.convolution import Axes
    from training.dataset import Dataset

PATCH = 24
"""Coarse cells along an axis of a patch."""


@dataclass(frozen=True)
class Sample:
    """One batch.

    Attributes:
        coarse: block means, (batch, frame, 3, z, y, x), with a halo along axes that are not circular.
        fine: the truth at the middle frame, (batch, 3, f z, f y, f x) with f the factor, without.
        circular: axes (z, y, x) that wrap around.
    """

    coarse: Float[Tensor, "batch frame 3 z y x"]
    fine: Float[Tensor, "batch 3 fine_z fine_y fine_x"]
    circular: Axes

    @classmethod
    def of(
        cls, frames: Float[Tensor, "frame 3 fine_z fine_y fine_x"], circular: Axes, halo: int, factor: int
    ) -> Sample:
        """One sample from fine frames.

        Args:
            frames: velocity, with ``halo`` coarse cells more at both ends of axes that are not circular.
            circular: axes (z, y, x) that wrap around.
            halo: see above.
            factor: fine cells per coarse cell along an axis.
        """
        fine = crop(frames[len(frames) // 2], factor * halo, circular)
        return cls(coarsen(frames, factor)[None], fine[None], circular)

    def trilinear_error(self, halo: int, factor: int) -> Tensor:
        """Mean absolute error of trilinear interpolation; 0 where it is exact but for rounding, as in uniform flow."""
        middle = self.coarse[:, self.coarse.shape[1] // 2]
        plain = trilinear(crop(middle, halo - 1, self.circular), self.circular, factor)
        error = (plain - self.fine).abs().mean()
        return error * (error > ROUNDING * magnitude(self.fine))


class Source:
    """Draws samples from stored runs.

    A flow is drawn in proportion to the square root of its number of runs, a run of this flow in proportion to the
    square root of all its cells, and each snapshot of a run equally often. So one flow on many grids counts more than
    one on a single grid, but does not crowd it out, and neither does a long run a short one.

    Args:
        runs: where to draw from.
        halo: coarse cells that the model reads beyond the ends of axes that are not circular.
        factor: fine cells per coarse cell along an axis.
        frames: time levels of a sample.
        augment: also rotate and reflect at random.
        device: where samples are put together.
        seed: of the draws.
        keep: snapshots at the end of each run that are never drawn, for validation.
        kept: further runs for validation alone, such as the rest of each [`Slab`][training.derived.Slab] in ``runs``,
            all snapshots of which are then learned from.

    Raises:
        ValueError: if there are too few snapshots, or their axes are no whole number of coarse cells.
    """

    def __init__(  # noqa: PLR0913
        self,
        runs: Sequence[Dataset],
        *,
        halo: int,
        factor: int,
        augment: bool,
        device: str,
        seed: int,
        frames: int = 1,
        keep: int = 1,
        kept: Sequence[Dataset] = (),
    ) -> None:
        self.halo = halo
        self.factor = factor
        self.frames = frames
        self.device = device
        self.matrices = group("Oh" if augment else "C1").matrices
        self.random = np.random.default_rng(seed)
        self.drawn: dict[str, list[tuple[Dataset, int]]] = {}
        self.kept: dict[str, list[tuple[Dataset, int]]] = {}
        for run in runs:
            require_whole(run, factor)
            count = run.count(frames)
            last, shared = (0, 0) if kept and isinstance(run, Slab) else (keep, run.shared(frames))
            self.drawn.setdefault(run.flow, []).append((run, max(count - last - shared, 0)))
            self.kept.setdefault(run.flow, []).extend((run, index) for index in range(max(count - last, 0), count))
        for run in kept:
            self.kept.setdefault(run.flow, []).extend((run, index) for index in range(run.count(frames)))
        for flow, drawn in self.drawn.items():
            if not any(count for _, count in drawn):
                names = [run.name for run in runs if run.flow == flow]
                shared = max(run.shared(frames) for run, _ in drawn)
                needed = f"{keep + 2 * shared + 1} time levels" if shared else f"{keep + 1} snapshots"
                message = f"training needs runs of at least {needed}, got {names}"
                raise ValueError(message)
        self.flows = list(self.drawn)

    def draw(self) -> Sample:
        """A new sample, each with its own shift, so that one snapshot gives many coarse fields."""
        drawn = self.drawn[self.flows[self._by_size([len(self.drawn[flow]) for flow in self.flows])]]
        run, count = drawn[self._by_size([count * math.prod(run.cells) for run, count in drawn])]
        index = int(self.random.integers(count))
        shift = self.random.integers(self.factor, size=3)
        matrix = self.matrices[self.random.integers(len(self.matrices))]
        start = self.random.random(3) if self._is_large(run) else np.zeros(3)
        return self._sample(run, index, shift, matrix, start)

    def validation(self) -> dict[str, list[Sample]]:
        """The held-out snapshots by flow; of large ones, a patch at the start.

        Errors are relative to trilinear interpolation, so those on which that is exact are left out.
        """
        still, itself = np.zeros(3, np.intp), self.matrices[0]
        found: dict[str, list[Sample]] = {}
        for flow, kept in self.kept.items():
            for run, index in kept:
                sample = self._sample(run, index, still, itself, np.zeros(3))
                if sample.trilinear_error(self.halo, self.factor) > 0:
                    found.setdefault(flow, []).append(sample)
        return found

    def require_validation(self) -> None:
        """Refuse held-out data that tell nothing, before training on the others.

        Raises:
            ValueError: naming the runs.
        """
        if not self.validation():
            names = ", ".join(sorted({run.name for kept in self.kept.values() for run, _ in kept}))
            message = f"trilinear interpolation is exact on what is held out: {names}; expected data that vary"
            raise ValueError(message)

    def _by_size(self, sizes: Sequence[int]) -> int:
        """The position of one of these, drawn in proportion to the square roots of their sizes."""
        shares = np.sqrt(sizes)
        return int(self.random.choice(len(sizes), p=shares / shares.sum()))

    def _is_large(self, run: Dataset) -> bool:
        return not all(self._is_whole(n, name) for n, name in zip(run.cells, run.boundary, strict=True))

    def _sample(
        self, run: Dataset, index: int, shift: NDArray[np.intp], matrix: Tensor, start: NDArray[np.float64]
    ) -> Sample:
        axes = zip(run.cells, run.boundary, shift.tolist(), start.tolist(), strict=True)
        beyond, circular = zip(*(self._axis(*axis) for axis in axes), strict=True)
        z, y, x = (axis.cells for axis in beyond)
        values = continue_beyond(run.window(index, (z, y, x), self.frames), beyond)
        fine = rotate_vector(torch.from_numpy(values).to(self.device), matrix)
        turned = rotate_axes((circular[0], circular[1], circular[2]), matrix)
        return Sample.of(fine, turned, self.halo, self.factor)

    def _axis(self, cells: int, boundary: Boundary, shift: int, start: float) -> tuple[Continuation, bool]:
        """The cells of an axis that a sample reads, and whether they wrap around."""
        whole = self._is_whole(cells, boundary)
        if whole and boundary == "periodic":
            return continued(np.arange(-shift, cells - shift), cells, boundary), True
        # An open box may begin at any fine cell; the rest of its last coarse cell is then left out.
        begin = shift if boundary == "open" and cells > self.factor else 0
        cells -= self.factor if begin else 0
        length = cells if whole else self.factor * PATCH
        if boundary == "periodic":
            first = int(start * cells)
        else:  # coarse cells as they are served, so that an end is where one ends
            first = self.factor * int(start * ((cells - length) // self.factor + 1))
        reach = self.factor * self.halo
        axis = continued(np.arange(first - reach, first + length + reach), cells, boundary)
        return axis._replace(cells=axis.cells + begin), False

    def _is_whole(self, cells: int, boundary: Boundary) -> bool:
        """Whether samples have the whole axis."""
        return is_wall(boundary) or cells <= self.factor * EDGE
