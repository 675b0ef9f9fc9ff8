"""The velocity in a dataset: found by name, extracted for the service, and replaced by the fine one.

Only ``u``, ``v``, ``w`` over ([time,] z, y, x) and the coordinates of these axes are sent. Everything else in the
dataset is kept here and added to the answer unchanged: labels, times, other variables, attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from eddylift import _missing, _usual_names
from eddylift._axes import TIME, attributes_of, backwards, bounds_of
from eddylift._errors import InvalidInputError, UnexpectedAnswerError
from eddylift._paths import spell_attribute, spell_names
from eddylift._precision import rounded

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

AXES: Final = ("z", "y", "x")
COMPONENT: Final = "component"
COMPONENTS: Final = ("u", "v", "w")
# An axis is stretched if its spacings differ by more than this fraction of their mean. Of less, the service decides.
STRETCHED: Final = 0.05
# The variable with the expected error in an answer.
ERROR: Final = "error"


@dataclass(frozen=True)
class Velocity:
    """Where the velocity of a dataset is.

    Attributes:
        variables: the names of u, v, w, or of the one variable that holds all three.
        order: where u, v, w are along the component dim of that one variable.
    """

    variables: tuple[Hashable, ...]
    order: tuple[int, ...] = (0, 1, 2)

    @property
    def is_joined(self) -> bool:
        """Whether one variable holds all components."""
        return len(self.variables) == 1

    def component(self, dataset: xr.Dataset, number: int) -> xr.DataArray:
        """Return u, v or w over ([time,] z, y, x), lazily if the dataset is lazy."""
        if self.is_joined:
            array = dataset[self.variables[0]].isel({COMPONENT: self.order[number]})
        else:
            array = dataset[self.variables[number]]
        return array.transpose(*([TIME] if TIME in array.dims else []), *AXES)


def from_array(array: NDArray[Any]) -> xr.Dataset:
    """Convert a bare array to a dataset, lazily.

    Args:
        array: u, v, w over (3, z, y, x) or (time, 3, z, y, x); a fourth component is the expected error.

    Raises:
        InvalidInputError: if it has another shape.
    """
    series = 5
    names = (*COMPONENTS, ERROR)[: array.shape[-4] if array.ndim in {4, series} else 0]
    if len(names) < len(COMPONENTS) or array.shape[-4] > len(names):
        are_last = array.ndim in {4, series} and array.shape[-1] == len(COMPONENTS)
        way_round = "; np.moveaxis(array, -1, -4) moves the components to their place" if are_last else ""
        message = f"an array is (3, z, y, x) or (time, 3, z, y, x), got {array.shape}{way_round}"
        raise InvalidInputError(message)
    dims = (TIME, *AXES) if array.ndim == series else AXES
    return xr.Dataset({name: (dims, array[..., number, :, :, :]) for number, name in enumerate(names)})


def find(dataset: xr.Dataset) -> Velocity:
    """Find the velocity.

    Raises:
        InvalidInputError: if there is none, or another variable over space, which cannot be made finer. The message
            says which option helps, if one does.
    """
    velocity = _find(dataset)
    if velocity is None:
        message = (
            "expected variables u, v, w over (z, y, x) or (time, z, y, x), or one variable with a dim component of "
            f"u, v, w beside these; got {_usual_names.listed(dataset)}{_usual_names.suggestion(dataset, _find)}"
        )
        raise InvalidInputError(message)
    known = (*velocity.variables, *AXES, COMPONENT, *_bounds(dataset))
    others = [
        str(name)
        for name, array in dataset.variables.items()
        if {*AXES, COMPONENT} & {*array.dims} and name not in known
    ]
    if others:
        names = _usual_names.positions(dataset, others)
        message = f"{', '.join(others)}: a variable over space that is not velocity cannot be made finer"
        if drop := [name for name in others if name not in names]:
            message += f"; leave it out by drop={drop} (on the command line --drop {','.join(drop)})"
        if names:
            message += (
                f"; if {', '.join(names)} are positions along {', '.join(names.values())}, pass names={names} (on the "
                f"command line --names {spell_names(names)}), else drop them"
            )
        raise InvalidInputError(message)
    for axis in AXES:
        _check_coordinate(dataset, axis)
    return velocity


def take(dataset: xr.Dataset, velocity: Velocity) -> xr.Dataset:
    """Return the dataset to send: u, v, w in float32, and coordinates, in the order of the dataset.

    Times that are neither numbers nor dates are not sent.
    """
    parts = {}
    for number, name in enumerate(COMPONENTS):
        array = velocity.component(dataset, number)
        units = array.attrs.get("units")
        values = rounded(name, array.values) if array.dtype.kind == "f" else array.values
        attributes = {**_missing.as_sent(array), **({"units": units} if isinstance(units, str) else {})}
        parts[name] = xr.Variable(array.dims, values, attributes)
    sent = xr.Dataset(parts, {axis: at for axis in (TIME, *AXES) if (at := _positions(dataset, axis)) is not None})
    if (boundary := dataset.attrs.get("boundary")) is not None:
        sent.attrs["boundary"] = spell_attribute(boundary)
    return sent


def split(dataset: xr.Dataset, velocity: Velocity) -> xr.Dataset:
    """Return a dataset with its velocity as u, v, w over ([time,] z, y, x) along ascending axes, lazily."""
    parts = {name: velocity.component(dataset, number) for number, name in enumerate(COMPONENTS)}
    rest = dataset.drop_vars([*velocity.variables, COMPONENT], errors="ignore")
    return rest.assign({name: array.drop_vars(COMPONENT, errors="ignore") for name, array in parts.items()}).isel(
        backwards(dataset, AXES)
    )


def standard(dataset: xr.Dataset, velocity: Velocity) -> xr.Dataset:
    """Return a dataset in the form to upload: components are labelled u, v, w, and floats are float32.

    Raises:
        InvalidInputError: if a cell is NaN or infinite; of a dask array, when it is computed.
    """
    dataset = dataset.assign({name: _single_precision(dataset[name]) for name in velocity.variables})
    if velocity.is_joined and COMPONENT in dataset.coords:
        dataset = dataset.isel({COMPONENT: list(velocity.order)}).assign_coords({COMPONENT: list(COMPONENTS)})
    return dataset


def _single_precision(array: xr.DataArray) -> xr.DataArray:
    def convert(values: NDArray[Any]) -> NDArray[Any]:
        values = rounded(array.name, values)
        if bad := values.size - np.count_nonzero(np.isfinite(values)):
            message = f"{array.name}: NaN or infinity, {bad} in all; expected a velocity in every cell"
            raise InvalidInputError(message)
        return values

    if array.dtype.kind != "f":
        return array
    single: xr.DataArray = xr.apply_ufunc(
        convert, array, dask="parallelized", output_dtypes=[np.float32], keep_attrs=True
    )
    single.attrs = _missing.in_own_units(array.variable)
    return single


def check_free(dataset: xr.Dataset) -> None:
    """Check that no variable has the name that the expected error will have.

    Raises:
        InvalidInputError: if one has.
    """
    if ERROR in dataset.variables or ERROR in dataset.dims:
        message = f"{ERROR}: the answer has a variable of this name; leave it out by drop=['{ERROR}'], or rename it"
        raise InvalidInputError(message)


def put_back(dataset: xr.Dataset, velocity: Velocity, fine: xr.Dataset) -> xr.Dataset:
    """Return a dataset with its velocity replaced by the answer, and with the expected error if the answer has it.

    CF bounds of the coarse cells are left out.

    Raises:
        UnexpectedAnswerError: if the answer does not have u, v, w over the same dims.
    """
    if any(name not in fine or set(fine[name].dims) != _dims(dataset, velocity) for name in COMPONENTS):
        message = f"the answer holds {_usual_names.listed(fine)}, expected u, v, w over the dims that were sent"
        raise UnexpectedAnswerError(message)
    dataset = rest = dataset.drop_vars(_bounds(dataset))
    if TIME in fine.dims:
        # A model of several frames answers fewer times, those in the middle.
        first = (dataset.sizes[TIME] - fine.sizes[TIME]) // 2
        rest = dataset.isel({TIME: slice(first, first + fine.sizes[TIME])})
    variables: dict[Hashable, xr.Variable] = {}
    if velocity.is_joined:
        # The component at each place of the dataset's component dim.
        names = [COMPONENTS[velocity.order.index(place)] for place in range(len(COMPONENTS))]
        dims = fine[names[0]].dims
        joined = np.stack([fine[name].transpose(*dims).values for name in names])
        variables[velocity.variables[0]] = xr.Variable((COMPONENT, *dims), joined)
    else:
        variables = {name: fine[name].variable for name in COMPONENTS}
    for name, variable in variables.items():
        array = dataset[name]
        variables[name] = xr.Variable(array.dims, variable.transpose(*array.dims).data, _missing.without(array.attrs))
    if ERROR in fine:
        over = [dim for dim in dataset[velocity.variables[0]].dims if dim != COMPONENT]
        variables[ERROR] = fine[ERROR].variable.transpose(*over)
    coordinates = {
        axis: xr.Variable(axis, fine[axis].values, attributes_of(rest, axis)) for axis in AXES if axis in rest.coords
    }
    answer = rest.drop_vars([*variables, *coordinates], errors="ignore").assign(variables).assign_coords(coordinates)
    in_order = {name: answer[name] for name in (*dataset.data_vars, *(name for name in variables if name == ERROR))}
    answer = xr.Dataset(in_order, answer.coords, {**dataset.attrs, **_notes(dataset, fine)})
    answer.encoding = {key: value for key, value in dataset.encoding.items() if key != "source"}
    return answer


def _find(dataset: xr.Dataset) -> Velocity | None:
    def is_over(name: Hashable, *dims: str) -> bool:
        return {*dataset[name].dims} in ({*dims}, {TIME, *dims})

    if all(name in dataset.data_vars for name in COMPONENTS):
        alike = len({frozenset(dataset[name].dims) for name in COMPONENTS}) == 1
        return Velocity(COMPONENTS) if alike and is_over("u", *AXES) else None
    joined = [name for name, array in dataset.data_vars.items() if COMPONENT in array.dims]
    if len(joined) != 1 or not is_over(joined[0], COMPONENT, *AXES):
        return None
    labels = dataset[COMPONENT].values.tolist() if COMPONENT in dataset.coords else None
    order = range(dataset.sizes[COMPONENT]) if labels is None else _usual_names.order_of(labels)
    return Velocity((joined[0],), tuple(order)) if order is not None and len(order) == len(COMPONENTS) else None


def _dims(dataset: xr.Dataset, velocity: Velocity) -> set[Hashable]:
    return {*dataset[velocity.variables[0]].dims} - {COMPONENT}


def _bounds(dataset: xr.Dataset) -> list[str]:
    return [name for axis in AXES if (name := bounds_of(dataset, axis)) is not None]


def _check_coordinate(dataset: xr.Dataset, axis: str) -> None:
    if axis not in dataset.variables:
        return
    array = dataset[axis]
    units = str(array.attrs.get("units", ""))
    if array.dims != (axis,) or array.dtype.kind not in "fiu" or " since " in units:
        kind = f"{units or array.dtype} over ({', '.join(map(str, array.dims))})"
        message = (
            f"{axis}: {kind}; expected the positions of the cells along {axis} as numbers; drop='{axis}' leaves it out"
        )
        raise InvalidInputError(message)
    positions = array.values
    steps = np.abs(np.diff(positions.astype(np.float64)))
    # Positions far from 0 are only as even as the last place of their type lets them be.
    rounding = 4 * np.spacing(np.abs(positions).max(initial=0)) if array.dtype.kind == "f" else 0
    if steps.size and np.ptp(steps) > STRETCHED * steps.mean() + rounding:
        bounds = bounds_of(dataset, axis)
        ends = f"bounds, {bounds}" if bounds else "end points; if these are centres of cells, first store CF bounds"
        message = (
            f"{axis} is stretched, spaced by {steps.min():.4g} to {steps.max():.4g}; resample='{axis}' (on the command "
            f"line --resample {axis}) puts it on uniform cells between its {ends}"
        )
        raise InvalidInputError(message)


def _positions(dataset: xr.Dataset, axis: str) -> xr.Variable | None:
    """Return a coordinate and what the service reads of its attributes; None if there is none of numbers or dates."""
    if axis not in dataset.coords or dataset[axis].dims not in ((axis,), ()) or dataset[axis].dtype.kind not in "fiumM":
        return None
    values, attributes = dataset[axis].values, dataset[axis].attrs
    keys = (
        ("units", "calendar", "positive") if values.dtype.kind in "fiu" else ()
    )  # xarray writes those of dates itself
    return xr.Variable(
        dataset[axis].dims, values, {key: attributes[key] for key in keys if isinstance(attributes.get(key), str)}
    )


def _notes(dataset: xr.Dataset, fine: xr.Dataset) -> dict[str, Any]:
    """Return the attributes that say how the answer was made; its history is appended to that of the dataset."""
    # The service answers with the boundary that it used if the dataset has this attribute.
    notes = {key: value for key, value in fine.attrs.items() if key == "boundary" or key.startswith("eddylift_")}
    if "history" in fine.attrs:
        earlier = dataset.attrs.get("history")
        notes["history"] = f"{earlier}\n{fine.attrs['history']}" if earlier else fine.attrs["history"]
    return notes
