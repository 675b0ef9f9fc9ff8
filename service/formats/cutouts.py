"""HDF5 files without names of dims: u, v, w in the order of bare arrays, and cutouts of the JHTDB.

Cutouts of the Johns Hopkins Turbulence Databases come in two layouts: ``Velocity_0001`` (z, y, x, 3), whose dims have
no names, beside ``xcoor``, ``ycoor`` and ``zcoor``; and giverny's ``velocity_0001`` over (zcoor, ycoor, xcoor, values).
The first is read like the second.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import xarray as xr

from service.formats.names import AXES, COMPONENT, COMPONENTS, TIME, UNNAMED, Naming
from service.problems import invalid_field

if TYPE_CHECKING:
    from collections.abc import Hashable


STEP: Final = re.compile(r"[Vv]elocity_\d+")
CUTOUT_AXES: Final = ("zcoor", "ycoor", "xcoor")
CUTOUT_DIMS: Final = (*CUTOUT_AXES, "values")
NAMES: Final = tuple(zip(CUTOUT_DIMS, (*AXES, COMPONENT), strict=True))


def name_dims(dataset: xr.Dataset) -> xr.Dataset:
    """Name the unnamed dims of velocity and coordinates, where their order is known.

    Raises:
        Problem: 422 if the coordinates do not fit this order.
    """
    known = {name: _dims(str(name), variable) for name, variable in dataset.variables.items()}
    # What else is over the dims of the velocity.
    axes = known.get("u") or ()
    over = dict(zip(dataset["u"].dims, axes, strict=True)) if axes else {}
    named = {name: dims or tuple(over.get(dim, dim) for dim in dataset[name].dims) for name, dims in known.items()}
    if all(dims == dataset[name].dims for name, dims in named.items()):
        return dataset
    variables: dict[Hashable, xr.Variable] = {}
    for name, variable in dataset.variables.items():
        variables[name] = variable.copy(deep=False)
        variables[name].dims = named[name]
    try:
        result = xr.Dataset(variables, attrs=dataset.attrs)
    except ValueError as error:  # dims of several lengths
        raise invalid_field(
            field="shape",
            value=", ".join(
                f"{name}{variables[name].shape}" for name in named if variables[name].dims != dataset[name].dims
            ),
            expected="u, v, w over (z, y, x) or (time, z, y, x), with as many x, y, z, as the dims have no names",
        ) from error
    result.encoding = dataset.encoding
    result.set_close(dataset.close)
    return result


def _dims(name: str, variable: xr.Variable) -> tuple[Hashable, ...] | None:
    if not any(str(dim).startswith(UNNAMED) for dim in variable.dims):
        return None
    if STEP.fullmatch(name) and variable.shape[3:] == (len(COMPONENTS),):
        return CUTOUT_DIMS
    if name in COMPONENTS and variable.ndim in (3, 4):
        return (TIME, *AXES)[-variable.ndim :]
    if name in (*CUTOUT_AXES, *AXES, TIME) and variable.ndim == 1:
        return (name,)
    return None


def with_cutout_names(dataset: xr.Dataset, naming: Naming) -> Naming:
    """The names of a cutout, if it is one and no names were given.

    Raises:
        Problem: 422 if it holds several steps.
    """
    steps = [
        str(name)
        for name, variable in dataset.data_vars.items()
        if STEP.fullmatch(str(name)) and variable.dims == CUTOUT_DIMS and name not in naming.drop
    ]
    if not steps or naming.names:
        return naming
    if len(steps) > 1:
        raise invalid_field(
            field="variables",
            value=f"a cutout of {len(steps)} steps, {', '.join(steps)}",
            expected=f"one step: drop={','.join(steps[1:])} keeps the first; the eddylift client reads all",
        )
    return Naming(NAMES, naming.drop)
