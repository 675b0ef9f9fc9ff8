"""Encodes volumes for HTTP: numpy as application/x-npy, xarray as application/netcdf.

Importing xarray takes a second, so it is imported only if a volume is an xarray object.
"""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from eddylift._errors import InvalidInputError, UnexpectedAnswerError
from eddylift._npy import read_array
from eddylift._precision import rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    import xarray as xr
    from numpy.typing import NDArray

NPY = "application/x-npy"
NETCDF = "application/netcdf"
PIECE = 1 << 20
# The name under which a DataArray is sent: its own may be missing, or equal that of a dim.
ARRAY = "velocity"

Volume = TypeVar("Volume", "NDArray[np.floating[Any]]", "xr.Dataset", "xr.DataArray")
AnyVolume: TypeAlias = "NDArray[np.floating[Any]] | xr.Dataset | xr.DataArray"


@dataclass(frozen=True)
class Body:
    """The body of a request.

    Attributes:
        content_type: MIME type.
        parts: the bytes, in order; not joined, so as not to copy them.
    """

    content_type: str
    parts: tuple[bytes | memoryview, ...]

    @property
    def size(self) -> int:
        """Total number of bytes."""
        return sum(len(part) for part in self.parts)

    def pieces(self) -> Iterator[bytes]:
        """Give the bytes, at most `PIECE` at a time."""
        for part in self.parts:
            for start in range(0, len(part), PIECE):
                yield bytes(part[start : start + PIECE])


@dataclass(frozen=True)
class Answer:
    """A successful answer.

    Attributes:
        content_type: MIME type, without parameters.
        content: the bytes.
        warnings: what seems doubtful about the request.
        model: that answered, if one did.
        boundary: that was used, in the order of the axes, if one was.
    """

    content_type: str
    content: io.BytesIO
    warnings: tuple[str, ...] = ()
    model: str | None = None
    boundary: str | None = None


def encode(volume: AnyVolume, *, error: bool = False) -> tuple[Body, Callable[[Answer], Any]]:
    """Encode a volume for the service; also return how to read the answer as the same kind of object.

    Velocity is sent in float32. The other variables of a dataset are not sent; they are added to the answer again.

    Args:
        volume: the coarse volume.
        error: whether the answer will have the expected error.

    Raises:
        InvalidInputError: if the volume is another kind of object, or has no velocity.
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
    """Convert a volume to a dataset: an array becomes u, v, w; a DataArray becomes the variable `ARRAY`.

    Raises:
        InvalidInputError: if the volume is another kind of object.
    """
    import xarray as xr  # noqa: PLC0415 slow, see above

    if isinstance(volume, xr.Dataset):
        return volume
    if isinstance(volume, np.ndarray):
        from eddylift._velocity import from_array  # noqa: PLC0415 needs xarray

        return from_array(volume)
    if isinstance(volume, xr.DataArray):
        if ARRAY in {*volume.dims, *volume.coords}:
            message = (
                f"{ARRAY}: a dim or coordinate of the array; expected another name, as the array is sent by this one"
            )
            raise InvalidInputError(message)
        from eddylift._missing import without  # noqa: PLC0415 needs xarray

        return volume.to_dataset(name=ARRAY).assign_attrs(without(volume.attrs))
    hint = "; call its method compute() first" if hasattr(volume, "compute") else ""
    expected = "a numpy array, an xarray Dataset or DataArray, or the path of one to read"
    message = f"a volume is {expected}, got {type(volume).__qualname__}{hint}"
    raise InvalidInputError(message)


def as_array(dataset: xr.Dataset, name: Hashable) -> xr.DataArray:
    """Convert back a DataArray that `as_dataset` converted; an expected error becomes a coordinate."""
    others = [other for other in dataset.data_vars if other != ARRAY]
    return dataset.set_coords(others)[ARRAY].rename(name).assign_attrs(dataset.attrs)


def multipart(parts: Mapping[str, Body]) -> Body:
    """Join bodies into one multipart/form-data body, each as a file under its name.

    httpx2 can do that too, but not give the pieces of the body, which show the progress of sending it.
    """
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
        InvalidInputError: for masked values, Python objects, or a value that would be infinite.
    """
    if np.ma.is_masked(volume):
        message = f"the volume has {np.ma.getmaskarray(volume).sum()} masked values: every cell needs a velocity"
        raise InvalidInputError(message)
    if volume.dtype.hasobject:
        message = f"the volume holds Python objects (dtype {volume.dtype}), expected float32"
        raise InvalidInputError(message)
    if np.issubdtype(volume.dtype, np.floating):
        volume = rounded("the volume", volume, precision)
    file = io.BytesIO()
    np.save(file, volume, allow_pickle=False)
    return file.getbuffer()


def read_npy(answer: Answer) -> NDArray[np.float32]:
    """Read an array; pickles are refused.

    Raises:
        UnexpectedAnswerError: if the answer is anything else.
    """
    _expect(answer, NPY)
    try:
        fine: NDArray[np.float32] = read_array(answer.content)
    except (ValueError, EOFError) as error:
        message = f"the answer is not a whole .npy array: {error}"
        raise UnexpectedAnswerError(message) from None
    return fine


def read_netcdf(answer: Answer) -> xr.Dataset:
    """Read a dataset into memory; times stay as they are stored, since not all can be decoded.

    Raises:
        UnexpectedAnswerError: if the answer is anything else.
    """
    import xarray as xr  # noqa: PLC0415 slow, see above

    _expect(answer, NETCDF)
    try:
        found = xr.load_dataset(answer.content, engine="h5netcdf", decode_times=False, decode_timedelta=False)
    except (ValueError, OSError) as error:
        message = f"the answer is not a whole NetCDF-4 file: {error}"
        raise UnexpectedAnswerError(message) from None
    return found.drop_encoding()


def _expect(answer: Answer, content_type: str) -> None:
    if answer.content_type != content_type:
        message = f"the answer is {answer.content_type or 'of no type'}, expected {content_type}"
        raise UnexpectedAnswerError(message)
