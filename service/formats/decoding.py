"""From the numbers in a file to velocities: packed integers, missing data, and impossible values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.missing import MAX_SPEED, MISSING
from service.formats.names import AXES
from service.problems import FLOATS, Problem, decoding, invalid_field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray


# Attributes that name the valid numbers, and the limits that each gives.
LIMITS: Final = {"valid_range": ("least", "greatest"), "valid_min": ("least",), "valid_max": ("greatest",)}
EVERYTHING: Final = (-math.inf, math.inf)
# Attributes on how numbers are stored (CF 8.1, 2.5.1). They are not valid for the fine velocity.
STORAGE_ATTRIBUTES: Final = frozenset(
    {"_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", *LIMITS}
)
# In the encodings of open_group and NetcdfBody: the value of cells that were never written.
FILL: Final = "fill_value"
# The first cell of a volume, (level, z, y, x).
START: Final = (0, 0, 0, 0)


@dataclass(frozen=True)
class Decoding:
    """How the numbers of one velocity variable are read.

    Attributes:
        name: of the variable, for messages.
        scale: factor of packed numbers; None if they are not packed.
        offset: added to packed numbers.
        kind: of integers, ``i`` or ``u``, that theirs are read as, see `as_kind`.
        markers: numbers that mark missing data, before unpacking.
        valid: the least and the greatest number that is valid; others mark missing data.
        valid_is_unpacked: whether these are numbers after unpacking.
    """

    name: str
    scale: float | None
    offset: float
    kind: str | None
    markers: tuple[float, ...]
    valid: tuple[float, float]
    valid_is_unpacked: bool

    @classmethod
    def of(cls, variable: xr.DataArray) -> Decoding:
        """By the attributes of a variable.

        Raises:
            Problem: 422 if it holds neither float32, float64 nor packed integers.
        """
        name, attributes = str(variable.name), variable.attrs
        scale, offset = (_numbers(name, key, attributes.get(key)) for key in ("scale_factor", "add_offset"))
        packed = bool(scale or offset)
        dtype = variable.dtype
        if not (dtype.kind == "f" and dtype.itemsize in (4, 8)) and not (dtype.kind in "iu" and packed):
            raise invalid_field(field=name, value=str(dtype), expected=FLOATS)
        fill = variable.encoding.get(FILL)
        markers = (
            *_numbers(name, "_FillValue", attributes.get("_FillValue")),
            *_numbers(name, "missing_value", attributes.get("missing_value")),
            # Zero is the default of Zarr and HDF5, and marks nothing.
            *(_numbers(name, FILL, fill) if fill else ()),
        )
        return cls(
            name,
            (scale or (1.0,))[0] if packed else None,
            (offset or (0.0,))[0],
            kind=_kind(attributes),
            markers=tuple(dict.fromkeys(marker for marker in markers if not math.isnan(marker))),
            valid=_valid(name, attributes),
            # Of packed integers, the type of the limits says which numbers they are of (NetCDF Users' Guide, A.1).
            valid_is_unpacked=any(np.asarray(attributes.get(key, 0)).dtype.kind == "f" for key in LIMITS),
        )

    def to_float32(self, stored: NDArray[Any], component: str, origin: Sequence[int] = START) -> NDArray[np.float32]:
        """One component, (level, z, y, x), in single precision; ``origin`` is where in the volume it begins.

        Raises:
            Problem: 422 naming the first cell that is marked as missing, or cannot be a velocity.
        """
        numbers = as_kind(stored, self.kind)
        for marker in self.markers:
            with np.errstate(over="ignore"):
                missing = (stored == marker) | (numbers == marker)
            if missing.any():
                raise _missing(numbers, missing, component, marker, origin)
        values = numbers if self.scale is None else numbers * self.scale + self.offset
        if self.valid_is_unpacked:
            self._check_valid(values, 0, component, origin)
        else:
            wraps = 256**stored.dtype.itemsize if (stored.dtype.kind, numbers.dtype.kind) == ("i", "u") else 0
            self._check_valid(numbers, wraps, component, origin)
        return to_float32(values, component, origin)

    def _check_valid(self, numbers: NDArray[Any], wraps: int, component: str, origin: Sequence[int]) -> None:
        if self.valid == EVERYTHING:
            return
        low, high = (limit + wraps if -math.inf < limit < 0 else limit for limit in self.valid)
        outside = (numbers < low) | (numbers > high)
        if outside.any():
            expected = (
                f"numbers from {low:g} to {high:g}, as its valid_range (or valid_min, valid_max) says; others mark "
                "missing data. Fill the gaps, or cut out a part without any"
            )
            raise _bad(numbers, outside, component, expected, origin)


def to_float32(values: NDArray[Any], component: str, origin: Sequence[int] = START) -> NDArray[np.float32]:
    """One component, (level, z, y, x), in single precision; ``origin`` is where in the volume it begins.

    Raises:
        Problem: 422 naming the first value that cannot be a velocity.
    """
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise _bad(values, ~np.isfinite(values), component, "finite values", origin)
    if max(-low, high) > MAX_SPEED:
        expected = f"values up to {MAX_SPEED:g}"
        raise _bad(values, np.abs(values) > MAX_SPEED, component, expected, origin)
    single: NDArray[np.float32] = values.astype(np.float32)
    for marker in MISSING:
        if (missing := single == np.float32(marker)).any():
            raise _missing(values, missing, component, marker, origin)
    return single


def load(array: xr.DataArray, name: str) -> NDArray[Any]:
    """Values of an array, in memory.

    Raises:
        Problem: 400 if a chunk does not decode; as `storing` does if the disk cannot be read.
    """
    with decoding(field=name, value="stored in chunks that do not decode", expected="whole chunks"):
        return np.asarray(array.values)


def load_all(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset, in memory; see ``load`` for errors."""
    for name in dataset.variables:
        load(dataset[name], str(name))
    return dataset.load()


