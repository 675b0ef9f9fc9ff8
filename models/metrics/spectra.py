"""Kinetic energy by wavenumber: in shells of a periodic volume, and along the lines of a periodic axis."""

from __future__ import annotations

import math
import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Complex128, Float, Float64
from torch import Tensor

from models.metrics.slabs import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from models.blocks import Cells, Read
    from models.metrics.slabs import Box


# Share of the energy of a float32 field that may be round-off: eps^2 is 1e-14.
ROUND_OFF = 1e-12


class Spectrum(NamedTuple):
    """Kinetic energy by wavenumber.

    Attributes:
        k: shell k holds the wavenumbers that round to k, in units of 2 pi over the longest edge's period; along lines
            they are waves in the axis.
        energy: E(k); its sum is the kinetic energy of the fluctuations, mean |u|^2 / 2, without that of modes beyond
            the last shell; along lines, of fluctuations about the mean of each.
    """

    k: Tensor
    energy: Tensor


class Shells:
    """E(k) = sum over the shell |k'| in [k - 1/2, k + 1/2) of |u_k'|^2 / 2 (Pope, Turbulent Flows, eq. 6.188).

    For a volume of cubic cells; shells run to the Nyquist wavenumber of the longest axis.

    Args:
        cells: of the volume along (z, y, x).
    """

    def __init__(self, cells: Cells) -> None:
        nz, ny, nx = cells
        longest = max(cells)
        self.last = longest // 2
        self.kz, self.ky = (torch.fft.fftfreq(n, 1 / longest, dtype=torch.float64) for n in (nz, ny))
        self.kx = torch.fft.rfftfreq(nx, 1 / longest, dtype=torch.float64)
        # rfft keeps half of the modes: all but the first and, for even lengths, the last plane stand for two.
        self.weight = torch.ones_like(self.kx)
        self.weight[0] = 1 / 2
        if nx % 2 == 0:
            self.weight[-1] = 1 / 2
        # The last entry is for modes beyond all shells.
        self.energy = torch.zeros(self.last + 2, dtype=torch.float64)

    def add(self, modes: Complex128[Tensor, "z y2 half_x"], start: int = 0) -> None:
        """Add modes of one component, whole along z and x, whose y wavenumbers begin at number ``start``."""
        power = _power(modes) * self.weight.to(modes.device)
        ky = self.ky[start : start + modes.shape[1], None]
        k = (self.kz[:, None, None].square() + ky.square() + self.kx.square()).sqrt()
        shell = (k + 0.5).long().clamp_(max=self.last + 1).to(modes.device)
        self.energy += torch.bincount(shell.flatten(), power.flatten(), self.last + 2).cpu()

    def spectrum(self) -> Spectrum:
        """The spectrum of all components."""
        return Spectrum(torch.arange(1, self.last + 1), self.energy[1 : self.last + 1])


def spectrum(field: Float[Tensor, "3 z y x"]) -> Spectrum:
    """The spectrum by [`Shells`][models.metrics.spectra.Shells] of a field that is periodic along all axes."""
    _, nz, ny, nx = field.shape
    shells = Shells((nz, ny, nx))
    for component in field.double():
        shells.add(torch.fft.rfftn(component, norm="forward"))
    return shells.spectrum()


def read_spectrum(
    read: Read[np.floating],
    cells: Cells,
    *,
    slab: int,
    scratch: Path | None,
    step: Callable[[], None],
) -> Spectrum:
    """The spectrum by [`Shells`][models.metrics.spectra.Shells] of a volume that is not in memory.

    Each component is transformed by itself, along x and y in slabs cut along z and then along z in slabs cut along y.
    Between the two it is in an unnamed file, which the system removes with the process.

    Args:
        read: gives (3, z, y, x) for ranges of cells.
        cells: of the volume along (z, y, x).
        slab: cells in memory at a time.
        scratch: folder for 8 bytes a cell (16 a mode: 8.6 GB for 1024^3), not used for a volume of a single slab; None
            holds as much in memory.
        step: called after each of [`steps`][models.metrics.spectra.steps] slabs.

    Raises:
        OSError: if the file cannot be written.
    """
    shells = Shells(cells)
    planes, columns = _slabs(cells, slab)
    with _space(_modes(cells), scratch if len(planes) > 1 else None) as modes:
        for component in range(3):
            for box in planes:
                plane = torch.from_numpy(np.array(read(*box)[component], np.float64))
                modes[box[0]] = torch.fft.rfft2(plane, norm="forward").numpy()
                step()
            for _, along_y, _ in columns:
                shells.add(
                    torch.fft.fft(torch.from_numpy(np.array(modes[:, along_y])), dim=0, norm="forward"), along_y.start
                )
                step()
    return shells.spectrum()


