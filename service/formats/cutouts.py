"""HDF5 files without names of dims: dims as they are labelled, else u, v, w in the order of bare arrays, and cutouts.

Cutouts of the Johns Hopkins Turbulence Databases come in two layouts: ``Velocity_0001`` (z, y, x, 3), whose dims have
no names, beside ``xcoor``, ``ycoor`` and ``zcoor``; and giverny's ``velocity_0001`` over (zcoor, ycoor, xcoor, values).
The first is read like the second.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from service.formats.names import AXES, COMPONENT, COMPONENTS, TIME, UNNAMED, Naming
from service.problems import invalid_field

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

# The attribute in which HDF5 itself keeps a name for each axis of an array.
LABELS: Final = "DIMENSION_LABELS"
STEP: Final = re.compile(r"[Vv]elocity_\d+")
CUTOUT_AXES: Final = ("zcoor", "ycoor", "xcoor")
CUTOUT_DIMS: Final = (*CUTOUT_AXES, "values")
NAMES: Final = tuple(zip(CUTOUT_DIMS, (*AXES, COMPONENT), strict=True))


def name_dims(dataset: xr.Dataset) -> xr.Dataset:
    """Name the unnamed dims of velocity and coordinates, where their order is known.

    Raises:
        Problem: 422 for labels that do not differ, or coordinates that do not fit this order.
    """
    labels = {name: _labels(str(name), variable) for name, variable in dataset.variables.items()}
    known = {
        name: labels[name] or _dims(str(name), variable, is_labelled=any(labels.values()))
        for name, variable in dataset.variables.items()
    }
    # What else is over the dims of the velocity.
    said = [name for name, dims in labels.items() if dims] or [name for name in ("u",) if known.get(name)]
    over = {dim: to for name in said for dim, to in zip(dataset[name].dims, known[name] or (), strict=True)}
    named = {name: dims or _distinct(dataset[name].dims, over) for name, dims in known.items()}
    if all(dims == dataset[name].dims for name, dims in named.items()):
        return dataset
    variables: dict[Hashable, xr.Variable] = {}
    for name, variable in dataset.variables.items():
        variables[name] = variable.copy(deep=False)
        variables[name].dims = named[name]
        variables[name].attrs = {key: value for key, value in variable.attrs.items() if key != LABELS}
    try:
        result = xr.Dataset(variables, attrs=dataset.attrs)
    except ValueError as error:  # dims of several lengths
        raise invalid_field(
            field="shape",
            value=", ".join(
                f"{name}{variables[name].shape}" for name in named if variables[name].dims != dataset[name].dims
            ),
            expected="one length for each label"
            if any(labels.values())
            else "u, v, w over (z, y, x) or (time, z, y, x), with as many x, y, z, as the dims have no names",
        ) from error
    result.encoding = dataset.encoding
    result.set_close(dataset.close)
    return result


def _labels(name: str, variable: xr.Variable) -> tuple[Hashable, ...]:
    """Unnamed dims by their labels, the same where they have none; nothing without any label."""
    texts = [_text(each) for each in np.atleast_1d(np.asarray(variable.attrs.get(LABELS, ()), object))]
    if not _is_unnamed(variable) or len(texts) != variable.ndim or not any(texts):
        return ()
    labels = tuple(text or dim for text, dim in zip(texts, variable.dims, strict=True))
    if len({*labels}) < len(labels):
        raise invalid_field(field=name, value=f"axes labelled {', '.join(texts)}", expected="labels that differ")
    return labels


def _text(label: Any) -> str:  # noqa: ANN401 whatever HDF5 holds
    return label.decode(errors="replace") if isinstance(label, bytes) else str(label)


def _is_unnamed(variable: xr.Variable) -> bool:
    return any(str(dim).startswith(UNNAMED) for dim in variable.dims)


def _distinct(dims: tuple[Hashable, ...], names: Mapping[Hashable, Hashable]) -> tuple[Hashable, ...]:
    """Dims by their new names, or as they are if two would have one name."""
    renamed = tuple(names.get(dim, dim) for dim in dims)
    return renamed if len({*renamed}) == len(renamed) else dims


def _dims(name: str, variable: xr.Variable, *, is_labelled: bool) -> tuple[Hashable, ...] | None:
    """Dims by their places, of velocity only if no dims are labelled."""
    if not _is_unnamed(variable):
        return None
    if name in (*CUTOUT_AXES, *AXES, TIME) and variable.ndim == 1:
        return (name,)
    if is_labelled:
        return None
    if STEP.fullmatch(name) and variable.shape[3:] == (len(COMPONENTS),):
        return CUTOUT_DIMS
    if name in COMPONENTS and variable.ndim in (3, 4):
        return (TIME, *AXES)[-variable.ndim :]
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
