"""Reading .npy in threads. Unlike `np.load`, this reads neither pickles nor archives of arrays."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from eddylift._processes import PerProcess

if TYPE_CHECKING:
    import io
    from pathlib import Path

    from numpy.typing import NDArray

# Headers are Python literals. Up to Python 3.11.7 and 3.12.1, threads that parse literals at the same time get a
# SystemError now and then: https://github.com/python/cpython/issues/106905.
_PARSING: Final = PerProcess(threading.Lock)


def read_array(content: io.BytesIO) -> NDArray[Any]:
    """Read an array from memory.

    Raises:
        ValueError: if it is anything else.
        EOFError: if it is not whole.
    """
    with _PARSING.get():
        array: NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
        return array


def open_array(path: Path) -> NDArray[Any]:
    """Map a file into memory. Raises as `read_array` does."""
    with _PARSING.get():
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        return array
