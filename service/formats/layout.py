"""Layouts of velocity in arrays and datasets, and answers in the layout of the request."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import xarray as xr

from service.formats.decoding import STORAGE_ATTRIBUTES, load_all
from service.formats.error import ERROR, error_attributes
from service.formats.grid import finer
from service.formats.names import AXES, COMPONENT, TIME

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from numpy.typing import NDArray

    from service.formats.names import Naming
    from service.formats.velocity import DatasetVelocity


class Layout(Protocol):
    """The layout of a velocity, and everything that came with it."""

    @property
    def turned(self) -> Mapping[str, slice]:
        """The selection that makes axes descend again."""

    @property
    def rest(self) -> xr.Dataset:
        """Everything but the velocity, in memory, under the service's names and along ascending axes."""

    def answer(self, fine: NDArray[np.float32], provenance: Mapping[str, str]) -> Any:  # noqa: ANN401 what came
        """The same with a fine velocity, and a note on its origin.

        Args:
            fine: (level, 3, fine z, fine y, fine x), or with its expected error as a fourth channel.
            provenance: the note.
        """
        ...

    def dry_run(self) -> Any:  # noqa: ANN401 what came
        """The same almost without velocity, to see whether it can be written."""
        ...


@dataclass(frozen=True)
class BareLayout:
    """A bare array.

    Attributes:
        levels: length of its leading axis; None without one.
    """

    levels: int | None
    turned: ClassVar[dict[str, slice]] = {}
    rest: ClassVar[xr.Dataset] = xr.Dataset()

    def answer(self, fine: NDArray[np.float32], _provenance: Mapping[str, str]) -> NDArray[np.float32]:
        """An array with as many axes as were sent, or without times if there is one answer to several frames."""
        is_alone = self.levels is None or len(fine) == 1 < self.levels
        return fine[0] if is_alone else fine

    @staticmethod
    def dry_run() -> NDArray[np.float32]:
        """Numbers can always be written."""
        return np.zeros(1, np.float32)


@dataclass(frozen=True)
class DatasetLayout:
    """Variables with dims, coordinates and attributes.

    Attributes:
        rest: everything but the velocity, in memory, under the service's names and along ascending axes.
        dims: of each variable of the velocity.
        attributes: of each variable of the velocity.
        velocity: where it was.
        order: names of the data variables, in their order.
        naming: that gave the dataset the service's names.
        turned: selection that makes axes descend again.
    """

    rest: xr.Dataset
    dims: dict[Hashable, tuple[Hashable, ...]]
    attributes: dict[Hashable, dict[str, Any]]
    velocity: DatasetVelocity
    order: list[Hashable]
    naming: Naming
    turned: dict[str, slice]

    @classmethod
    def of(
        cls, dataset: xr.Dataset, velocity: DatasetVelocity, naming: Naming, turned: dict[str, slice]
    ) -> DatasetLayout:
        """The layout of a dataset with ascending axes; reads everything but the velocity."""
        names = velocity.names
        return cls(
            load_all(dataset.drop_vars(list(names))),
            {name: dataset[name].dims for name in names},
            {name: plain_attributes(dataset[name]) for name in names},
            velocity,
            list(dataset.data_vars),
            naming,
            turned,
        )

    def answer(self, fine: NDArray[np.float32], provenance: Mapping[str, str]) -> xr.Dataset:
        """The same dataset on the fine grid."""
        found, error = self.velocity, fine[:, 3:]
        answer = on_fine_grid(self.rest, found, fine.shape[-1] // found.cells[-1], len(fine))
        variables: dict[Hashable, xr.Variable] = {}
        for number, (name, dims) in enumerate(self.dims.items()):
            values = fine[:, labelled(found.order)] if found.order is not None else fine[:, number]
            full = xr.Variable((TIME, COMPONENT, *AXES) if found.joined else (TIME, *AXES), values)
            if TIME not in dims:
                full = full.isel({TIME: 0})
            variables[name] = xr.Variable(dims, full.transpose(*dims).data, self.attributes[name])
        if error.size:
            name, dims = next(iter(self.dims.items()))
            dims = tuple(dim for dim in dims if dim != COMPONENT)
            full = xr.Variable((TIME, *AXES), error[:, 0])
            full = full if TIME in dims else full.isel({TIME: 0})
            variables[ERROR] = xr.Variable(dims, full.transpose(*dims).data, error_attributes(self.attributes[name]))
        answer = answer.assign(variables)[[*self.order, *(name for name in variables if name == ERROR)]]
        answer.attrs = {**self.rest.attrs, **_note(self.rest.attrs, provenance)}
        if "boundary" in answer.attrs:
            answer.attrs["boundary"] = provenance["boundary"]
        return self.naming.undo(answer.isel(self.turned))

    def dry_run(self) -> xr.Dataset:
        """Everything that came with the velocity, and its own attributes."""
        scalars = {name: xr.Variable((), np.float32(0), attributes) for name, attributes in self.attributes.items()}
        return self.rest.assign(scalars)


def labelled(order: tuple[int, ...]) -> list[int]:
    """Which of u, v, w is at each place of a component axis; the inverse of ``order``."""
    return [order.index(place) for place in range(len(order))]


def on_fine_grid(rest: xr.Dataset, found: DatasetVelocity, factor: int, answers: int) -> xr.Dataset:
    """What came with a velocity, on the fine grid: only coordinates change, and times without an answer are left out.

    Args:
        rest: without velocity.
        found: the coarse velocity.
        factor: fine cells per coarse cell along an axis.
        answers: number of times that have one, if the velocity has times.
    """
    if found.levels is not None and TIME in rest.dims:
        # Several frames in, one out, the middle one: of the ends there is no answer.
        first = (found.levels - answers) // 2
        rest = rest.isel({TIME: slice(first, first + answers)})
    fine = {
        axis: xr.Variable((axis,), finer(values, factor), plain_attributes(rest[axis]))
        for axis, values in zip(AXES, found.coordinates, strict=True)
        if values is not None
    }
    return rest.drop_vars(list(fine)).assign_coords(fine)


def plain_attributes(variable: xr.DataArray) -> dict[str, Any]:
    """Attributes of a variable, without those on how its numbers are stored, and without CF bounds."""
    return {str(key): value for key, value in variable.attrs.items() if key not in {*STORAGE_ATTRIBUTES, "bounds"}}


def _note(attributes: Mapping[Any, Any], provenance: Mapping[str, str]) -> dict[str, str]:
    """The origin of a field, as attributes of its own and as a line of the CF ``history``."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    line = f"{now} eddylift: {', '.join(f'{key} {value}' for key, value in provenance.items())}"
    earlier = attributes.get("history")
    return {
        "history": f"{earlier}\n{line}" if earlier else line,
        **{f"eddylift_{key}": value for key, value in provenance.items()},
    }
