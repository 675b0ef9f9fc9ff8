"""The precision in which numbers are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eddylift._errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray


def rounded(
    name: Hashable, values: NDArray[Any], precision: type[np.floating[Any]] = np.float32
) -> NDArray[np.floating[Any]]:
    """Return values in a precision.

    Raises:
        InvalidInputError: if one is finite, and would be infinite.
    """
    try:
        with np.errstate(over="raise"):
            return values.astype(precision, copy=False)
    except FloatingPointError:
        largest = np.abs(values[np.isfinite(values)]).max()
        message = f"{name}: {largest:g}, which is infinite in {np.dtype(precision)}; expected values up to 1e12"
        raise InvalidInputError(message) from None
