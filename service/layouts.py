"""The layouts that velocity comes in, and back at four times the resolution.

- a bare array, (3, z, y, x) or (frame, 3, z, y, x);
- a dataset with variables ``u``, ``v``, ``w`` over (z, y, x) or (time, z, y, x), in any order of dims;
- a dataset with one variable that has a ``component`` dim of u, v, w besides these.

float64 is computed in float32, and so answered. What is not one of these is refused, not guessed.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import xarray as xr

from service.errors import FLOATS, Problem, malformed, too_large, unfit

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from service.settings import Settings

FACTOR: Final = 4
COMPONENTS: Final = ("u", "v", "w")
COMPONENT: Final = "component"
TIME: Final = "time"
AXES: Final = ("z", "y", "x")
# Centres of fine cells from the centre of their coarse cell, in coarse spacings.
OFFSETS: Final = (np.arange(FACTOR) + 0.5) / FACTOR - 0.5
# How far coordinates of a reference may be from where the fine cells are, in fine spacings.
REGISTERED: Final = 0.05


class Layout(Protocol):
    """How a velocity was laid out, and what else came with it."""

    def answer(self, fine: NDArray[np.float32], provenance: Mapping[str, str]) -> Any:  # noqa: ANN401 what came
        """The same with a fine velocity, (level, 3, 4 z, 4 y, 4 x), and a note on where it is from."""
        ...

    def trial(self) -> Any:  # noqa: ANN401 what came
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
        """See [`length_of`][service.layouts.length_of]."""
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
            raise unfit(
                field=TIME,
                value=f"{levels} levels" if self.leading else None,
                expected=f"{frames} levels, as this model takes",
            )
        shape = list(self.velocity.shape[0 if self.leading else 1 :])
        raise unfit(
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
        raise unfit(field="shape", value=list(array.shape), expected="(3, z, y, x) or (frame, 3, z, y, x)")
    levels = array if array.ndim == framed else array[None]
    _check_cells(levels.shape[2:], len(levels), settings, factor)
    velocity = np.empty(levels.shape, np.float32)
    for number, name in enumerate(COMPONENTS):
        velocity[:, number] = narrow(levels[:, number], name, settings)
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
    def trial() -> NDArray[np.float32]:
        """Nothing but numbers can be written."""
        return np.zeros(1, np.float32)


def _check_cells(cells: Sequence[int], levels: int, settings: Settings, factor: int) -> None:
    fewest, most = factor * settings.min_cells, factor**3 * settings.max_cells
    if not levels:
        raise unfit(field="shape", value=[levels, len(COMPONENTS), *cells], expected="at least one level")
    for axis, n in zip(AXES, cells, strict=True):
        if n < fewest:
            raise unfit(field="shape", value=list(cells), expected=f"at least {fewest} cells along {axis}")
    if levels * math.prod(cells) > most:
        raise too_large(field="shape", value=list(cells) if levels == 1 else [levels, *cells], limit=f"{most} cells")


def narrow(values: NDArray[Any], name: str, settings: Settings) -> NDArray[np.float32]:
    """One component, (level, z, y, x), in single precision.

    Raises:
        Problem: 422 naming the first value that cannot be a velocity.
    """
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise _bad(values, ~np.isfinite(values), name, "finite velocities")
    if max(-low, high) > settings.max_speed:
        expected = f"velocities up to {settings.max_speed:g}"
        raise _bad(values, np.abs(values) > settings.max_speed, name, expected)
    narrow: NDArray[np.float32] = values.astype(np.float32)
    for marker in settings.missing_values:
        if (missing := narrow == np.float32(marker)).any():
            raise _bad(values, missing, name, f"velocities everywhere; {marker:g} marks missing data")
    return narrow


def _bad(values: NDArray[Any], where: NDArray[np.bool_], name: str, expected: str) -> Problem:
    place = np.unravel_index(int(where.argmax()), where.shape)
    first = 0 if len(values) > 1 else 1
    axes = ", ".join(("level", *AXES)[first:])
    numbers = ", ".join(str(n) for n in place[first:])
    return unfit(field=name, value=f"{float(values[place]):g} at ({axes}) = ({numbers})", expected=expected)


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

    def trial(self) -> xr.Dataset:
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


def spacing(values: NDArray[Any]) -> float:
    """Mean distance between neighbours."""
    return (float(values[-1]) - float(values[0])) / (len(values) - 1)


def finer(values: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Centres of the fine cells along an axis, in the precision of the coarse ones."""
    fine = np.add.outer(values.astype(np.float64), OFFSETS * spacing(values)).ravel()
    return fine.astype(values.dtype if values.dtype.kind == "f" else np.float64)


