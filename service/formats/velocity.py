"""The layouts that velocity comes in, and back at four times the resolution.

- a bare array, (3, z, y, x) or (frame, 3, z, y, x);
- a dataset with variables ``u``, ``v``, ``w`` over (z, y, x) or (time, z, y, x), in any order of dims;
- a dataset with one variable that has a ``component`` dim of u, v, w besides these.

float64 is computed in float32, and so answered. What is not one of these is refused, not guessed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import xarray as xr

from models.metrics import report as metrics
from service.formats.grid import AXES, FACTOR, finer, length_of
from service.formats.survey import COMPONENT, COMPONENTS, TIME, _load, find_velocity, to_float32
from service.problems import invalid_field, too_large

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from service.settings import Settings


class Layout(Protocol):
    """How a velocity was laid out, and what else came with it."""

    def answer(self, fine: NDArray[np.float32], provenance: Mapping[str, str]) -> Any:  # noqa: ANN401 what came
        """The same with a fine velocity, (level, 3, 4 z, 4 y, 4 x), and a note on where it is from."""
        ...

    def dry_run(self) -> Any:  # noqa: ANN401 what came
        """The same with next to no velocity, to see whether it can be written."""
        ...


@dataclass(frozen=True)
class Volume:
    """A velocity as it was sent.

    Attributes:
        velocity: (level, 3, z, y, x); a level is a time or a frame.
        layout: how it came.
        leading: name of the leading axis, if there is one: "frame" of a bare array, "time" of a dataset.
        coordinates: of the cells along (z, y, x), where they were sent.
    """

    velocity: NDArray[np.float32]
    layout: Layout
    leading: str | None
    coordinates: tuple[NDArray[np.float64] | None, ...] = (None, None, None)

    @property
    def cells(self) -> tuple[int, int, int]:
        """Cells along (z, y, x)."""
        z, y, x = self.velocity.shape[2:]
        return z, y, x

    @property
    def length(self) -> tuple[float, float, float]:
        """See [`length_of`][service.formats.grid.length_of]."""
        return length_of(self)

    def samples(self, frames: int) -> NDArray[np.float32]:
        """What a model of so many frames super-resolves, one after another: (sample, frame, 3, z, y, x).

        To a model of one frame, times are samples of their own.

        Raises:
            Problem: 422 if there are more or fewer levels than the model takes.
        """
        levels = len(self.velocity)
        if frames == 1 and self.leading != "frame":
            return self.velocity[:, None]
        if frames > 1 and self.leading and levels == frames:
            return self.velocity[None]
        if self.leading == TIME or isinstance(self.layout, DatasetLayout):
            raise invalid_field(
                field=TIME,
                value=f"{levels} levels" if self.leading else None,
                expected=f"{frames} levels, as this model takes",
            )
        shape = list(self.velocity.shape[0 if self.leading else 1 :])
        raise invalid_field(
            field="shape",
            value=shape,
            expected=f"({f'{frames}, ' if frames > 1 else ''}3, z, y, x), as this model takes",
        )


def read(content: NDArray[np.generic] | xr.Dataset, settings: Settings, factor: int = 1) -> Volume:
    """The velocity in an opened body.

    Args:
        content: an array or a dataset, which is closed.
        settings: for what is allowed.
        factor: how much finer than a coarse volume it is.

    Raises:
        Problem: 422 if it is not one of the layouts above or not a velocity, 413 if there is too much of it.
    """
    if not isinstance(content, xr.Dataset):
        return _read_array(content, settings, factor)
    with content:
        return _read_dataset(content, settings, factor)


def _read_array(array: NDArray[Any], settings: Settings, factor: int) -> Volume:
    bare, framed = 4, 5
    if array.ndim not in (bare, framed) or array.shape[-4] != len(COMPONENTS):
        raise invalid_field(field="shape", value=list(array.shape), expected="(3, z, y, x) or (frame, 3, z, y, x)")
    levels = array if array.ndim == framed else array[None]
    _check_cells(levels.shape[2:], len(levels), settings, factor)
    velocity = np.empty(levels.shape, np.float32)
    for number, name in enumerate(COMPONENTS):
        velocity[:, number] = to_float32(levels[:, number], name, settings)
    return Volume(velocity, BareLayout(), "frame" if array.ndim == framed else None)


@dataclass(frozen=True)
class BareLayout:
    """A bare array."""

    @staticmethod
    def answer(fine: NDArray[np.float32], _provenance: Mapping[str, str]) -> NDArray[np.float32]:
        """(3, 4 z, 4 y, 4 x): bare arrays come one at a time, and carry no notes."""
        alone: NDArray[np.float32] = fine[0]
        return alone

    @staticmethod
    def dry_run() -> NDArray[np.float32]:
        """Nothing but numbers can be written."""
        return np.zeros(1, np.float32)


def _check_cells(cells: Sequence[int], levels: int, settings: Settings, factor: int) -> None:
    fewest, most = factor * settings.min_cells, factor**3 * settings.max_cells
    if not levels:
        raise invalid_field(field="shape", value=[levels, len(COMPONENTS), *cells], expected="at least one level")
    for axis, n in zip(AXES, cells, strict=True):
        if n < fewest:
            raise invalid_field(field="shape", value=list(cells), expected=f"at least {fewest} cells along {axis}")
    if levels * math.prod(cells) > most:
        raise too_large(field="shape", value=list(cells) if levels == 1 else [levels, *cells], limit=f"{most} cells")


@dataclass(frozen=True)
class DatasetLayout:
    """Variables with dims, coordinates and attributes.

    Attributes:
        source: what was sent, without its velocity.
        velocity: dims and attributes of each variable of the velocity.
        joined: whether one variable holds all components.
    """

    source: xr.Dataset
    velocity: dict[Hashable, tuple[tuple[Hashable, ...], dict[str, Any]]]
    joined: bool

    def answer(self, fine: NDArray[np.float32], provenance: Mapping[str, str]) -> xr.Dataset:
        """The same dataset on the fine grid."""
        rest = self.source
        if TIME in rest.sizes and len(fine) < rest.sizes[TIME]:
            # Several frames in, one out: the middle one.
            middle = rest.sizes[TIME] // 2
            rest = rest.isel({TIME: slice(middle, middle + 1)})
        variables = {}
        for number, (name, (dims, attributes)) in enumerate(self.velocity.items()):
            values = fine if self.joined else fine[:, number]
            standard = (TIME, COMPONENT, *AXES) if self.joined else (TIME, *AXES)
            full = xr.Variable(standard, values)
            if TIME not in dims:
                full = full.isel({TIME: 0})
            variables[name] = xr.Variable(dims, full.transpose(*dims).data, attributes)
        coordinates = {
            axis: xr.Variable((axis,), finer(rest[axis].values), rest[axis].attrs)
            for axis in AXES
            if axis in rest.coords
        }
        answer = rest.drop_vars(list(coordinates)).assign(variables).assign_coords(coordinates)
        # Variables in the order in which they came.
        order = [name for name in (*self.velocity, *rest.data_vars) if name in answer.data_vars]
        answer = answer[order]
        answer.attrs = {**self.source.attrs, **_note(self.source.attrs, provenance)}
        return answer.drop_encoding()

    def dry_run(self) -> xr.Dataset:
        """What came with the velocity, and the velocity's own attributes."""
        variables = {
            name: xr.Variable((), np.float32(0), attributes) for name, (_, attributes) in self.velocity.items()
        }
        return self.source.assign(variables).drop_encoding()


