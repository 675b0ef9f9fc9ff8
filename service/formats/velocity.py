"""Finds the velocity in a dataset. Anything ambiguous is refused.

Velocity is either of these:

- variables ``u``, ``v``, ``w`` over (z, y, x) or (time, z, y, x), in any order of dims;
- one variable with a ``component`` dim of u, v, w besides these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from service.formats.decoding import Decoding, load, unpacked
from service.formats.fields import DatasetFields
from service.formats.grid import read_coordinates
from service.formats.names import AXES, COMPONENT, COMPONENTS, MADE_UP, TIME, guess, order_of, positions, spell
from service.formats.units import same_units
from service.problems import invalid_field, too_large

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import xarray as xr


# Fewest coarse cells along an axis, and most arrays of a dataset.
MIN_CELLS: Final = 4
MAX_ARRAYS: Final = 64


@dataclass(frozen=True)
class DatasetVelocity(DatasetFields):
    """Where the velocity of a dataset is; its values are not read yet.

    Attributes:
        names: of the variables u, v, w, or of the one that holds all.
        cells: along (z, y, x).
        order: places of u, v, w along the component dim of that one; None if there are three.
    """

    cells: tuple[int, int, int]
    order: tuple[int, ...] | None

    @property
    def joined(self) -> bool:
        """Whether one variable holds all components."""
        return self.order is not None

    @property
    def channels(self) -> tuple[str, ...]:
        """u, v and w."""
        return COMPONENTS

    def _array(self, dataset: xr.Dataset, number: int) -> tuple[xr.DataArray, Decoding]:
        if self.order is None:
            return super()._array(dataset, number)
        return dataset[self.names[0]].isel({COMPONENT: self.order[number]}), self.decodings[0]


def descending(dataset: xr.Dataset) -> dict[str, slice]:
    """The selection that reverses axes whose coordinates decrease, so that velocities point along the cells.

    The same selection reverses them again.
    """
    turned = {}
    for axis in AXES:
        if axis in dataset.coords and dataset[axis].dims == (axis,) and dataset[axis].dtype.kind in "fiu":
            values = unpacked(dataset[axis])
            if len(values) > 1 and values[-1] < values[0]:
                turned[axis] = slice(None, None, -1)
    return turned


def find_velocity(dataset: xr.Dataset, factor: int = 1) -> DatasetVelocity:
    """Find the velocity in a dataset and check all but its values.

    Args:
        dataset: as it is stored, along ascending axes.
        factor: how much finer than a coarse volume it is.

    Raises:
        Problem: 422 if there is none, or it is ambiguous.
    """
    names = _find_variables(dataset)
    joined = len(names) == 1
    _check_others(dataset, names)
    _check_variables(dataset, names)
    first = dataset[names[0]]
    z, y, x = (first.sizes[axis] for axis in AXES)
    levels = first.sizes[TIME] if TIME in first.dims else None
    check_cells((z, y, x), 1 if levels is None else levels, factor)
    coordinates = read_coordinates(dataset, AXES)
    order = _find_order(dataset) if joined else None
    decodings = tuple(Decoding.of(dataset[name]) for name in names)
    return DatasetVelocity(tuple(names), levels, (z, y, x), coordinates, decodings, order)


def check_cells(cells: tuple[int, int, int], levels: int, factor: int) -> None:
    """Refuse (422) volumes without levels, and with too few cells along an axis."""
    if not levels:
        raise invalid_field(field="shape", value=[levels, len(COMPONENTS), *cells], expected="at least one level")
    fewest = factor * MIN_CELLS
    for axis, n in zip(AXES, cells, strict=True):
        if n < fewest:
            raise invalid_field(field="shape", value=list(cells), expected=f"at least {fewest} cells along {axis}")


def check_component_units(dataset: xr.Dataset, names: Sequence[Hashable]) -> None:
    """Refuse (422) components of one vector in different units."""
    first, *others = ((name, dataset[name].attrs.get("units")) for name in names)
    for name, units in others:
        if not same_units(first[1], units):
            expected = f"a component {_in_units(first[1])}, as {first[0]} is"
            raise invalid_field(field=str(name), value=_in_units(units), expected=expected)


def _in_units(units: object) -> str:
    return "without units" if units is None else f"in {units}"


def check_array_count(field: str, count: int) -> None:
    """Refuse (413) a dataset of too many arrays."""
    if count > MAX_ARRAYS:
        raise too_large(field=field, value=f"{count} arrays", limit=f"{MAX_ARRAYS} arrays")


def _find_variables(dataset: xr.Dataset) -> list[Hashable]:
    """Names of u, v, w, or of the one variable that holds all components."""
    spatial = [name for name, array in dataset.data_vars.items() if {*AXES, COMPONENT} & {*array.dims}]
    if set(COMPONENTS) <= set(spatial):
        return list(COMPONENTS)
    names = [name for name in spatial if {COMPONENT, *AXES} <= {*dataset[name].dims}]
    if len(names) != 1:
        missing = [name for name in COMPONENTS if name not in spatial]
        _refuse(dataset, missing[0] if not names and len(missing) < len(COMPONENTS) else "variables", "")
    return names


def _refuse(dataset: xr.Dataset, field: str, value: str) -> NoReturn:
    """Refuse a dataset; say what is in it, and which option may make it fit."""
    listed = ", ".join(f"{name}({', '.join(map(str, array.dims))})" for name, array in dataset.data_vars.items())
    expected = "variables u, v, w over (z, y, x) or (time, z, y, x), or one variable with a component dim of u, v, w"
    names = guess(dataset)
    if names and {*map(str, dataset.data_vars)}.isdisjoint({*names.values()} - {*names}):
        in_order = " and this order" if sum(name.startswith(MADE_UP) for name in names) > 1 else ""
        expected += f". If they have other names{in_order} here, pass names={spell(names)}"
    else:
        expected += ". The option names renames variables and dims, as names=Ux:u,lev:z does"
    raise invalid_field(field=field, value=value or listed or None, expected=expected)


def _check_others(dataset: xr.Dataset, names: list[Hashable]) -> None:
    """Refuse other variables over space, which have no values on the fine grid, or are positions of another name."""
    others = [
        str(name)
        for name, array in dataset.variables.items()
        if {*AXES, COMPONENT} & {*array.dims} and name not in (*names, *AXES, COMPONENT)
    ]
    if others:
        found = positions(dataset, others)
        expected = "velocity alone"
        if drop := [name for name in others if name not in found]:
            expected += f"; drop={','.join(drop)} leaves out what cannot be super-resolved"
        if found:
            told = f"{', '.join(found)} are positions along {', '.join(found.values())}"
            expected += f"; if {told}, names={spell(found)} keeps them; if not, drop them"
        raise invalid_field(field=others[0], value="a variable over space", expected=expected)


def _check_variables(dataset: xr.Dataset, names: list[Hashable]) -> None:
    """Refuse dims and units that velocity does not have."""
    dims = (COMPONENT, *AXES) if len(names) == 1 else AXES
    first = dataset[names[0]]
    for name in names:
        array = dataset[name]
        if {*array.dims} not in ({*dims}, {*dims, TIME}) or {*array.dims} != {*first.dims}:
            if guess(dataset):
                _refuse(dataset, str(name), f"over ({', '.join(map(str, array.dims))})")
            raise invalid_field(
                field=str(name),
                value=f"over ({', '.join(map(str, array.dims))})",
                expected=f"dims {', '.join(dims)}, and {TIME} or not, alike in all",
            )
    check_component_units(dataset, names)


def _find_order(dataset: xr.Dataset) -> tuple[int, ...]:
    """Places of u, v, w along the component dim; in this order if there are no labels."""
    count = dataset.sizes[COMPONENT]
    if count != len(COMPONENTS):
        raise invalid_field(field=COMPONENT, value=f"{count} long", expected="3: u, v, w")
    if COMPONENT not in dataset.coords:
        return 0, 1, 2
    labels = load(dataset[COMPONENT], COMPONENT).tolist()
    order = order_of(labels)
    if order is None:
        raise invalid_field(
            field=COMPONENT,
            value=", ".join(map(str, labels)),
            expected="labels u, v, w; x, y, z; ux, uy, uz; or 0, 1, 2 for them",
        )
    return order