def steps(cells: Cells, slab: int) -> int:
    """How many slabs [`read_spectrum`][models.metrics.spectra.read_spectrum] processes."""
    return 3 * sum(map(len, _slabs(cells, slab)))


def _modes(cells: Cells) -> Cells:
    nz, ny, nx = cells
    return nz, ny, nx // 2 + 1


def _slabs(cells: Cells, slab: int) -> tuple[list[Box], list[Box]]:
    # A mode is twice as large as a value.
    return cut(cells, slab, whole=(-2, -1)), cut(_modes(cells), max(1, slab // 2), whole=(-3, -1))


@contextmanager
def _space(shape: Cells, scratch: Path | None) -> Iterator[NDArray[np.complex128]]:
    """An array in memory, or in a temporary file."""
    if scratch is None:
        yield np.empty(shape, np.complex128)
        return
    with tempfile.TemporaryFile(dir=scratch) as file:
        # So that a full disk is an error here, not a bus error later.
        os.posix_fallocate(file.fileno(), 0, 16 * int(np.prod(shape)))
        try:
            yield np.memmap(file, np.complex128, "r+", shape=shape)
        finally:
            # A traceback may keep the map, and with it the file, for long.
            file.truncate(0)


class Lines:
    """E(k) along one axis, half of E_ii of Pope, eq. 6.206, averaged over the other two.

    Args:
        cells: of the volume along (z, y, x).
        axis: array axis, -3 to -1 for z, y, x, along which it is periodic.
    """

    def __init__(self, cells: Cells, axis: int) -> None:
        self.axis = axis
        self.cells = cells[axis]
        self.lines = int(np.prod(cells)) // self.cells
        self.energy = torch.zeros(self.cells // 2 + 1, dtype=torch.float64)

    def add(self, component: Float64[Tensor, "z y x"]) -> None:
        """Add a part of one component, whole along the axis."""
        modes = torch.fft.rfft(component, dim=self.axis, norm="forward")
        others = [axis for axis in (-3, -2, -1) if axis != self.axis]
        self.energy += _power(modes).sum(dim=others).cpu()

    def spectrum(self) -> Spectrum:
        """The spectrum of all components and lines."""
        energy = self.energy / self.lines
        if self.cells % 2 == 0:
            energy[-1] /= 2
        last = self.cells // 2
        return Spectrum(torch.arange(1, last + 1), energy[1 : last + 1])


def spectrum_errors(answer: Spectrum, reference: Spectrum, factor: int) -> tuple[float, float]:
    """Rms of log10(E_answer / E_reference) over the shells below and above the coarse Nyquist wavenumber.

    Shells that a simulation left empty, so that the reference has only round-off there, are left out.
    """
    tiny = torch.finfo(torch.float64).tiny
    ratio = ((answer.energy + tiny) / (reference.energy + tiny)).log10()
    ratio = ratio.where(_is_filled(reference), torch.nan)
    cut_off = len(ratio) // factor
    return float(ratio[:cut_off].square().nanmean().sqrt()), float(ratio[cut_off:].square().nanmean().sqrt())


def resolved_wavenumber(answer: Spectrum, reference: Spectrum) -> float:
    """The first shell with less than half of the reference's energy; the last shell if there is none, NaN at rest.

    Shells that a simulation left empty do not count.
    """
    if not reference.energy.any():
        return math.nan
    short = ((answer.energy < reference.energy / 2) & _is_filled(reference)).nonzero()
    return float(answer.k[int(short[0]) if len(short) else -1])


def _is_filled(spectrum: Spectrum) -> Tensor:
    """Whether a shell has more than round-off."""
    return spectrum.energy > ROUND_OFF * spectrum.energy.sum()


def _power(modes: Tensor) -> Tensor:
    """|modes|^2."""
    return modes.real.square() + modes.imag.square()
