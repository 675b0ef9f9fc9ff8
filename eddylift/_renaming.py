"""Leaves out variables of a volume, and renames others, dims, and the positions along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from eddylift import _missing
from eddylift._errors import InvalidInputError
from eddylift._paths import spell_names

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence


def rename(
    volumes: Sequence[xr.Dataset | xr.DataArray], names: Mapping[str, str], drop: Sequence[str]
) -> list[xr.Dataset | xr.DataArray]:
    """Leave out variables, and rename others and dims; a DataArray keeps its own name, which does not matter.

    A variable that gets the name of a dim, and has one value for each of its cells, becomes its coordinate.

    Args:
        volumes: one, or a pair with the same names.
        names: new names by old ones.
        drop: variables to leave out.

    Raises:
        InvalidInputError: for a name that none of the volumes has, or that would occur twice.
    """
    present = {name for volume in volumes for name in (*volume.dims, *_variables(volume))}
    for option, wanted in (("names", names), ("drop", drop)):
        if missing := sorted(set(wanted) - present):
            message = f"{option} has {', '.join(missing)}; the volume has {', '.join(sorted(map(str, present)))}"
            if any(isinstance(volume, xr.DataArray) and volume.name in missing for volume in volumes):
                message += ", and is a DataArray, whose own name does not matter"
            raise InvalidInputError(message)
    return [_rename(volume.drop_vars(drop, errors="ignore"), names) for volume in volumes]


def _rename(volume: xr.Dataset | xr.DataArray, names: Mapping[str, str]) -> xr.Dataset | xr.DataArray:
    variables = _variables(volume)
    old = {*volume.dims, *variables}
    names = {name: new for name, new in names.items() if name in old}
    sizes = {names.get(str(dim), dim): size for dim, size in volume.sizes.items()}
    # xarray's rename would make no coordinates of them.
    positions = {
        name
        for name, new in names.items()
        if name not in volume.dims and new in sizes and volume[name].shape == (sizes[new],)
    }
    for before in (variables, old - positions):
        if len({names.get(str(name), name) for name in before}) < len(before):
            message = f"names cannot be {spell_names(names)}: the volume would have two of one name"
            raise InvalidInputError(message)
    renamed = volume.drop_vars(positions).rename({old: new for old, new in names.items() if old not in positions})
    for name in positions:
        position = _missing.decoded(name, volume[name].variable)
        position.dims = (names[name],)
        renamed = renamed.assign_coords({names[name]: position})
    return renamed


def _variables(volume: xr.Dataset | xr.DataArray) -> set[Hashable]:
    """Return the names of coordinates and, in a dataset, variables."""
    return {*volume.coords, *(volume.data_vars if isinstance(volume, xr.Dataset) else ())}
