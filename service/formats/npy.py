"""Bare arrays, as ``numpy.save`` writes them. Nothing is unpickled."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.lib import format as npy

from models.npy import PARSING
from service.problems import FLOATS, decoding, invalid_field, malformed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.settings import Settings


NPY: Final = "application/x-npy"
LONGEST_HEADER: Final = 10_000


class NpyBody:
    """An .npy body.

    Attributes:
        content: the array, a view on the body.
    """

    def __init__(self, content: bytes, _settings: Settings) -> None:
        stream = io.BytesIO(content)
        with decoding(field="body", value="no npy file", expected="an npy file"):
            version = npy.read_magic(stream)
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in readers:
            raise malformed(
                field="body", value=f"npy format {version[0]}.{version[1]}", expected="npy format 1.0 or 2.0"
            )
        with decoding(field="body", value="an npy file with a broken header", expected="a whole npy file"), PARSING:
            shape, fortran, dtype = readers[version](stream, max_header_size=LONGEST_HEADER)
        if dtype.kind != "f" or dtype.itemsize not in (4, 8):
            found = "object (pickled)" if dtype.hasobject else str(dtype)
            raise invalid_field(field="dtype", value=found, expected=FLOATS)
        data = memoryview(content)[stream.tell() :]
        # In Python, True is an int.
        if not all(type(n) is int and n >= 0 for n in shape):
            raise malformed(field="body", value=f"an npy file of shape {shape}", expected="whole numbers from 0 on")
        # numpy has no arrays of very many or very long axes, though they be empty.
        with decoding(field="body", value="an npy file of a shape that no array has", expected="a whole npy file"):
            needed = math.prod(shape) * dtype.itemsize
            if needed != len(data):
                raise malformed(
                    field="body",
                    value=f"{len(data)} bytes after its header",
                    expected=f"{needed} bytes for shape {shape} of {dtype}",
                )
            flat: NDArray[np.floating] = np.frombuffer(data, dtype)
            self.content = flat.reshape(shape, order="F" if fortran else "C")

    @staticmethod
    def write(answer: NDArray[np.float32]) -> list[memoryview]:
        """An array as pieces of a body, without copying it."""
        head = io.BytesIO()
        npy.write_array_header_1_0(head, npy.header_data_from_array_1_0(answer))
        return [head.getbuffer(), answer.data.cast("B")]
