"""Coarse volumes that are read where and when they are needed: Zarr groups of any size."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from models.blocks import parse_boundary
from service.errors import malformed, unfit
from service.layouts import AXES, COMPONENTS, TIME, Found, narrow, survey

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.blocks import Block, Boundaries, Plan
    from service.settings import Settings

    Scale = tuple[NDArray[np.float32], np.float32]

# Cells of one component that are read at a time for the moments.
SLAB: Final = 1 << 22


@dataclass
class Source:
    """An opened volume. Reads may run side by side.

    Attributes:
        name: what it is called.
        tag: other content, other tag.
        dataset: as it is stored: times are numbers, nothing is scaled.
        found: its velocity.
        notes: folder where its moments are kept; None keeps them in memory alone.
    """

    name: str
    tag: str
    dataset: xr.Dataset
    found: Found
    settings: Settings
    notes: Path | None = None
    _scales: dict[tuple[int, int], Scale] = field(default_factory=dict)
    _measuring: threading.Lock = field(default_factory=threading.Lock)

    @property
    def cells(self) -> tuple[int, int, int]:
        """Coarse cells along (z, y, x)."""
        return self.found.cells

    @property
    def levels(self) -> int:
        """Time levels."""
        return 1 if self.found.levels is None else self.found.levels

    @property
    def boundary(self) -> Boundaries | None:
        """What its attribute ``boundary`` says; None if there is none.

        Raises:
            Problem: 422 if it is not a boundary.
        """
        said = self.dataset.attrs.get("boundary")
        if said is None:
            return None
        try:
            return parse_boundary(said if isinstance(said, str) else ",".join(map(str, said)))
        except (TypeError, ValueError) as error:
            expected = "periodic, wall or open, or three of them for z, y, x"
            raise unfit(field="boundary", value=str(said), expected=expected) from error

    def read(self, levels: range, z: slice, y: slice, x: slice) -> NDArray[np.float32]:
        """Velocity (level, 3, z, y, x) in a range of cells.

        Raises:
            Problem: 422 if there is a value that cannot be a velocity, 400 if a chunk does not decode.
        """
        where: dict[str, Any] = dict(zip(AXES, (z, y, x), strict=True))
        if self.found.levels is not None:
            where[TIME] = slice(levels.start, levels.stop)
        parts = []
        for number, name in enumerate(COMPONENTS):
            values = self.found.select(self.dataset, number, where)
            parts.append(narrow(values if self.found.levels is not None else values[None], name, self.settings))
        return np.stack(parts, axis=1)

    def block(self, levels: range, layout: Plan, block: Block) -> NDArray[np.float32]:
        """A block with its halo, (level, 3, z, y, x); see ``read`` for errors."""
        return layout.assemble(lambda z, y, x: self.read(levels, z, y, x), block)

    def scale(self, levels: range) -> Scale:
        """Mean velocity and rms of all components about it, over levels and cells; see ``read`` for errors.

        Found once, in one pass through slabs of the volume, and kept.
        """
        key = (levels.start, levels.stop)
        with self._measuring:
            if key not in self._scales:
                note = self.notes / f"{self.tag[:32]}-{levels.start}-{levels.stop}.json" if self.notes else None
                if note and note.exists():
                    mean, rms = json.loads(note.read_text())
                else:
                    mean, rms = self._measure(levels)
                    if note:
                        note.parent.mkdir(parents=True, exist_ok=True)
                        note.write_text(json.dumps([mean, rms]))
                self._scales[key] = np.array(mean, np.float32), np.float32(rms)
            return self._scales[key]

    def _measure(self, levels: range) -> tuple[list[float], float]:
        depth, height, width = self.cells
        step = max(1, SLAB // (height * width))
        count, mean, squares = 0, np.zeros(3), np.zeros(3)
        for level in levels:
            for start in range(0, depth, step):
                slab = self.read(
                    range(level, level + 1), slice(start, min(start + step, depth)), slice(0, height), slice(0, width)
                )[0]
                # Chan, Golub & LeVeque, Am. Stat. 37, 1983: two sets of samples put together.
                more = slab[0].size
                part = slab.mean(axis=(1, 2, 3), dtype=np.float64)
                spread = np.square(slab - part[:, None, None, None]).sum(axis=(1, 2, 3))
                gap = part - mean
                squares += spread + gap**2 * (count * more / (count + more))
                mean += gap * (more / (count + more))
                count += more
        return mean.tolist(), float(np.sqrt(squares.mean() / count))


def open_source(path: Path, name: str, tag: str, settings: Settings, notes: Path | None = None) -> Source:
    """Open a Zarr group, v2 or v3, and look at its velocity.

    Raises:
        Problem: 400 if it is no Zarr group, 422 if it holds no velocity.
    """
    try:
        dataset = xr.open_zarr(path, chunks=None, consolidated=False, decode_cf=False)
    except Exception as error:  # whatever zarr makes of foreign files
        raise malformed(field="volume", value=f"{name}, which cannot be opened", expected="a Zarr group") from error
    found = survey(dataset, settings)
    for variable in found.names:
        if packed := {"scale_factor", "add_offset"} & set(dataset[variable].attrs):
            raise unfit(field=str(variable), value=f"packed by its {packed.pop()}", expected="velocities as they are")
    for axis, cells in zip(AXES, found.cells, strict=True):
        if cells < settings.min_cells:
            expected = f"at least {settings.min_cells} cells along {axis}"
            raise unfit(field="shape", value=list(found.cells), expected=expected)
    if found.levels == 0:
        raise unfit(field=TIME, value="empty", expected="at least one level")
    return Source(name, tag, dataset, found, settings, notes)