def _note(attributes: Mapping[Any, Any], provenance: Mapping[str, str]) -> dict[str, str]:
    """Where a field is from, as attributes of its own and as a line of the CF ``history``."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    line = f"{now} eddylift: {', '.join(f'{key} {value}' for key, value in provenance.items())}"
    earlier = attributes.get("history")
    return {
        "history": f"{earlier}\n{line}" if earlier else line,
        **{f"eddylift_{key}": value for key, value in provenance.items()},
    }


def _read_dataset(dataset: xr.Dataset, settings: Settings, factor: int) -> Volume:
    found = find_velocity(dataset, settings)
    levels = 1 if found.levels is None else found.levels
    _check_cells(found.cells, levels, settings, factor)
    velocity = np.empty((levels, len(COMPONENTS), *found.cells), np.float32)
    for number, component in enumerate(COMPONENTS):
        values = found.select(dataset, number, {})
        velocity[:, number] = to_float32(values[None] if found.levels is None else values, component, settings)
    kept = {name: (dataset[name].dims, dict(dataset[name].attrs)) for name in found.names}
    rest = dataset.drop_vars(list(found.names))
    for name in rest.variables:
        _load(rest[name], str(name))
    layout = DatasetLayout(rest.load().drop_encoding(), kept, found.joined)
    return Volume(velocity, layout, None if found.levels is None else TIME, found.coordinates)


def coarsened(reference: Volume) -> Volume:
    """The block means of a volume, on the grid of the coarse cells.

    Raises:
        Problem: 422 if an axis is not a whole number of coarse cells long.
    """
    for axis, n in zip(AXES, reference.cells, strict=True):
        if n % FACTOR:
            raise invalid_field(
                field="reference.shape",
                value=list(reference.cells),
                expected=f"a multiple of {FACTOR} cells along {axis}",
            )
    return dataclasses.replace(
        reference,
        velocity=metrics.coarsen(torch.from_numpy(reference.velocity), FACTOR).numpy(),
        coordinates=tuple(
            None if values is None else values.reshape(-1, FACTOR).mean(axis=1) for values in reference.coordinates
        ),
    )


def targets(reference: Volume, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """What answers are held against, (sample, 3, z, y, x): the middle one of as many levels as make one answer.

    Args:
        reference: one level for each answer, or for each level that went into a single answer.
        samples: what the answers are made from, (sample, frame, 3, z, y, x).

    Raises:
        Problem: 422 if there is not one for each answer.
    """
    levels = len(reference.velocity)
    answers, frames = samples.shape[:2]
    if answers == 1 and levels == frames:
        return reference.velocity[frames // 2 :][:1]
    if levels != answers:
        raise invalid_field(
            field="reference.levels", value=levels, expected=f"{answers}, one for each level of the answer"
        )
    return reference.velocity
