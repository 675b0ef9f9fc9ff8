"""Fields of a dataset over a plane or over space, such as a velocity or some scalars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.formats.decoding import load
from service.formats.names import AXES, TIME

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from service.formats.decoding import Decoding
    from service.formats.grid import Coordinate


@dataclass(frozen=True)
class DatasetFields:
    """Where the fields of a dataset are; their values are not read yet.

    Attributes:
        names: of the variables.
        levels: number of times; None without a time dim.
        cells: along (z, y, x), or (y, x).
        coordinates: centres of the cells along these axes, where there are any.
        decodings: how the numbers of each of ``names`` are read.
    """

    names: tuple[Hashable, ...]
    levels: int | None
    cells: tuple[int, ...]
    coordinates: tuple[Coordinate | None, ...]
    decodings: tuple[Decoding, ...]

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of cells."""
        return AXES[-len(self.cells) :]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return tuple(map(str, self.names))

    def read(self, dataset: xr.Dataset, number: int, where: Mapping[str, slice]) -> NDArray[np.float32]:
        """One channel in a range of cells and times, (level, z, y, x) or (level, y, x).

        Raises:
            Problem: 422 for a value that is missing or not finite, 400 for a chunk that does not decode.
        """
        channel = self.channels[number]
        array, decoding = self._array(dataset, number)
        array = array.isel(where)
        loaded = array.copy(data=load(array, channel))
        stored = loaded.transpose(*([TIME] if self.levels is not None else []), *self.axes).values
        levels = stored if self.levels is not None else stored[None]
        origin = [where[axis].start or 0 if axis in where else 0 for axis in (TIME, *self.axes)]
        return decoding.to_float32(levels, channel, origin)

    def _array(self, dataset: xr.Dataset, number: int) -> tuple[xr.DataArray, Decoding]:
        return dataset[self.names[number]], self.decodings[number]