def unpacked(variable: xr.DataArray) -> NDArray[Any]:
    """Values of a coordinate, unpacked if they are packed.

    Raises:
        Problem: 422 if its attributes are no numbers, 400 if a chunk does not decode.
    """
    name = str(variable.name)
    values = as_kind(load(variable, name), _kind(variable.attrs))
    scale, offset = (_numbers(name, key, variable.attrs.get(key)) for key in ("scale_factor", "add_offset"))
    return values * (scale or (1.0,))[0] + (offset or (0.0,))[0] if scale or offset else values


def as_kind(stored: NDArray[Any], kind: str | None) -> NDArray[Any]:
    """The same bits as signed (``i``) or unsigned (``u``) integers; other numbers, and all if it is None, stay."""
    if kind is None or stored.dtype.kind not in "iu":
        return stored
    return stored.view(stored.dtype.str.replace(stored.dtype.kind, kind))


def _kind(attributes: Mapping[Any, Any]) -> str | None:
    """What ``_Unsigned`` says of integers, for formats that lack one kind (NetCDF Users' Guide, A.1)."""
    return {"true": "u", "false": "i"}.get(str(attributes.get("_Unsigned")).lower())


def _valid(name: str, attributes: Mapping[Any, Any]) -> tuple[float, float]:
    """The least and the greatest valid number (CF 2.5.1)."""
    least, greatest = ([limit] for limit in EVERYTHING)
    for key, limits in LIMITS.items():
        numbers = _numbers(name, key, attributes.get(key))
        if numbers and len(numbers) != len(limits):
            expected = f"{' and '.join(limits)} as {key}"
            raise invalid_field(field=name, value=f"with {key} {list(numbers)}", expected=expected)
        for limit, number in zip(limits, numbers, strict=False):
            (least if limit == "least" else greatest).append(number)
    return max(least), min(greatest)


def _numbers(name: str, key: str, value: object) -> tuple[float, ...]:
    """The numbers in an attribute; none if it is missing."""
    if value is None:
        return ()
    try:
        return tuple(np.asarray(value, np.float64).ravel().tolist())
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid_field(field=name, value=f"with {key} {value!r:.99}", expected=f"a number as {key}") from error


def _missing(
    values: NDArray[Any], where: NDArray[np.bool_], component: str, marker: float, origin: Sequence[int]
) -> Problem:
    expected = f"values everywhere; {marker:g} marks missing data. Fill the gaps, or cut out a part without any"
    return _bad(values, where, component, expected, origin)


def _bad(
    values: NDArray[Any], where: NDArray[np.bool_], component: str, expected: str, origin: Sequence[int]
) -> Problem:
    place = np.unravel_index(int(where.argmax()), where.shape)
    cell = [int(n) + start for n, start in zip(place, origin, strict=True)]
    first = 0 if len(values) > 1 or cell[0] else 1
    axes = ", ".join(("level", *AXES[1 - values.ndim :])[first:])
    numbers = ", ".join(str(n) for n in cell[first:])
    return invalid_field(
        field=component, value=f"{float(values[place]):g} at ({axes}) = ({numbers})", expected=expected
    )
