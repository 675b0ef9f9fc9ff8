"""Pairs of fields (X, Y) as they are sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eddylift import _files
from eddylift._codecs import NPY, Body, multipart, write_npy
from eddylift._errors import InvalidInputError

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    Fields = NDArray[Any] | xr.DataArray | str | Path

Kind = Literal["scalar", "vector"]
# Floating-point numbers, integers, unsigned ones and booleans.
REAL = "fiub"


def encode(x: Fields, y: Fields) -> Body:
    """Write pairs as the service reads them: in float32 if both are, else in float64.

    Raises:
        InvalidInputError: if one of them is no array of real numbers.
    """
    fields = {name: _read(name, each) for name, each in (("x", x), ("y", y))}
    single = all(values.dtype == np.float32 for values in fields.values())
    precision = np.float32 if single else np.float64
    return multipart(
        {name: Body(NPY, (write_npy(values.astype(precision), precision),)) for name, values in fields.items()}
    )


def _read(name: str, fields: Fields) -> NDArray[Any]:
    found = _files.read(Path(fields)) if isinstance(fields, str | Path) else fields
    try:
        values = found if isinstance(found, np.ma.MaskedArray) else np.asarray(found)
    except (TypeError, ValueError) as error:  # a dataset, or nested lists of unequal lengths
        raise _refuse(name, type(found).__name__) from error
    if values.dtype.kind not in REAL:
        raise _refuse(name, str(values.dtype))
    return values


def _refuse(name: str, value: str) -> InvalidInputError:
    return InvalidInputError(f"{name}: {value}; expected an array of real numbers, or the path of a .npy file with one")
