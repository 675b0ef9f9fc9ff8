"""Reading .npy in threads."""

from __future__ import annotations

import threading
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Headers are Python literals. Up to Python 3.11.7 and 3.12.1, threads that parse literals at the same time get a
# SystemError now and then: https://github.com/python/cpython/issues/106905.
_PARSING: Final = threading.Lock()


def read_array(file: IO[bytes]) -> NDArray[Any]:
    """Read an array. Unlike `np.load`, this reads neither pickles nor archives of arrays.

    Raises:
        ValueError: if it is anything else.
        EOFError: if it is not whole.
    """
    with _PARSING:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


def open_array(path: Path) -> NDArray[Any]:
    """Map a file into memory; see `read_array`."""
    with _PARSING:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        return array
