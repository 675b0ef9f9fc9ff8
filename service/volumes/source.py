"""Coarse volumes of any size: Zarr groups that are read in the parts that are needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from service.formats.boundaries import read_boundary
from service.formats.decoding import load_all
from service.formats.field_checks import summarise
from service.formats.names import UNCHANGED, Naming
from service.formats.velocity import DatasetVelocity, find_velocity
from service.problems import too_large
from service.volumes.cost import check_reading
from service.volumes.fields import OpenFields, open_dataset
from service.volumes.storage import reading

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from models.blocks import Block, Boundaries, Plan
    from models.ends import FieldSummary
    from service.settings import Settings
    from service.volumes.storage import Storage


# Most bytes of all that is not velocity; each view of a volume holds it.
MOST_BESIDE: Final = 1 << 26


@dataclass
class OpenVolume(OpenFields):
    """An opened volume, whose fields are its velocity.

    Attributes:
        beside: bytes of all that is not velocity.
    """

    found: DatasetVelocity
    beside: int
    # Read when first needed. In Python 3.11 a cached_property locks those of all volumes while it reads one.
    _summary: FieldSummary | None = None
    _rest: xr.Dataset | None = None

    @property
    def cells(self) -> tuple[int, int, int]:
        """Coarse cells along (z, y, x)."""
        return self.found.cells

    @property
    def units(self) -> object:
        """Attribute of the velocity; None if there is none."""
        return self.dataset[self.found.names[0]].attrs.get("units")

    @property
    def boundary(self) -> Boundaries | None:
        """What its attribute ``boundary`` says; None if there is none.

        Raises:
            Problem: 422 if it is not a boundary.
        """
        return read_boundary(self.dataset.attrs.get("boundary"))

    @property
    def summary(self) -> FieldSummary:
        """See [`summarise`][service.formats.field_checks.summarise]; of the time in the middle."""
        if self._summary is None:
            middle = self.levels // 2
            summary = summarise(lambda z, y, x: self.read(range(middle, middle + 1), z, y, x), self.cells)
            self.require_unchanged()
            self._summary = summary
        return self._summary

    @property
    def rest(self) -> xr.Dataset:
        """All that is not velocity, read."""
        if self._rest is None:
            with reading(self.storage, self.tag, fresh=True):
                rest = load_all(self.dataset.drop_vars(list(self.found.names)))
            self.require_unchanged()
            self._rest = rest
        return self._rest

    def block(self, levels: range, layout: Plan, block: Block) -> NDArray[np.float32]:
        """A block with its halo, (level, 3, z, y, x), of the version that was opened.

        Raises:
            Problem: as ``read`` does, and 409 if the volume has changed.
        """
        values = layout.assemble(lambda z, y, x: self.read(levels, z, y, x), block)
        self.require_unchanged()
        return values


def open_source(
    storage: Storage,
    tag: str,
    settings: Settings,
    *,
    naming: Naming = UNCHANGED,
    factor: int = 1,
    partly: bool = False,
) -> OpenVolume:
    """Open a Zarr group, v2 or v3, and find its velocity.

    Args:
        storage: where it is.
        tag: of its content.
        settings: for limits.
        naming: names of its variables and dims.
        factor: how much finer than a coarse volume it is.
        partly: see [`Naming.apply`][service.formats.names.Naming.apply].

    Raises:
        Problem: 400 if it is no Zarr group, 422 if it holds no velocity, 502 if it cannot be reached.
    """
    dataset, turned, stored = open_dataset(storage, settings, naming, partly=partly)
    found = find_velocity(dataset, factor)
    most = factor**3 * settings.max_volume_cells
    if math.prod(found.cells) > most:
        raise too_large(field="shape", value=list(found.cells), limit=f"{most} cells")
    rest = sorted(
        (variable.nbytes, str(name)) for name, variable in dataset.drop_vars(list(found.names)).variables.items()
    )
    beside = sum(size for size, _ in rest)
    if beside > MOST_BESIDE:
        size, name = rest[-1]
        limit = f"{MOST_BESIDE} bytes beside the velocity; drop={name} leaves it out"
        raise too_large(field=name, value=f"{size} bytes", limit=limit)
    check_reading(dataset, found.names, settings)
    return OpenVolume(storage, tag, dataset, turned, stored, found, beside)
