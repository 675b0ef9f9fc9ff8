"""The containers that volumes come in, told apart by media type or, where none is given, by their first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from service.formats.netcdf import NetcdfBody
from service.formats.npy import NPY, NpyBody
from service.formats.zarr_zip import ZarrBody
from service.problems import malformed, unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from service.settings import Settings


class Opened(Protocol):
    """An opened body, which was found safe to read.

    Attributes:
        content: an array, or a dataset whose arrays are read on access.
    """

    content: Any

    def write(self, answer: Any) -> list[memoryview]:  # noqa: ANN401 what content is
        """An answer in the same container, as parts of a body."""
        ...


class Container(NamedTuple):
    """A container.

    Attributes:
        media_types: its media types; answers carry the first.
        magic: first bytes of a body.
        open: checks a body and reads its head.
        foreign: whether its libraries are not made for hostile input, so that it is read in the sandbox.
    """

    media_types: tuple[str, ...]
    magic: tuple[bytes, ...]
    open: Callable[[bytes, Settings], Opened]
    foreign: bool = True

    @property
    def media_type(self) -> str:
        """The media type of answers."""
        return self.media_types[0]


CONTAINERS: Final = (
    Container((NPY,), (b"\x93NUMPY",), NpyBody, foreign=False),
    Container(("application/netcdf", "application/x-netcdf"), (b"\x89HDF\r\n\x1a\n", b"CDF"), NetcdfBody),
    Container(("application/zip", "application/x-zip-compressed"), (b"PK\x03\x04",), ZarrBody),
)
MEDIA_TYPES: Final = tuple(container.media_type for container in CONTAINERS)
# Sent by clients that do not know the type of a file, such as curl.
UNSAID: Final = {"", "application/octet-stream", "application/x-www-form-urlencoded"}


def check_media_type(media_type: str) -> None:
    """Refuse (415) a media type of no container."""
    if media_type not in UNSAID and not any(media_type in container.media_types for container in CONTAINERS):
        raise unsupported(field="Content-Type", value=media_type, expected=", ".join(MEDIA_TYPES))


def recognise(body: Body) -> Container:
    """The container of a body.

    Raises:
        Problem: 415 if it is no known container, 400 if its bytes are not of its media type.
    """
    check_media_type(body.media_type)
    found = next((container for container in CONTAINERS if body.content.startswith(container.magic)), None)
    if body.media_type in UNSAID:
        if found is None:
            raise unsupported(field="Content-Type", value=body.media_type or None, expected=", ".join(MEDIA_TYPES))
        return found
    if found is None or body.media_type not in found.media_types:
        actual = found.media_type if found else "no supported container"
        raise malformed(field="body", value=actual, expected=f"{body.media_type}, as its Content-Type says")
    return found


def read_npy(body: Body, settings: Settings) -> NDArray[np.floating]:
    """The array in a body that must be .npy.

    Raises:
        Problem: 415 if it is another container, 400 or 422 if it is no such array.
    """
    if recognise(body).media_type != NPY:
        raise unsupported(field="Content-Type", value=body.media_type or None, expected=NPY)
    return NpyBody(body.content, settings).content


class Body(NamedTuple):
    """A body that was sent.

    Attributes:
        content: its bytes.
        media_type: of its Content-Type, without parameters; "" without one.
    """

    content: bytes
    media_type: str
