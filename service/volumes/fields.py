"""Stored volumes, opened: Zarr groups of any size, whose fields are read in the parts that are needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from service.formats.cutouts import with_cutout_names
from service.formats.grid import without_bounds
from service.formats.names import TIME, StoredNames
from service.formats.pairs import find_fields
from service.formats.velocity import descending
from service.formats.zarr_group import open_group
from service.problems import decoding, too_large
from service.volumes.checked_store import CheckedStore
from service.volumes.cost import check_reading
from service.volumes.s3_storage import reaching
from service.volumes.storage import reading, require_tag

if TYPE_CHECKING:
    from collections.abc import Collection

    import xarray as xr
    from numpy.typing import NDArray

    from models.discovery.pairs import Kind
    from service.formats.fields import DatasetFields
    from service.formats.grid import Coordinate
    from service.formats.names import Naming
    from service.settings import Settings
    from service.volumes.storage import Storage


@dataclass
class OpenFields:
    """Fields of an opened volume. Reads may run side by side.

    Attributes:
        storage: where it is.
        tag: of what was opened.
        dataset: as it is stored, under the service's names and along ascending axes.
        turned: axes that were reversed, as their coordinates descend.
        stored: its names as it is stored.
        found: its fields.
    """

    storage: Storage
    tag: str
    dataset: xr.Dataset
    turned: Collection[str]
    stored: StoredNames
    found: DatasetFields

    dtype = torch.float32

    @property
    def name(self) -> str:
        """Its name or address."""
        return self.storage.name

    @property
    def shape(self) -> torch.Size:
        """(time, channel, z, y, x) or (time, channel, y, x)."""
        return torch.Size((self.levels, len(self.found.channels), *self.cells))

    @property
    def cells(self) -> tuple[int, ...]:
        """Cells along (z, y, x), or (y, x)."""
        return self.found.cells

    @property
    def coordinates(self) -> tuple[Coordinate | None, ...]:
        """Centres of the cells along these axes, where there are any."""
        return self.found.coordinates

    @property
    def levels(self) -> int:
        """Time levels."""
        return 1 if self.found.levels is None else self.found.levels

    def __getitem__(self, levels: slice, /) -> torch.Tensor:
        """The fields at some times, as those of [`Pairs`][models.discovery.pairs.Pairs]."""
        return torch.from_numpy(self.read(range(*levels.indices(self.levels)), *map(slice, self.cells)))

    def read(self, levels: range, *cells: slice) -> NDArray[np.float32]:
        """Values (level, channel, z, y, x), or without z, in a range of cells.

        Raises:
            Problem: 422 if there is a value that is missing or not finite, 400 if a chunk does not decode; 409 or 404
                instead if the volume has changed.
        """
        where = dict(zip(self.found.axes, cells, strict=True))
        if self.found.levels is not None:
            where[TIME] = slice(levels.start, levels.stop)
        with reading(self.storage, self.tag, fresh=True):
            parts = [self.found.read(self.dataset, number, where) for number in range(len(self.found.channels))]
        return np.stack(parts, axis=1)

    def require_unchanged(self, *, fresh: bool = False) -> None:
        """Refuse (409) a volume that has changed since it was opened.

        Args:
            fresh: whether to see at once what changed without a service, too.
        """
        require_tag(self.storage, self.tag, fresh=fresh)


def open_dataset(
    storage: Storage, settings: Settings, naming: Naming, *, partly: bool
) -> tuple[xr.Dataset, Collection[str], StoredNames]:
    """Open a Zarr group, v2 or v3, under the service's names and along ascending axes.

    Args:
        storage: where it is.
        settings: for limits.
        naming: names of its variables and dims.
        partly: see [`Naming.apply`][service.formats.names.Naming.apply].

    Returns:
        The dataset, the axes that were reversed, and its names as it is stored.

    Raises:
        Problem: 400 if it is no Zarr group, 413 or 422 if it must not be read, 502 if it cannot be reached; as
            `storing` does if the disk cannot be read.
    """
    store = CheckedStore(storage.group())
    store.name = storage.name
    value = f"{storage.name}, which cannot be opened"
    with decoding(field="volume", value=value, expected="a Zarr group"), reaching(storage.name):
        store.inspect(settings)
        dataset = open_group(store)
    named = without_bounds(with_cutout_names(dataset, naming).apply(dataset, partly=partly))
    turned = descending(named)
    return named.isel(turned), turned, StoredNames.of(dataset)


def open_fields(storage: Storage, settings: Settings, kind: Kind, naming: Naming) -> OpenFields:
    """Open the fields of pairs, one at each time.

    Args:
        storage: where they are.
        settings: for limits.
        kind: what they are.
        naming: names of both volumes of the pairs, see [`Naming.check`][service.formats.names.Naming.check].

    Raises:
        Problem: as `open_dataset` does, 422 if it has no such fields, and 409 if it was changed meanwhile.
    """
    tag = storage.tag(fresh=True).digest
    with reading(storage, tag):
        dataset, turned, stored = open_dataset(storage, settings, naming, partly=True)
        found = find_fields(dataset, kind)
    if math.prod(found.cells) > settings.max_volume_cells:
        raise too_large(field="shape", value=list(found.cells), limit=f"{settings.max_volume_cells} cells")
    check_reading(dataset, found.names, settings)
    fields = OpenFields(storage, tag, dataset, turned, stored, found)
    fields.require_unchanged()
    return fields