@dataclass(frozen=True)
class Found:
    """The velocity of a dataset, looked at and not read.

    Attributes:
        names: of u, v, w, or of the one variable that holds all.
        joined: whether one variable holds all components.
        levels: times; None without a time dim.
        cells: along (z, y, x).
        coordinates: of the cells along (z, y, x), where there are any.
    """

    names: tuple[Hashable, ...]
    joined: bool
    levels: int | None
    cells: tuple[int, int, int]
    coordinates: tuple[NDArray[np.float64] | None, ...]

    def select(self, dataset: xr.Dataset, number: int, where: Mapping[str, Any]) -> NDArray[Any]:
        """One component in a range of cells, (z, y, x) or, if times are ranges too, (time, z, y, x)."""
        array = dataset[self.names[0]].isel({COMPONENT: number}) if self.joined else dataset[self.names[number]]
        part = array.isel(where)
        name = COMPONENTS[number]
        loaded = part.copy(data=_load(part, name))
        return np.asarray(loaded.transpose(*([TIME] if TIME in part.dims else []), *AXES).values)


def survey(dataset: xr.Dataset, settings: Settings) -> Found:
    """Find the velocity in a dataset and check all but its values.

    Raises:
        Problem: 422 if there is none, or it is ambiguous.
    """
    names, joined = _find_velocity(dataset)
    first = dataset[names[0]]
    _check_variables(dataset, names, joined=joined)
    z, y, x = (first.sizes[axis] for axis in AXES)
    coordinates = tuple(_check_coordinate(dataset, axis, settings) for axis in AXES)
    return Found(tuple(names), joined, first.sizes[TIME] if TIME in first.dims else None, (z, y, x), coordinates)


def _read_dataset(dataset: xr.Dataset, settings: Settings, factor: int) -> Volume:
    found = survey(dataset, settings)
    levels = 1 if found.levels is None else found.levels
    _check_cells(found.cells, levels, settings, factor)
    velocity = np.empty((levels, len(COMPONENTS), *found.cells), np.float32)
    for number, component in enumerate(COMPONENTS):
        values = found.select(dataset, number, {})
        velocity[:, number] = narrow(values[None] if found.levels is None else values, component, settings)
    kept = {name: (dataset[name].dims, dict(dataset[name].attrs)) for name in found.names}
    rest = dataset.drop_vars(list(found.names))
    for name in rest.variables:
        _load(rest[name], str(name))
    layout = DatasetLayout(rest.load().drop_encoding(), kept, found.joined)
    return Volume(velocity, layout, None if found.levels is None else TIME, found.coordinates)


def _load(array: xr.DataArray, name: str) -> NDArray[Any]:
    try:
        return np.asarray(array.values)
    except Problem:
        raise
    except Exception as error:  # whatever decoders make of foreign bytes
        raise malformed(field=name, value="stored in chunks that do not decode", expected="whole chunks") from error


def _find_velocity(dataset: xr.Dataset) -> tuple[list[Hashable], bool]:
    """Names of the variables that hold the velocity, and whether one holds all components."""
    spatial = [name for name, array in dataset.data_vars.items() if {*AXES, COMPONENT} & {*array.dims}]
    if set(COMPONENTS) <= set(spatial):
        names: list[Hashable] = list(COMPONENTS)
        joined = False
    else:
        names = [name for name in spatial if COMPONENT in dataset[name].dims]
        joined = True
    if not names or (joined and len(names) > 1):
        found = ", ".join(f"{name}({', '.join(map(str, array.dims))})" for name, array in dataset.data_vars.items())
        missing = [name for name in COMPONENTS if name not in spatial]
        field = missing[0] if not names and len(missing) < len(COMPONENTS) else "variables"
        raise unfit(
            field=field,
            value=found or None,
            expected="variables u, v, w over (z, y, x), or one variable with a component dim of u, v, w",
        )
    if others := [str(name) for name in spatial if name not in names]:
        raise unfit(
            field=others[0],
            value="a variable over space",
            expected="velocity alone: leave out what cannot be super-resolved",
        )
    return names, joined


