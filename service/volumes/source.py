"""Coarse volumes that are read where and when they are needed: Zarr groups of any size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from models.blocks import parse_boundary
from service.formats.grid import AXES
from service.formats.survey import COMPONENTS, TIME, Found, find_velocity, to_float32
from service.problems import Problem, invalid_field, malformed, too_large
from service.volumes.checked_store import CheckedStore
from service.volumes.cost import check_reading
from service.volumes.s3_storage import reaching

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from models.blocks import Block, Boundaries, Plan
    from service.settings import Settings
    from service.volumes.storage import Storage


@dataclass
class OpenVolume:
    """An opened volume. Reads may run side by side.

    Attributes:
        storage: where it is.
        tag: of what was opened.
        dataset: as it is stored: times are numbers, nothing is scaled.
        found: its velocity.
    """

    storage: Storage
    tag: str
    dataset: xr.Dataset
    found: Found
    settings: Settings

    @property
    def name(self) -> str:
        """What it is called."""
        return self.storage.name

    @property
    def cells(self) -> tuple[int, int, int]:
        """Coarse cells along (z, y, x)."""
        return self.found.cells

    @property
    def coordinates(self) -> tuple[NDArray[np.float64] | None, ...]:
        """Centres of the cells along (z, y, x), where there are any."""
        return self.found.coordinates

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
            raise invalid_field(field="boundary", value=str(said), expected=expected) from error

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
            parts.append(to_float32(values if self.found.levels is not None else values[None], name, self.settings))
        return np.stack(parts, axis=1)

    def block(self, levels: range, layout: Plan, block: Block) -> NDArray[np.float32]:
        """A block with its halo, (level, 3, z, y, x), all of it of the volume that was opened.

        Raises:
            Problem: as ``read`` does, and 409 if the volume was changed, so that the block may be of two.
        """
        values = layout.assemble(lambda z, y, x: self.read(levels, z, y, x), block)
        self.require_unchanged()
        return values

    def require_unchanged(self, *, fresh: bool = False) -> None:
        """Refuse (409) to go on with a volume that is another one by now.

        Args:
            fresh: look at it now; else changes that no service made are seen a little later.
        """
        if self.storage.tag(fresh=fresh).digest != self.tag:
            raise Problem("changed", f"{self.name} has changed since it was opened")


def open_source(
    storage: Storage,
    tag: str,
    settings: Settings,
    *,
    names: Mapping[str, str] | None = None,
    factor: int = 1,
) -> OpenVolume:
    """Open a Zarr group, v2 or v3, and look at its velocity.

    Args:
        storage: where it is.
        tag: of its content.
        settings: for what is allowed.
        names: what variables and dims are to be called, by what they are called.
        factor: how much finer than a coarse volume it is.

    Raises:
        Problem: 400 if it is no Zarr group, 422 if it holds no velocity, 502 if it cannot be reached.
    """
    store = CheckedStore(storage.group())
    store.name = storage.name
    try:
        with reaching(storage.name):
            store.inspect(settings)
            dataset = xr.open_zarr(store, chunks=None, consolidated=False, decode_cf=False)
    except Problem:
        raise
    except Exception as error:  # whatever zarr makes of foreign files
        value = f"{storage.name}, which cannot be opened"
        raise malformed(field="volume", value=value, expected="a Zarr group") from error
    if names:
        dataset = _renamed(dataset, names)
    found = find_velocity(dataset, settings)
    for variable in found.names:
        if packed := {"scale_factor", "add_offset"} & set(dataset[variable].attrs):
            raise invalid_field(
                field=str(variable), value=f"packed by its {packed.pop()}", expected="velocities as they are"
            )
    fewest, most = factor * settings.min_cells, factor**3 * settings.max_volume_cells
    for axis, cells in zip(AXES, found.cells, strict=True):
        if cells < fewest:
            raise invalid_field(
                field="shape", value=list(found.cells), expected=f"at least {fewest} cells along {axis}"
            )
    if found.levels == 0:
        raise invalid_field(field=TIME, value="empty", expected="at least one level")
    if math.prod(found.cells) > most:
        raise too_large(field="shape", value=list(found.cells), limit=f"{most} cells")
    check_reading(dataset, found.names, settings)
    return OpenVolume(storage, tag, dataset, found, settings)


def _renamed(dataset: xr.Dataset, names: Mapping[str, str]) -> xr.Dataset:
    known = {*map(str, dataset.variables), *map(str, dataset.dims)}
    if strangers := [name for name in names if name not in known]:
        raise invalid_field(field="names", value=strangers[0], expected=f"one of {', '.join(sorted(known))}")
    try:
        return dataset.rename({ours: theirs for ours, theirs in names.items() if ours != theirs})
    except ValueError as error:
        raise invalid_field(field="names", value=dict(names), expected="names that differ from each other") from error
