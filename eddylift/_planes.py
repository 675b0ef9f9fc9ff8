"""Frames of a velocity in a plane: found in a dataset by name, sent as one array, and continued in time.

Only u, v over (time, component, y, x) are sent. Variables that do not change with time are kept here, and added to the
forecast again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from eddylift import _usual_names
from eddylift._axes import TIME, attributes_of, backwards, bounds_of, edge, step, unit
from eddylift._codecs import NPY, Body, as_array, as_dataset, read_npy, write_npy
from eddylift._errors import InvalidInputError, UnexpectedAnswerError
from eddylift._paths import spell_boundary
from eddylift._units import of_speed

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import xarray as xr
    from numpy.typing import NDArray

    from eddylift._codecs import Answer, AnyVolume

AXES: Final = ("y", "x")
COMPONENT: Final = "component"
COMPONENTS: Final = ("u", "v")
WITHOUT_CELLS: Final = f"; drop={','.join(AXES)} leaves the positions of cells out"
WITHOUT_TIMES: Final = f"; drop={TIME} leaves the times out"


@dataclass(frozen=True)
class Frames:
    """Where the velocity of a dataset is.

    Attributes:
        dataset: that holds it.
        variables: the names of u and v, or of the one variable that holds both.
        order: where u and v are along the component dim of that one variable.
    """

    dataset: xr.Dataset
    variables: tuple[Hashable, ...]
    order: tuple[int, ...] = (0, 1)

    def values(self) -> NDArray[Any]:
        """Return u and v, (time, component, y, x), along ascending axes.

        Raises:
            InvalidInputError: if data are missing.
        """
        from eddylift._missing import whole  # noqa: PLC0415 needs xarray, which is slow

        arrays = [whole(name, self.dataset[name]) for name in self.variables]
        if len(arrays) == 1:
            arrays = [arrays[0].isel({COMPONENT: place}) for place in self.order]
        return np.stack(
            [array.transpose(TIME, *AXES).isel(backwards(self.dataset, AXES)).values for array in arrays], axis=1
        )

    def options(self, dx: float | None, dt: float | None) -> dict[str, str]:
        """Return the query parameters that describe the frames; see `encode`."""
        length, time = edge(self.dataset, AXES, WITHOUT_CELLS) or 1.0, step(self.dataset, TIME, WITHOUT_TIMES) or 1.0
        self._check_units(dx, dt)
        options = {"dx": str(length if dx is None else dx), "dt": str(time if dt is None else dt)}
        if (boundary := self.dataset.attrs.get("boundary")) is not None:
            boundary = boundary.tolist() if isinstance(boundary, np.ndarray) else boundary
            options["boundary"] = spell_boundary(boundary, AXES)
        return options

    def followed_by(self, values: NDArray[np.float32]) -> xr.Dataset:
        """Return the dataset with the forecast in place of its own frames.

        Raises:
            UnexpectedAnswerError: if the forecast has another number of cells.
        """
        import xarray as xr  # noqa: PLC0415 slow

        from eddylift._missing import without  # noqa: PLC0415 needs xarray

        cells = tuple(self.dataset.sizes[axis] for axis in AXES)
        if values.ndim != 4 or values.shape[1:] != (len(COMPONENTS), *cells):  # noqa: PLR2004 time too
            message = f"the answer is an array {values.shape}, expected (time, 2, y, x) of {cells} cells"
            raise UnexpectedAnswerError(message)
        if len(self.variables) == 1:
            joined = values[:, np.argsort(self.order)]
            found = {self.variables[0]: xr.Variable((TIME, COMPONENT, *AXES), joined)}
        else:
            found = {name: xr.Variable((TIME, *AXES), values[:, i]) for i, name in enumerate(self.variables)}
        for name, variable in found.items():
            array = self.dataset[name]
            ordered = variable.isel(backwards(self.dataset, AXES)).transpose(*array.dims)
            found[name] = xr.Variable(array.dims, ordered.values, without(array.attrs))
        rest = self.dataset.drop_vars([TIME, bounds_of(self.dataset, TIME), *found], errors="ignore")
        following = rest.assign(found).assign_coords(self._later(len(values)))
        following.encoding = {key: value for key, value in self.dataset.encoding.items() if key != "source"}
        return following

    def _check_units(self, dx: float | None, dt: float | None) -> None:
        velocity = [units for name in self.variables if (units := self.dataset[name].attrs.get("units"))]
        speeds = [of_speed(units) for units in velocity]
        if len({*speeds}) > 1:
            message = f"units: {' and '.join(map(str, velocity))}; expected the same of u and v"
            raise InvalidInputError(message)
        for length, time in speeds[:1]:
            for axis, name, given, wanted in (("y", "dx", dx, length), ("x", "dx", dx, length), (TIME, "dt", dt, time)):
                found = unit(self.dataset, axis, WITHOUT_TIMES)
                if given is None and None not in (found, wanted) and found != wanted:
                    expected = f"{wanted}, as the velocity is in {velocity[0]}, or {name} to be given"
                    message = f"{axis}: in {found}; expected {expected}"
                    raise InvalidInputError(message)

    def _later(self, steps: int) -> dict[str, xr.Variable]:
        """Return the coordinate of time, continued."""
        import xarray as xr  # noqa: PLC0415 slow

        if TIME not in self.dataset.coords or self.dataset.sizes[TIME] < 2:  # noqa: PLR2004 a step
            return {}
        times = self.dataset[TIME]
        first, last, intervals = times.values[0], times.values[-1], self.dataset.sizes[TIME] - 1
        # By the mean step, as it is computed, and divided last, so that no rounding adds up. Integers stay integers.
        elapsed = (last - first) * np.arange(1, steps + 1)
        following = last + (elapsed / intervals if elapsed.dtype.kind == "f" else elapsed // intervals)
        return {TIME: xr.Variable(TIME, following, attributes_of(self.dataset, TIME), times.encoding)}


def encode(
    frames: AnyVolume, dx: float | None, dt: float | None
) -> tuple[Body, Callable[[Answer], Any], dict[str, str]]:
    """Encode frames for the service; also return how to read the forecast back as the same kind of object.

    Args:
        frames: the velocity.
        dx: edge of a cell; None takes it from the coordinates of an xarray object, else the service's.
        dt: time between frames; likewise.

    Returns:
        The body, the function that reads the answer, and the query parameters that describe the frames.

    Raises:
        InvalidInputError: if there is no velocity in a plane, data are missing, or its coordinates are not even.
    """
    if isinstance(frames, np.ndarray):
        given = {name: str(value) for name, value in (("dx", dx), ("dt", dt)) if value is not None}
        return Body(NPY, (write_npy(frames),)), read_npy, given
    import xarray as xr  # noqa: PLC0415 slow

    found = find(as_dataset(frames))

    def read(answer: Answer) -> xr.Dataset | xr.DataArray:
        following = found.followed_by(read_npy(answer))
        return as_array(following, frames.name) if isinstance(frames, xr.DataArray) else following

    return Body(NPY, (write_npy(found.values()),)), read, found.options(dx, dt)


def find(dataset: xr.Dataset) -> Frames:
    """Find the velocity.

    Raises:
        InvalidInputError: if there is none, another variable changes with time, or times descend.
    """
    frames = _find(dataset)
    if frames is None:
        message = (
            "expected variables u, v over (time, y, x), or one variable with a dim component of u, v beside these; "
            f"got {_usual_names.listed(dataset)}{_usual_names.suggestion(dataset, _find, len(COMPONENTS))}"
        )
        raise InvalidInputError(message)
    known = (*frames.variables, TIME, COMPONENT, bounds_of(dataset, TIME))
    others = [
        str(name)
        for name, array in dataset.variables.items()
        if {TIME, COMPONENT} & {*array.dims} and name not in known
    ]
    if others:
        message = (
            f"{', '.join(others)}: a variable over time that is not velocity cannot be forecast; leave it out by "
            f"drop={others} (on the command line --drop {','.join(others)})"
        )
        raise InvalidInputError(message)
    times = dataset[TIME].values
    if (times[:1] > times[-1:]).any():
        message = f"time: from {times[0]} to {times[-1]}; expected times that grow, as sortby('time') makes them"
        raise InvalidInputError(message)
    return frames


def _find(dataset: xr.Dataset) -> Frames | None:
    def is_over(name: Hashable, *dims: str) -> bool:
        return {*dataset[name].dims} == {*dims}

    if all(name in dataset.data_vars for name in COMPONENTS):
        both = all(is_over(name, TIME, *AXES) for name in COMPONENTS)
        return Frames(dataset, COMPONENTS) if both else None
    joined = [name for name in dataset.data_vars if is_over(name, TIME, COMPONENT, *AXES)]
    if len(joined) != 1 or dataset.sizes[COMPONENT] != len(COMPONENTS):
        return None
    labels = dataset[COMPONENT].values.tolist() if COMPONENT in dataset.coords else range(len(COMPONENTS))
    order = _usual_names.order_of(labels)
    return None if order is None else Frames(dataset, (joined[0],), order)
