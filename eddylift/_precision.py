"""The precision in which numbers are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from eddylift._errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray


# Numbers that mark missing data even where no attribute says so; -999.9 is the JHTDB's.
USUAL: Final = (-999.9, -9999.0)


def is_marked(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where values are the usual markers of missing data, as half precision has them: -1000 and -10000."""
    precision = np.float16 if values.dtype == np.float16 else np.float32
    return np.isin(values.astype(precision, copy=False), np.array(USUAL, precision))


def rounded(
    name: Hashable, values: NDArray[Any], precision: type[np.floating[Any]] = np.float32
) -> NDArray[np.floating[Any]]:
    """Return values in a precision.

    Raises:
        InvalidInputError: if one is finite, and would be infinite, or marks missing data in half precision, which no
            other precision shows.
    """
    if values.dtype == np.float16 and (marked := is_marked(values)).any():
        message = f"{name}: {values[marked][0]:g}, which marks missing data in float16; expected values everywhere"
        raise InvalidInputError(message)
    try:
        with np.errstate(over="raise"):
            return values.astype(precision, copy=False)
    except FloatingPointError:
        largest = np.abs(values[np.isfinite(values)]).max()
        message = f"{name}: {largest:g}, which is infinite in {np.dtype(precision)}; expected values up to 1e12"
        raise InvalidInputError(message) from None
