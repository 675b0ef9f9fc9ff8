"""Memory that is given back: how the C library's allocator is told to."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

# Of glibc's mallopt: the options, from malloc.h, and what they are set to.
ARENA_MAX: Final = -8, 2
MMAP_THRESHOLD: Final = -3, 256 * 1024


def give_back() -> None:
    """Have answers go back to the system when they are freed.

    glibc keeps an arena for each thread, and comes to serve large blocks from them too, which it then keeps: under many
    clients a service grew by 20 to 50 MB a minute. Call it before threads are started. Other systems are left alone.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return
    for option, value in (ARENA_MAX, MMAP_THRESHOLD):
        mallopt(option, value)
