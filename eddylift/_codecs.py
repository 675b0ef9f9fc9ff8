"""Volumes on the wire: numpy as application/x-npy, xarray as application/netcdf.

xarray takes a second to import, so it is only imported when a volume is an xarray object.
"""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from eddylift._errors import InvalidInputError, UnexpectedAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    import xarray as xr
    from numpy.typing import NDArray

NPY = "application/x-npy"
NETCDF = "application/netcdf"
PIECE = 1 << 20
# The name under which a DataArray travels: its own may be missing, or be that of one of its dims.
ARRAY = "velocity"

Volume = TypeVar("Volume", "NDArray[np.floating[Any]]", "xr.Dataset", "xr.DataArray")
AnyVolume: TypeAlias = "NDArray[np.floating[Any]] | xr.Dataset | xr.DataArray"


@dataclass(frozen=True)
class Body:
    """What a request carries.

    Attributes:
        content_type: MIME type.
        parts: the bytes, in order, not copied together.
    """

    content_type: str
    parts: tuple[bytes | memoryview, ...]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(len(part) for part in self.parts)

    def pieces(self) -> Iterator[bytes]:
        """Hand out the bytes, at most `PIECE` at a time."""
        for part in self.parts:
            for start in range(0, len(part), PIECE):
                yield bytes(part[start : start + PIECE])


@dataclass(frozen=True)
class Answer:
    """What a successful answer carries.

    Attributes:
        content_type: MIME type, without parameters.
        content: the bytes.
        warnings: what the service found doubtful in the request and did all the same.
    """

    content_type: str
    content: io.BytesIO
    warnings: tuple[str, ...] = ()


def encode(volume: AnyVolume, *, error: bool = False) -> tuple[Body, Callable[[Answer], Any]]:
    """Write a volume as the service reads it, and say how its answer is read back as the same kind.

    Velocity travels in float32. What else a dataset holds does not travel, and is there again in the answer.

    Args:
        volume: what is sent.
        error: whether the answer is to hold the expected error.

    Raises:
        InvalidInputError: if the volume is of another kind, or holds no velocity.
    """
    if isinstance(volume, np.ndarray):
        return Body(NPY, (write_npy(volume),)), read_npy
    import xarray as xr  # noqa: PLC0415 slow, see above

    from eddylift import _velocity  # noqa: PLC0415 needs xarray

    dataset = as_dataset(volume)
    velocity = _velocity.find(dataset)
    if error:
        _velocity.check_free(dataset)
    body = Body(NETCDF, (_velocity.take(dataset, velocity).to_netcdf(engine="h5netcdf"),))

    def read(answer: Answer) -> xr.Dataset | xr.DataArray:
        fine = _velocity.put_back(dataset, velocity, read_netcdf(answer))
        return as_array(fine, volume.name) if isinstance(volume, xr.DataArray) else fine

    return body, read


def as_dataset(volume: object) -> xr.Dataset:
    """Return a dataset as it is, an array as u, v, w, and a DataArray under the name `ARRAY` and with its attributes.

    Raises:
        InvalidInputError: for anything else.
    """
    import xarray as xr  # noqa: PLC0415 slow, see above

    if isinstance(volume, xr.Dataset):
        return volume
    if isinstance(volume, np.ndarray):
        from eddylift._velocity import from_array  # noqa: PLC0415 needs xarray

        return from_array(volume)
    if isinstance(volume, xr.DataArray):
        return volume.to_dataset(name=ARRAY).assign_attrs(volume.attrs)
    message = f"a volume is a numpy array or an xarray Dataset or DataArray, got {type(volume).__qualname__}"
    raise InvalidInputError(message)


def as_array(dataset: xr.Dataset, name: Hashable) -> xr.DataArray:
    """Return what `as_dataset` made of a DataArray as one of a name again; an expected error is a coordinate of it."""
    others = [other for other in dataset.data_vars if other != ARRAY]
    return dataset.set_coords(others)[ARRAY].rename(name).assign_attrs(dataset.attrs)


def multipart(parts: Mapping[str, Body]) -> Body:
    """Join bodies as the parts of one multipart/form-data body, each as a file of its name."""
    boundary = uuid.uuid4().hex
    joined: list[bytes | memoryview] = []
    for name, body in parts.items():
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
            f"Content-Type: {body.content_type}\r\n\r\n"
        )
        joined += [head.encode(), *body.parts, b"\r\n"]
    joined.append(f"--{boundary}--\r\n".encode())
    return Body(f"multipart/form-data; boundary={boundary}", tuple(joined))


def write_npy(volume: NDArray[Any], precision: type[np.floating[Any]] = np.float32) -> memoryview:
    """Write an array, floating-point numbers in a precision.

    Raises:
        InvalidInputError: for masked values, or Python objects.
    """
    if np.ma.is_masked(volume):
        message = f"the volume has {np.ma.getmaskarray(volume).sum()} masked values: every cell needs a velocity"
        raise InvalidInputError(message)
    if volume.dtype.hasobject:
        message = f"the volume holds Python objects (dtype {volume.dtype}), expected float32"
        raise InvalidInputError(message)
    if np.issubdtype(volume.dtype, np.floating):
        volume = volume.astype(precision, copy=False)
    file = io.BytesIO()
    np.save(file, volume, allow_pickle=False)
    return file.getbuffer()


def read_npy(answer: Answer) -> NDArray[np.float32]:
    """Read an array, never unpickling.

    Raises:
        UnexpectedAnswerError: where the answer is anything else.
    """
    _expect(answer, NPY)
    try:
        fine: NDArray[np.float32] = np.lib.format.read_array(answer.content, allow_pickle=False)
    except (ValueError, EOFError) as error:
        message = f"the answer is not a whole .npy array: {error}"
        raise UnexpectedAnswerError(message) from None
    return fine


def read_netcdf(answer: Answer) -> xr.Dataset:
    """Read a dataset into memory.

    Raises:
        UnexpectedAnswerError: where the answer is anything else.
    """
    import xarray as xr  # noqa: PLC0415 slow, see above

    _expect(answer, NETCDF)
    try:
        return xr.load_dataset(answer.content, engine="h5netcdf").drop_encoding()
    except (ValueError, OSError) as error:
        message = f"the answer is not a whole NetCDF-4 file: {error}"
        raise UnexpectedAnswerError(message) from None


def _expect(answer: Answer, content_type: str) -> None:
    if answer.content_type != content_type:
        message = f"the answer is {answer.content_type or 'of no type'}, expected {content_type}"
        raise UnexpectedAnswerError(message)
