"""Velocity in memory, read from a bare array or a dataset that was sent.

Bare arrays are (3, z, y, x) or (time, 3, z, y, x). float64 is computed in float32, and so answered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import numpy as np
import xarray as xr

from service.formats.boundaries import choose_boundary
from service.formats.cutouts import with_cutout_names
from service.formats.decoding import to_float32
from service.formats.error import check_free
from service.formats.field_checks import check_field, summarise
from service.formats.grid import check_axes, check_times, without_bounds
from service.formats.layout import BareLayout, DatasetLayout
from service.formats.names import COMPONENTS, TIME, UNCHANGED, Naming, StoredNames
from service.formats.velocity import check_cells, descending, find_velocity
from service.problems import invalid_field, too_large

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from models.blocks import Boundaries
    from models.catalogue import Card
    from models.ends import FieldSummary
    from service.formats.grid import Coordinate
    from service.formats.layout import Layout
    from service.settings import Settings


# What to do with volumes that are too large for a request.
LARGER: Final = "upload it, and open a view of it or submit a job"


class ModelInput(NamedTuple):
    """A volume as it is given to a model.

    Attributes:
        samples: velocity, (sample, frame, 3, z, y, x).
        boundary: what lies beyond the ends of each axis (z, y, x).
        summary: what the checks of the volume are based on.
        warnings: for the client.
    """

    samples: NDArray[np.float32]
    boundary: Boundaries
    summary: FieldSummary
    warnings: list[str]


@dataclass(frozen=True)
class Volume:
    """A velocity as it was sent.

    Attributes:
        velocity: (time, 3, z, y, x).
        layout: how it came.
        has_times: whether it came with an axis of times.
        coordinates: centres of the cells along (z, y, x), where they were sent.
        boundary: the attribute ``boundary``, if there is one.
        units: attribute of the velocity, if there is one.
        length_units: attribute ``units`` of the coordinate x, if there is one.
        stored: names in a dataset as it was sent; None of a bare array.
    """

    velocity: NDArray[np.float32]
    layout: Layout
    has_times: bool
    coordinates: tuple[Coordinate | None, ...] = (None, None, None)
    boundary: object = None
    units: object = None
    length_units: object = None
    stored: StoredNames | None = None

    @property
    def cells(self) -> tuple[int, int, int]:
        """Cells along (z, y, x)."""
        z, y, x = self.velocity.shape[2:]
        return z, y, x

    @property
    def levels(self) -> int:
        """Number of times."""
        return len(self.velocity)

    @property
    def rest(self) -> xr.Dataset:
        """All that came with the velocity."""
        return self.layout.rest

    @property
    def turned(self) -> Collection[str]:
        """Axes that were reversed, as their coordinates descend."""
        return self.layout.turned

    @property
    def summary(self) -> FieldSummary:
        """See [`summarise`][service.formats.field_checks.summarise]; of the level in the middle."""
        middle = self.velocity[len(self.velocity) // 2]
        return summarise(lambda z, y, x: middle[:, z, y, x], self.cells)

    def prepare(self, card: Card, asked: Boundaries | None) -> ModelInput:
        """Choose the boundary, check the volume, and divide its times into samples for a model.

        Args:
            card: of the model.
            asked: boundary that the request names, if any.

        Raises:
            Problem: 422 if the volume does not fit the model or the boundary.
        """
        boundary, warnings = choose_boundary(asked, self.boundary, card)
        summary = self.summary
        warnings += check_field(summary, boundary, card) + check_axes(self, self.rest, card)
        samples = self.samples(card.frames)
        return ModelInput(samples, boundary, summary, [*warnings, *self.check_times(card.frames)])

    def samples(self, frames: int) -> NDArray[np.float32]:
        """The samples for a model of this number of frames: (sample, frame, 3, z, y, x).

        A model of several frames slides over the times, so that it answers at those that have neighbours on both sides.

        Raises:
            Problem: 422 if there are fewer times than the model takes.
        """
        if len(self.velocity) < frames:
            self._refuse_times(frames)
        # Windows on one memory; torch takes none that is read-only, and nobody writes.
        windows = np.lib.stride_tricks.sliding_window_view(self.velocity, frames, axis=0, writeable=True)
        return np.moveaxis(windows, -1, 1)

    def _refuse_times(self, frames: int) -> NoReturn:
        if isinstance(self.layout, DatasetLayout):
            value = f"{len(self.velocity)} times" if self.has_times else None
            raise invalid_field(field=TIME, value=value, expected=f"at least {frames}, as this model takes")
        shape = list(self.velocity.shape[0 if self.has_times else 1 :])
        expected = f"(time, 3, z, y, x) of at least {frames} times, as this model takes"
        raise invalid_field(field="shape", value=shape, expected=expected)

    def check_times(self, frames: int) -> list[str]:
        """Warnings about uneven times, and the ends of a series, where a model of several frames has no answer.

        Raises:
            Problem: 422 if its times do not grow.
        """
        times, ends = len(self.velocity), frames // 2
        if not ends:
            return []
        warnings = check_times(self.rest)
        told = f"the model takes {frames} times: the first {ends} and the last {ends} of {times} have no answer"
        return [*warnings, *([told] if times > frames else [])]


class ReadOptions(NamedTuple):
    """How a body is read.

    Attributes:
        factor: how much finer than a coarse volume it is.
        naming: names of a dataset; a bare array has none, and is refused with some.
        partly: see [`Naming.apply`][service.formats.names.Naming.apply].
        error: whether the answer will have a variable ``error``.
    """

    factor: int = 1
    naming: Naming = UNCHANGED
    partly: bool = False
    error: bool = False


def read(content: NDArray[np.generic] | xr.Dataset, settings: Settings, options: ReadOptions) -> Volume:
    """The velocity in an opened body.

    Args:
        content: an array or a dataset, which is closed.
        settings: for limits.
        options: how it is read.

    Raises:
        Problem: 422 if it is none of the layouts above or no velocity, 413 if it is too large.
    """
    if not isinstance(content, xr.Dataset):
        if not options.partly:
            options.naming.check()
        return _read_array(content, settings, options.factor)
    with content:
        return _read_dataset(content, settings, options)


def _read_array(array: NDArray[Any], settings: Settings, factor: int) -> Volume:
    bare, series = 4, 5
    if array.ndim not in (bare, series) or array.shape[-4] != len(COMPONENTS):
        are_last = array.ndim in (bare, series) and array.shape[-1] == len(COMPONENTS)
        way_round = "; numpy.moveaxis(array, -1, -4) moves the components to their place" if are_last else ""
        expected = f"(3, z, y, x) or (time, 3, z, y, x){way_round}"
        raise invalid_field(field="shape", value=list(array.shape), expected=expected)
    levels = array if array.ndim == series else array[None]
    z, y, x = levels.shape[2:]
    check_cells((z, y, x), len(levels), factor)
    _check_size((z, y, x), len(levels), settings, factor)
    velocity = np.empty(levels.shape, np.float32)
    for number, name in enumerate(COMPONENTS):
        velocity[:, number] = to_float32(levels[:, number], name)
    has_times = array.ndim == series
    return Volume(velocity, BareLayout(len(levels) if has_times else None), has_times)


def _read_dataset(dataset: xr.Dataset, settings: Settings, options: ReadOptions) -> Volume:
    naming = with_cutout_names(dataset, options.naming)
    named = without_bounds(naming.apply(dataset, partly=options.partly))
    if options.error:
        check_free({*named.variables, *named.dims, *(ours for ours, _ in naming.names)})
    turned = descending(named)
    named = named.isel(turned)
    found = find_velocity(named, options.factor)
    levels = 1 if found.levels is None else found.levels
    _check_size(found.cells, levels, settings, options.factor)
    velocity = np.empty((levels, len(COMPONENTS), *found.cells), np.float32)
    for number in range(len(COMPONENTS)):
        velocity[:, number] = found.read(named, number, {})
    layout = DatasetLayout.of(named, found, naming, turned)
    return Volume(
        velocity,
        layout,
        found.levels is not None,
        found.coordinates,
        named.attrs.get("boundary"),
        units=named[found.names[0]].attrs.get("units"),
        length_units=named["x"].attrs.get("units"),
        stored=StoredNames.of(dataset),
    )


def _check_size(cells: Sequence[int], levels: int, settings: Settings, factor: int) -> None:
    most = factor**3 * settings.max_cells
    if levels * math.prod(cells) > most:
        limit = f"{most} cells in a request; {LARGER}"
        raise too_large(field="shape", value=list(cells) if levels == 1 else [levels, *cells], limit=limit)
