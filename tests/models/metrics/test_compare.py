"""A volume read in slabs has the very metrics of the whole."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from models.blocks import PERIODIC, Boundaries
from models.metrics.compare import Value, compare
from models.metrics.report import report
from models.operators import coarsen

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from models.blocks import Read

WALLS: Boundaries = ("periodic", "wall", "periodic")
LENGTH = (2.0, 3.0, 5.0)


class Case:
    """Random volumes whose means, components and planes all differ; the reference leans, as turbulence does."""

    def __init__(self, cells: tuple[int, int, int], boundary: Boundaries, offset: float = 0) -> None:
        random = torch.Generator().manual_seed(3)

        def noise() -> torch.Tensor:
            return torch.randn(3, *cells, generator=random, dtype=torch.float64)

        size = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)[:, None, None, None]
        row = torch.linspace(1, 2, cells[1], dtype=torch.float64)[:, None]
        reference = noise().exp() * size * row + offset
        self.answer = reference + 0.3 * noise()
        self.reference = reference
        self.baseline = reference + 0.5 * noise()
        self.coarse = coarsen(reference) + 0.01
        self.cells, self.boundary = cells, boundary
        # Cubic cells where there are shells.
        self.length = (0.2 * cells[0], 0.2 * cells[1], 0.2 * cells[2]) if boundary == PERIODIC else LENGTH

    def whole(self) -> dict[str, Value]:
        volumes = self.answer, self.reference, self.coarse
        return report(*volumes, baseline=self.baseline, boundary=self.boundary, length=self.length)

    def slabs(
        self, slab: int, scratch: Path | None = None, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Value]:
        volumes = self.answer, self.reference, self.coarse, self.baseline
        answer, reference, coarse, baseline = (reader(volume.numpy(), 2 * slab) for volume in volumes)
        return compare(
            answer,
            reference,
            coarse,
            baseline,
            cells=self.cells,
            factor=4,
            boundary=self.boundary,
            length=self.length,
            slab=slab,
            scratch=scratch,
            progress=progress,
        )


def reader(values: NDArray[np.floating], most: int) -> Read[np.floating]:
    """Reads what may not be written, and refuses ranges that are not there or too large."""
    values.flags.writeable = False

    def read(*box: slice) -> NDArray[np.floating]:
        for cells, n in zip(box, values.shape[1:], strict=True):
            assert 0 <= cells.start < cells.stop <= n
        part = values[:, *box]
        assert part[0].size <= most
        return part

    return read


def same(found: dict[str, Value], wanted: dict[str, Value], tolerance: float = 1e-9) -> None:
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        if value is None:
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(value, rel=tolerance, abs=0, nan_ok=True), name


def held(folder: Path) -> int:
    """Bytes of files in a folder that this process has open, be they without a name."""
    files: dict[int, int] = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if str(entry.readlink()).startswith(str(folder)):
                about = entry.stat()
                files[about.st_ino] = about.st_size
        except FileNotFoundError:  # the listing's own
            continue
    return sum(files.values())


@pytest.mark.parametrize("slab", [1000, 1700, 4000])
@pytest.mark.parametrize(
    ("cells", "boundary"),
    [
        ((20, 20, 20), PERIODIC),
        ((12, 28, 20), PERIODIC),
        ((20, 12, 16), WALLS),
        ((12, 20, 16), ("wall", "periodic", "open")),
        ((20, 12, 16), ("wall", "periodic", "periodic")),
        ((20, 16, 12), ("periodic", "periodic", "open")),
        ((12, 20, 16), ("open", "open", "open")),
        ((12, 20, 16), ("wall", "wall", "wall")),
        ((12, 20, 16), ("periodic", "wall:u=-1..2:w=0.5..1", "open")),
    ],
)
def test_slabs_give_the_metrics_of_the_whole(
    cells: tuple[int, int, int], boundary: Boundaries, slab: int, tmp_path: Path
) -> None:
    case = Case(cells, boundary)
    same(case.slabs(slab, tmp_path), case.whole())
    assert not [*tmp_path.iterdir()]
    assert held(tmp_path) == 0


def test_slabs_need_no_scratch() -> None:
    case = Case((12, 28, 20), PERIODIC)
    same(case.slabs(1000), case.whole())


def test_float32_volumes_without_a_baseline() -> None:
    case = Case((20, 12, 16), WALLS)
    volumes = [volume.float() for volume in (case.answer, case.reference, case.coarse)]
    answer, reference, coarse = (reader(volume.numpy(), 3000) for volume in volumes)
    found = compare(answer, reference, coarse, cells=case.cells, factor=4, boundary=WALLS, length=LENGTH, slab=1000)
    same(found, report(*volumes, boundary=WALLS, length=LENGTH))
    assert found["skill"] is None


# What no change of the answer can change: the reference's own.
FIXED = {"divergence_reference", "skewness_reference", "flatness_reference"}


@pytest.mark.parametrize("boundary", [PERIODIC, WALLS])
@pytest.mark.parametrize("cell", [(0, 0, 0), (9, 5, 7), (19, 11, 15)])
def test_every_metric_sees_a_cell(boundary: Boundaries, cell: tuple[int, int, int]) -> None:
    """Of the first slab, of the inside and of the last one."""
    case = Case((20, 12, 16), boundary)
    before = case.slabs(1000)
    case.answer = case.answer.clone()
    # So much that shells go from more to less than half of the energy that they should have.
    case.answer[:, *cell] += 1000
    after = case.slabs(1000)
    unseen = {name for name, value in before.items() if value is not None and after[name] == value}
    assert unseen - {"resolved_wavenumber"} <= FIXED | (
        {"mae_near_wall", "skewness", "flatness"} if inner(cell) else set()
    )


def inner(cell: tuple[int, int, int]) -> bool:
    return cell[1] in range(4, 8)


def test_a_loss_of_small_scales_is_seen(tmp_path: Path) -> None:
    case = Case((20, 20, 20), PERIODIC)
    assert case.slabs(1000, tmp_path)["resolved_wavenumber"] == 10
    modes = torch.fft.rfftn(case.answer, dim=(1, 2, 3))
    modes[..., 4:] = 0
    case.answer = torch.fft.irfftn(modes, s=(20, 20, 20), dim=(1, 2, 3))
    found = case.slabs(1000, tmp_path)["resolved_wavenumber"]
    assert found == case.whole()["resolved_wavenumber"]
    assert isinstance(found, float)
    assert found < 10


def test_cells_that_are_not_cubic_have_spectra_along_each_axis() -> None:
    """A wavenumber along a stretched axis belongs to another shell than its number says."""
    case = Case((20, 20, 20), PERIODIC)
    cubic = case.whole()
    case.length = LENGTH
    found = case.slabs(1000)
    assert cubic["resolved_wavenumber"] == 10
    assert found["resolved_wavenumber"] is None
    assert found["spectrum_error_low"] != pytest.approx(cubic["spectrum_error_low"], rel=1e-3)


@pytest.mark.parametrize("boundary", [PERIODIC, WALLS])
def test_a_large_mean_costs_no_digits(boundary: Boundaries, tmp_path: Path) -> None:
    """Walls and all that is between them move."""
    still, fast = Case((20, 12, 16), boundary), Case((20, 12, 16), boundary, offset=1e5)
    fast.coarse = still.coarse + 1e5
    if boundary == WALLS:
        fast.boundary = ("periodic", "wall:u=1e5..1e5:v=1e5..1e5:w=1e5..1e5", "periodic")
    found, wanted = fast.slabs(1000, tmp_path), still.slabs(1000, tmp_path)
    for name in ("kinetic_energy_ratio", "relative_l2", "consistency", "skewness", "flatness", "spectrum_error_high"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-6), name
    if boundary == WALLS:
        assert found["stress_profile_error"] == pytest.approx(wanted["stress_profile_error"], rel=1e-6)


def test_progress_counts_to_its_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    largest = 0

    def progress(done: int, total: int) -> None:
        nonlocal largest
        seen.append((done, total))
        largest = max(largest, held(tmp_path))

    for boundary in (PERIODIC, WALLS, ("open", "open", "open")):
        seen.clear()
        Case((20, 12, 16), boundary).slabs(1000, tmp_path, progress)
        assert len(seen) > 1
        assert seen == [(n + 1, len(seen)) for n in range(len(seen))]
    assert largest == 16 * 20 * 12 * (16 // 2 + 1)


class Stopped(Exception):  # noqa: N818 it is no error
    """Raised by who has seen enough."""


def test_progress_may_stop_it_and_nothing_is_left(tmp_path: Path) -> None:
    case = Case((20, 12, 16), PERIODIC)

    def progress(_done: int, _total: int) -> None:
        if held(tmp_path):
            raise Stopped

    with pytest.raises(Stopped) as stopped:
        case.slabs(1000, tmp_path, progress)
    # Though the traceback may still hold the frames.
    assert stopped.tb is not None
    assert held(tmp_path) == 0
    assert not [*tmp_path.iterdir()]


def test_a_volume_of_one_slab_needs_no_scratch(tmp_path: Path) -> None:
    case = Case((20, 12, 16), PERIODIC)
    missing = tmp_path / "missing"
    same(case.slabs(20 * 12 * 16, missing), case.whole())
    with pytest.raises(FileNotFoundError):
        case.slabs(20 * 12 * 15, missing)


def test_part_coarse_cells_are_refused() -> None:
    case = Case((20, 12, 16), PERIODIC)
    case.cells = (20, 10, 16)
    with pytest.raises(ValueError, match=r"multiple of 4 cells long, got \(20, 10, 16\)"):
        case.slabs(1000)


def test_what_is_undefined_is_nan() -> None:
    case = Case((20, 12, 16), WALLS)
    case.answer = case.reference = case.baseline = torch.zeros(3, 20, 12, 16, dtype=torch.float64)
    case.coarse = coarsen(case.answer)
    found = case.slabs(1000)
    for name in ("relative_l2", "skill", "divergence", "enstrophy_ratio", "consistency"):
        value = found[name]
        assert isinstance(value, float)
        assert math.isnan(value), name
    same(found, case.whole())
