"""Every metric of a volume of any size, read in slabs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.blocks import CUBE, PERIODIC
from models.metrics.fluctuations import Fluctuations
from models.metrics.gradients import GradientSums, central_differences
from models.metrics.moments import Moments
from models.metrics.pointwise import Errors, near_walls_of, over_interpolation, ratio
from models.metrics.slabs import Grid, Steps, cut, surrounded
from models.metrics.spectra import Lines, Spectrum, read_spectrum, resolved_wavenumber, spectrum_errors, steps
from models.operators import coarsen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from models.blocks import Boundaries, Cells, Lengths, Read
    from models.metrics.slabs import Box

    Reads = Read[np.floating]


Value = float | list[float] | None
# Cells that are read at a time.
SLAB = 1 << 24
# Cells that are processed in double precision at a time: few, so that they stay in the cache.
PART = 1 << 15


class _Field:
    """Sums over one field, which comes part by part."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.fluctuations = Fluctuations(grid)
        self.gradient = GradientSums()

    def add(self, values: Float[Tensor, "3 z2 y2 x2"], box: Box) -> Float[Tensor, "3 z y x"]:
        """Add the cells of a box, which come with one more cell all around; return them without these."""
        inside = values[:, 1:-1, 1:-1, 1:-1]
        self.fluctuations.add(inside, box)
        for axis, (cells, n) in enumerate(zip(box, self.grid.cells, strict=True), 1):
            if self.grid.boundary[axis - 1] == "open":
                first, last = int(cells.start == 0), int(cells.stop == n)
                values = values.narrow(axis, first, values.shape[axis] - first - last)
        self.gradient.add(central_differences(values, self.grid.spacing))
        return inside


