"""Attributes of a variable on missing data and on packed numbers (CF 2.5.1, 8.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from eddylift._errors import InvalidInputError
from eddylift._precision import is_marked

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from numpy.typing import NDArray

PACKING: Final = ("scale_factor", "add_offset", "_Unsigned")
MARKERS: Final = ("_FillValue", "missing_value")
LIMITS: Final = ("valid_range", "valid_min", "valid_max")
# Limits that are packed with a negative factor.
TURNED: Final = {"valid_min": "valid_max", "valid_max": "valid_min"}


def decoded(name: Hashable, variable: xr.Variable) -> xr.Variable:
    """Return a variable with its numbers unpacked, NaN in place of its markers, and limits in its own units."""
    # Attributes win. Without them, the encoding tells how the numbers had been packed, which `limits` needs.
    keys = () if {*PACKING} & {*variable.attrs} else ("dtype", *PACKING)
    stored = variable.copy(deep=False)
    stored.encoding = {key: variable.encoding[key] for key in keys if key in variable.encoding}
    if variable.dtype.kind == "f":
        # xarray compares in the precision of the markers, which single precision never equals.
        with np.errstate(over="ignore"):
            rounded = {key: each.astype(variable.dtype) for key, each in markers(variable.attrs).items()}
        stored.attrs = {**variable.attrs, **rounded}
    found = xr.conventions.decode_cf_variable(name, stored, decode_times=False, decode_timedelta=False)
    found.attrs = in_own_units(found)
    return found


def whole(name: Hashable, array: xr.DataArray, way_round: str = "") -> xr.DataArray:
    """Return an array in memory, its numbers unpacked, without attributes on missing data and on packed numbers.

    Args:
        name: of the variable, for messages.
        array: its values and attributes.
        way_round: what else the user can do about missing data, for messages.

    Raises:
        InvalidInputError: if data are missing, naming the first such cell, or these attributes are no numbers.
    """
    if array.dtype.kind not in "fiu":
        return array
    try:
        found = decoded(name, array.variable)
        values = found.values
        with np.errstate(over="ignore", invalid="ignore"):
            missing = ~np.isfinite(values) | is_marked(values)
            for key, limit in limits(found).items():
                numbers = np.atleast_1d(limit).tolist()
                if key != "valid_max":
                    missing |= values < min(numbers)
                if key != "valid_min":
                    missing |= values > max(numbers)
    except (TypeError, ValueError) as error:
        message = f"{name} cannot be unpacked: {error}"
        raise InvalidInputError(message) from None
    if missing.any():
        place = [int(number) for number in np.unravel_index(missing.argmax(), missing.shape)]
        message = (
            f"{name}: {array.values[tuple(place)]:g} at ({', '.join(map(str, array.dims))}) = "
            f"({', '.join(map(str, place))}); expected values everywhere. NaN, fill values such as -999.9, and what is "
            f"outside of valid_range mark missing data: fill the gaps, or cut out a part without any{way_round}"
        )
        raise InvalidInputError(message)
    return xr.DataArray(values, array.coords, array.dims, array.name, without(found.attrs))


def markers(attributes: Mapping[Hashable, Any]) -> dict[str, NDArray[Any]]:
    """Return the numbers that mark missing data, by their attributes; text marks none."""
    given = {key: np.atleast_1d(attributes[key]) for key in MARKERS if key in attributes}
    return {key: numbers for key, numbers in given.items() if numbers.dtype.kind in "fiu"}


def limits(variable: xr.Variable) -> dict[str, Any]:
    """Return the attributes that name the valid numbers of a decoded variable, in the variable's own units.

    Those of packed integers are packed as these are, unless they are floats, as those are that this returns.
    """
    given = {key: variable.attrs[key] for key in LIMITS if key in variable.attrs}
    packing = {key: variable.encoding[key] for key in PACKING if key in variable.encoding}
    if not packing:
        return given
    turned = TURNED if packing.get("scale_factor", 1) < 0 else {}
    found = {}
    for key, value in given.items():
        name, numbers = key, np.atleast_1d(value)
        if numbers.dtype.kind in "iu":
            packed = xr.Variable("limit", numbers.astype(variable.encoding.get("dtype", numbers.dtype)), packing)
            numbers = np.sort(xr.conventions.decode_cf_variable(key, packed).values)
            name = turned.get(key, key)
        found[name] = numbers.tolist() if len(numbers) > 1 else numbers[0].item()
    return found


def in_own_units(variable: xr.Variable) -> dict[Hashable, Any]:
    """Return the attributes of a decoded variable, with limits in its own units, as it will not be packed again."""
    rest = {key: value for key, value in variable.attrs.items() if key not in LIMITS}
    return {**rest, **limits(variable)}


def as_sent(array: xr.DataArray) -> dict[str, Any]:
    """Return the attributes by which the service finds the missing data of an array, and unpacks it."""
    packing = {key: array.attrs[key] for key in PACKING if key in array.attrs}
    missing = [number for each in markers(array.attrs).values() for number in each.tolist()]
    return {**packing, **({"missing_value": missing} if missing else {}), **limits(array.variable)}


def without(attributes: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Return attributes without those that an answer does not share, as it is whole and not packed."""
    return {key: value for key, value in attributes.items() if key not in (*PACKING, *MARKERS, *LIMITS)}
