"""Attributes of a variable on missing data and on packed numbers (CF 2.5.1, 8.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

PACKING: Final = ("scale_factor", "add_offset", "_Unsigned")
MARKERS: Final = ("_FillValue", "missing_value")
LIMITS: Final = ("valid_range", "valid_min", "valid_max")
# The limits of numbers that are packed with a negative factor.
TURNED: Final = {"valid_min": "valid_max", "valid_max": "valid_min"}


def limits(variable: xr.Variable) -> dict[str, Any]:
    """Return the attributes that name the valid numbers of a decoded variable, in the variable's own units.

    Those of packed integers are packed as these are, unless they are floats.
    """
    given = {key: variable.attrs[key] for key in LIMITS if key in variable.attrs}
    packing = {key: variable.encoding[key] for key in PACKING if key in variable.encoding}
    if not packing:
        return given
    stored = np.dtype(variable.encoding["dtype"])
    turned = packing.get("scale_factor", 1) < 0
    found = {}
    for key, value in given.items():
        numbers = np.atleast_1d(value)
        if numbers.dtype.kind in "iu":
            packed = xr.Variable("limit", numbers.astype(stored), packing)
            numbers = np.sort(xr.conventions.decode_cf_variable(key, packed).values)
        found[TURNED.get(key, key) if turned else key] = numbers.tolist() if len(numbers) > 1 else numbers[0].item()
    return found


def as_sent(array: xr.DataArray) -> dict[str, Any]:
    """Return the attributes by which the service finds the missing data of an array, and unpacks it."""
    packing = {key: array.attrs[key] for key in PACKING if key in array.attrs}
    markers = [number for key in MARKERS if key in array.attrs for number in np.atleast_1d(array.attrs[key]).tolist()]
    return {**packing, **({"missing_value": markers} if markers else {}), **limits(array.variable)}


def without(attributes: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Return attributes without those that an answer does not share, as it is whole and not packed."""
    return {key: value for key, value in attributes.items() if key not in (*PACKING, *MARKERS, *LIMITS)}