class _Sums:
    """All metrics but spectra, of volumes that come part by part."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.answer, self.reference, self.coarse = _Field(grid), _Field(grid), Moments()
        self.errors, self.baseline_errors, self.gaps = Errors(), Errors(), Errors()

    def add(
        self,
        answer: Float[Tensor, "3 z2 y2 x2"],
        reference: Float[Tensor, "3 z2 y2 x2"],
        coarse: Float[Tensor, "3 coarse_z coarse_y coarse_x"],
        baseline: Float[Tensor, "3 z y x"] | None,
        box: Box,
    ) -> None:
        """Add a box; the answer and the reference come with one more cell all around."""
        ours, true = self.answer.add(answer, box), self.reference.add(reference, box)
        self.errors.add(ours - true, near_walls_of(box, self.grid))
        self.coarse.add(coarse.flatten(1))
        self.gaps.add(coarsen(ours, self.grid.factor) - coarse)
        if baseline is not None:
            self.baseline_errors.add(baseline - true)

    def metrics(self, spectra: dict[str, Value]) -> dict[str, Value]:
        """All metrics, in order, with those of spectra in their place."""
        errors, answer, reference = self.errors, self.answer.fluctuations, self.reference.fluctuations
        ours, true = self.answer.gradient.statistics(), self.reference.gradient.statistics()
        mean_profile = stress_profile = None
        if answer.profile is not None and reference.profile is not None:
            mean_profile, stress_profile = answer.profile.errors(reference.profile)
            stress_profile = math.nan if math.isnan(reference.scale) else stress_profile
        mae_u, mae_v, mae_w = errors.mae.tolist()
        mae = float(errors.mae.mean())
        scale = reference.scale
        energy = ratio(answer.rms, scale)
        skill = None
        if self.baseline_errors.cells:
            error, theirs = (math.sqrt(each.mse) for each in (errors, self.baseline_errors))
            skill = 1 - over_interpolation(error, theirs, reference.moments.magnitude) ** 2
        return {
            "mae": mae,
            "mae_u": mae_u,
            "mae_v": mae_v,
            "mae_w": mae_w,
            "mae_over_rms": ratio(mae, scale),
            "relative_l2": ratio(math.sqrt(errors.mse), scale),
            "skill": skill,
            **spectra,
            "divergence": ours.divergence,
            "divergence_reference": true.divergence,
            "kinetic_energy_ratio": energy * energy,
            "enstrophy_ratio": ratio(ours.enstrophy, true.enstrophy),
            "dissipation_ratio": ratio(ours.dissipation, true.dissipation),
            "skewness": ours.skewness,
            "skewness_reference": true.skewness,
            "flatness": ours.flatness,
            "flatness_reference": true.flatness,
            "consistency": ratio(math.sqrt(self.gaps.mse), self.coarse.rms),
            "mae_near_wall": errors.mae_near_wall,
            "mean_profile_error": mean_profile,
            "stress_profile_error": stress_profile,
        }


def compare(  # noqa: PLR0913 what is compared, where its cells are, and how it is read
    answer: Reads,
    reference: Reads,
    coarse: Reads,
    baseline: Reads | None = None,
    *,
    cells: Cells,
    factor: int,
    boundary: Boundaries = PERIODIC,
    length: Lengths = CUBE,
    slab: int = SLAB,
    scratch: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Value]:
    """Every metric of an answer that is not in memory.

    The volumes are read in boxes: once for all metrics but spectra, then the answer and the reference for spectra, once
    more for each component if all axes are periodic, else for each periodic axis. Memory is about 65 bytes for each of
    ``slab`` cells of float32 and 60 MB.

    Args:
        answer: gives the super-resolved field, (3, z, y, x), for ranges of cells.
        reference: gives the true field.
        coarse: gives what the answer was made from, for ranges of coarse cells.
        baseline: gives trilinear interpolation of the coarse field, for the skill.
        cells: fine cells along (z, y, x).
        factor: fine cells per coarse cell along an axis.
        boundary: of each axis (z, y, x).
        length: of each axis (z, y, x).
        slab: fine cells that are read at a time. Spectra by shells need a whole plane (y, x) and those along lines a
            whole line, even if these are larger.
        scratch: folder for a file of 8 bytes a fine cell (8.6 GB for 1024^3), for spectra by shells of volumes larger
            than a slab. None holds as much in memory.
        progress: called after each slab, with the number of slabs that are done and their total. An exception that it
            raises ends the comparison, and no file is left.

    Returns:
        - ``mae``, ``mae_u``, ``mae_v``, ``mae_w``: mean absolute error, of all components and of each;
        - ``mae_over_rms``: ``mae`` over the rms of the reference's fluctuations b', which are about the mean over
          planes if just one axis is not periodic, see [`Fluctuations`][models.metrics.fluctuations.Fluctuations]; NaN
          where b' is zero but for rounding, as are other metrics relative to it;
        - ``relative_l2``: ||a - b|| / ||b'||;
        - ``skill``: 1 - MSE / MSE of the baseline (Murphy 1988), None without one, NaN where it is exact but for
          rounding;
        - ``spectrum_error_low``, ``spectrum_error_high``: see
          [`spectrum_errors`][models.metrics.spectra.spectrum_errors], by shells if all axes are periodic and cells
          cubic, else the rms of those along each periodic axis;
        - ``resolved_wavenumber``: see [`resolved_wavenumber`][models.metrics.spectra.resolved_wavenumber], by shells
          only;
        - ``divergence``, ``skewness``, ``flatness``: see [`Gradients`][models.metrics.gradients.Gradients]; with
          ``_reference``: the same of the reference;
        - ``kinetic_energy_ratio`` (of the fluctuations, each field's about its own mean), ``enstrophy_ratio``,
          ``dissipation_ratio``: the answer's over the reference's;
        - ``consistency``: ||block mean of the answer - coarse|| / ||coarse - its mean over the volume||;
        - ``mae_near_wall``: mean absolute error in the coarse cells next to walls, None if there are none;
          ``mean_profile_error``, ``stress_profile_error``: see
          [`Profile.errors`][models.metrics.profiles.Profile.errors], None unless just one axis is not periodic.

    Raises:
        ValueError: if an axis is not a whole number of coarse cells long.
        OSError: if the folder does not take the file.
    """
    if any(n % factor for n in cells):
        message = f"every axis must be a multiple of {factor} cells long, got {cells}"
        raise ValueError(message)
    grid = Grid(cells, factor, boundary, length)
    boxes = cut(cells, slab, factor)
    sums = _Sums(grid)
    work = Steps(len(boxes) + _spectrum_steps(grid, slab), progress)
    for box in boxes:
        _add(sums, (answer, reference, coarse, baseline), box)
        work.step()
    return sums.metrics(_compare_spectra(answer, reference, grid, slab, scratch, work))


def _add(sums: _Sums, reads: tuple[Reads, Reads, Reads, Reads | None], box: Box) -> None:
    """Read a box and add it, part by part."""
    answer, reference, coarse, baseline = reads
    grid = sums.grid
    ours, true = surrounded(answer, box, grid), surrounded(reference, box, grid)
    source = coarse(*_scaled(box, grid.factor))
    plain = None if baseline is None else baseline(*box)
    z, y, x = (cells.stop - cells.start for cells in box)
    for part in cut((z, y, x), PART, grid.factor):
        around = tuple(slice(cells.start, cells.stop + 2) for cells in part)
        sums.add(
            _double(ours[:, *around]),
            _double(true[:, *around]),
            _double(source[:, *_scaled(part, grid.factor)]),
            None if plain is None else _double(plain[:, *part]),
            _moved(part, box),
        )


def _spectrum_steps(grid: Grid, slab: int) -> int:
    if grid.in_shells:
        return 2 * steps(grid.cells, slab)
    return 2 * sum(len(cut(grid.cells, slab, whole=(axis,))) for axis in grid.periodic)


def _compare_spectra(
    answer: Reads, reference: Reads, grid: Grid, slab: int, scratch: Path | None, work: Steps
) -> dict[str, Value]:
    low = high = resolved = None
    if grid.in_shells:
        ours, true = (
            read_spectrum(read, grid.cells, slab=slab, scratch=scratch, step=work.step) for read in (answer, reference)
        )
        low, high = spectrum_errors(ours, true, grid.factor)
        resolved = resolved_wavenumber(ours, true)
    elif grid.periodic:
        lines = (
            (_read_lines(answer, grid, axis, slab, work), _read_lines(reference, grid, axis, slab, work))
            for axis in grid.periodic
        )
        errors = torch.tensor([spectrum_errors(ours, true, grid.factor) for ours, true in lines], dtype=torch.float64)
        low, high = errors.square().nanmean(dim=0).sqrt().tolist()
    return {"spectrum_error_low": low, "spectrum_error_high": high, "resolved_wavenumber": resolved}


def _read_lines(read: Reads, grid: Grid, axis: int, slab: int, work: Steps) -> Spectrum:
    lines = Lines(grid.cells, axis)
    for box in cut(grid.cells, slab, whole=(axis,)):
        for component in read(*box):
            lines.add(_double(component))
        work.step()
    return lines.spectrum()


def _double(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.array(values, np.float64))


def _scaled(box: Box, factor: int) -> Box:
    """A box of fine cells in coarse cells."""
    z, y, x = (slice(cells.start // factor, cells.stop // factor) for cells in box)
    return z, y, x


def _moved(part: Box, box: Box) -> Box:
    """Where a part of a box is in the volume."""
    z, y, x = (slice(a.start + b.start, a.stop + b.start) for a, b in zip(part, box, strict=True))
    return z, y, x