def _check_variables(dataset: xr.Dataset, names: Sequence[Hashable], *, joined: bool) -> None:
    """Refuse dims, types and units that velocity does not have."""
    inner = {*AXES, COMPONENT} if joined else {*AXES}
    for name in names:
        array = dataset[name]
        if {*array.dims} not in (inner, inner | {TIME}) or {*array.dims} != {*dataset[names[0]].dims}:
            expected = f"{', '.join((COMPONENT, *AXES) if joined else AXES)}, and time or not, alike in all"
            raise unfit(field=str(name), value=f"over ({', '.join(map(str, array.dims))})", expected=f"dims {expected}")
        if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
            raise unfit(field=str(name), value=str(array.dtype), expected=FLOATS)
        units = [dataset[other].attrs.get("units") for other in (names[0], name)]
        if units[0] != units[1]:
            raise unfit(field=str(name), value=f"in {units[1]}", expected=f"the units of {names[0]}, {units[0]}")
    if joined:
        _check_labels(dataset)
    for name, coordinate in dataset.coords.items():
        if name not in AXES and name != COMPONENT and {*AXES} & {*coordinate.dims}:
            raise unfit(
                field=str(name),
                value="a further coordinate over space",
                expected=f"coordinates {', '.join(AXES)} alone",
            )


def _check_labels(dataset: xr.Dataset) -> None:
    """Without labels the order is u, v, w; with labels they must say so."""
    count = dataset.sizes[COMPONENT]
    if count != len(COMPONENTS):
        raise unfit(field=COMPONENT, value=f"{count} long", expected="3: u, v, w")
    if COMPONENT not in dataset.coords:
        return
    labels = _load(dataset[COMPONENT], COMPONENT).tolist()
    labels = [label.decode(errors="replace") if isinstance(label, bytes) else label for label in labels]
    if labels not in (list(COMPONENTS), list(range(len(COMPONENTS)))):
        raise unfit(
            field=COMPONENT, value=", ".join(map(str, labels)), expected="u, v, w in this order, or 0, 1, 2 for them"
        )


def _check_coordinate(dataset: xr.Dataset, axis: str, settings: Settings) -> NDArray[np.float64] | None:
    """Cell centres along an axis, if they were sent; they must be uniform and increasing."""
    if axis not in dataset.coords:
        return None
    coordinate = dataset[axis]
    if coordinate.dims != (axis,) or coordinate.dtype.kind not in "fiu":
        raise unfit(
            field=axis,
            value=f"{coordinate.dtype} over ({', '.join(map(str, coordinate.dims))})",
            expected=f"numbers over ({axis})",
        )
    values = _load(coordinate, axis).astype(np.float64)
    if not np.isfinite(values).all():
        raise unfit(field=axis, value="not finite", expected="finite coordinates")
    step = spacing(values)
    steps = np.diff(values)
    if step <= 0:
        raise unfit(field=axis, value=f"spaced by {step:g}", expected="increasing coordinates")
    uneven = float(np.abs(steps - step).max()) / step
    if uneven > settings.spacing_tolerance:
        raise unfit(
            field=axis,
            value=f"spaced by {steps.min():g} to {steps.max():g}",
            expected=f"uniform spacing, to {settings.spacing_tolerance:g} of its mean",
        )
    return values


class Grid(Protocol):
    """Where a volume's cells are."""

    @property
    def cells(self) -> tuple[int, int, int]:
        """Cells along (z, y, x)."""

    @property
    def coordinates(self) -> tuple[NDArray[np.float64] | None, ...]:
        """Centres of the cells along (z, y, x), where they were sent."""


def length_of(grid: Grid) -> tuple[float, float, float]:
    """Length of each axis (z, y, x) by its coordinates; without all three, of cubic cells, 2 pi for the longest."""
    if any(values is None for values in grid.coordinates):
        z, y, x = (2 * math.pi * n / max(grid.cells) for n in grid.cells)
    else:
        z, y, x = (spacing(values) * len(values) for values in grid.coordinates if values is not None)
    return z, y, x


def check_pair(coarse: Grid, reference: Grid) -> None:
    """Refuse (422) a reference whose cells are not the fine cells of a coarse volume."""
    wanted = tuple(FACTOR * n for n in coarse.cells)
    if reference.cells != wanted:
        raise unfit(
            field="reference.shape",
            value=list(reference.cells),
            expected=f"{list(wanted)}, {FACTOR} times the coarse one",
        )
    for axis, coarser, finest in zip(AXES, coarse.coordinates, reference.coordinates, strict=True):
        if coarser is None or finest is None:
            continue
        off = float(np.abs(finer(coarser) - finest).max()) / spacing(finest)
        if off > REGISTERED:
            expected = f"cell centres at -3/8, -1/8, 1/8 and 3/8 of the cells of coarse.{axis}"
            raise unfit(field=f"reference.{axis}", value=f"off by {off:.2g} fine cells", expected=expected)
