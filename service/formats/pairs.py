"""Pairs of fields (X, Y) whose symmetries are asked about, as ``.npy`` bodies or in datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from models.discovery.fit import USUAL, operations
from models.discovery.pairs import FEWEST_CELLS, Pairs, UnfitPairsError
from models.group import group
from models.missing import MISSING
from service.formats.containers import read_npy
from service.formats.decoding import Decoding
from service.formats.fields import DatasetFields
from service.formats.grid import read_coordinates, spacing
from service.formats.names import AXES, COMPONENTS, TIME
from service.formats.velocity import check_component_units, find_velocity
from service.problems import invalid_field, too_large, within

if TYPE_CHECKING:
    import xarray as xr

    from models.discovery.pairs import Fields, Kind
    from models.group import Group
    from service.formats.containers import Body
    from service.formats.grid import Grid
    from service.settings import Settings

GROUPS = {2: ("D4", "C4", "C2"), 3: ("Oh", "O")}
"""Groups that may be asked about, by dimension; the first is the default."""
UNEQUAL = 0.01
"""Edges of a cell may differ by so much, relative to the shortest."""


def read_pairs(x: Body, y: Body, kinds: tuple[Kind, Kind], settings: Settings) -> Pairs:
    """Read pairs.

    Args:
        x: the part X, (pair, channel, y, x) or (pair, channel, z, y, x).
        y: the part Y.
        kinds: what the channels of X and of Y are.
        settings: for limits.

    Raises:
        Problem: if they are no such arrays or do not fit together.
    """
    return fit_pairs(_read("x", x, settings), _read("y", y, settings), kinds)


def find_fields(dataset: xr.Dataset, kind: Kind) -> DatasetFields:
    """Find the fields of all pairs, one at each time, and check all but their values.

    Vectors are a velocity: u, v, w as for super-resolution, or u, v in a plane. Scalars are all variables over space or
    a plane, in the order of their names.

    Args:
        dataset: as it is stored, along ascending axes.
        kind: what they are.

    Raises:
        Problem: 422 if there are none, or they are ambiguous.
    """
    found = {str(name): array for name, array in dataset.data_vars.items() if {*AXES} & {*array.dims}}
    axes = AXES if any(AXES[0] in array.dims for array in found.values()) else AXES[1:]
    if kind == "vector" and axes == AXES:
        return find_velocity(dataset)
    names = sorted(found) if kind == "scalar" else list(COMPONENTS[: len(axes)])
    dims = {frozenset(array.dims) for array in found.values()}
    if set(names) != set(found) or dims not in ({frozenset(axes)}, {frozenset((TIME, *axes))}):
        listed = ", ".join(f"{name}({', '.join(map(str, array.dims))})" for name, array in found.items())
        what = "variables" if kind == "scalar" else "u and v alone"
        over = ", ".join(axes)
        expected = f"{what} over ({over}) or ({TIME}, {over}), all alike, as the kind is {kind}"
        raise invalid_field(field="variables", value=listed or None, expected=expected)
    sizes = found[names[0]].sizes
    for axis in axes:
        if sizes[axis] < FEWEST_CELLS:
            expected = f"at least {FEWEST_CELLS} cells along {axis}; squeeze an axis of one cell to send a plane"
            raise invalid_field(field="shape", value=[sizes[each] for each in axes], expected=expected)
    if kind == "vector":
        check_component_units(dataset, names)
    return DatasetFields(
        tuple(names),
        sizes.get(TIME),
        tuple(sizes[axis] for axis in axes),
        read_coordinates(dataset, axes),
        tuple(Decoding.of(found[name]) for name in names),
    )


def fit_pairs(x: Fields, y: Fields, kinds: tuple[Kind, Kind], names: tuple[str, str] = ("x", "y")) -> Pairs:
    """Pairs of fields.

    Args:
        x: the fields X.
        y: the fields Y.
        kinds: what the channels of X and of Y are.
        names: what X and Y are called in problems.

    Raises:
        Problem: 422 if they do not fit together.
    """
    try:
        return Pairs(x, y, *kinds)
    except UnfitPairsError as error:
        field = names["xy".index(error.field)]
        raise invalid_field(field=field, value=error.value, expected=error.expected) from error


def _read(name: str, body: Body, settings: Settings) -> torch.Tensor:
    with within(name):
        values = read_npy(body, settings)
    with np.errstate(over="ignore"):
        missing = np.isin(values.astype(np.float32), np.array(MISSING, np.float32))
    if missing.any():
        place = np.unravel_index(int(missing.argmax()), missing.shape)
        value = f"{values[place]:g} at ({', '.join(map(str, place))})"
        expected = "values everywhere; this one marks missing data. Fill the gaps, or cut out a part without any"
        raise invalid_field(field=name, value=value, expected=expected)
    # A copy, as PyTorch takes only arrays that are writable and in the byte order of this machine.
    return torch.from_numpy(values.astype(values.dtype.newbyteorder("=")))


def find_group(name: str | None, pairs: Pairs) -> Group:
    """The group that is asked about; None takes the largest one.

    Raises:
        Problem: 422 if there is no such group in the dimension of the pairs.
    """
    names = GROUPS[pairs.dimension]
    if name not in (None, *names):
        raise invalid_field(
            field="group", value=name, expected=f"one of {', '.join(names)} for pairs in {pairs.dimension} dimensions"
        )
    return group(name or names[0], pairs.dimension)


def check_cells(grid: Grid, over: Group) -> None:
    """Refuse (422) cells that are longer along one axis than along another, unless no element swaps axes."""
    if (over.components[0] == torch.arange(over.dimension)).all():
        return
    axes = AXES[-over.dimension :]
    edges = {axis: spacing(at) for axis, at in zip(axes, grid.coordinates, strict=True) if at is not None}
    if edges and max(edges.values()) > (1 + UNEQUAL) * min(edges.values()):
        value = ", ".join(f"{edge:.4g} along {axis}" for axis, edge in edges.items())
        expected = (
            f"cells as long along each axis, as {over.name} swaps axes: resample to such cells, or leave out "
            f"coordinates of other units by drop={','.join(edges)}"
        )
        raise invalid_field(field="spacing", value=value, expected=expected)


def check_cost(pairs: Pairs, over: Group, settings: Settings) -> None:
    """Refuse (413) more than is computed within a request."""
    count = operations(pairs, over, USUAL[pairs.dimension])
    if count > settings.max_discovery_operations:
        limit = (
            f"{settings.max_discovery_operations:.1e} operations, by fewer pairs, cells or elements of the group; a "
            "job (`POST /v1/jobs`) takes more, in stored volumes"
        )
        raise too_large(field="x", value=f"{count:.1e} operations", limit=limit)
