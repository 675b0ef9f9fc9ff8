"""What each process has for itself. A fork gives a child the sockets of its parent, and none of its threads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Something of which each process makes its own, as with `multiprocessing` or workers that load data.

    What the parent made is kept: it is not the child's to close.

    Args:
        make: called once in this process, and in each child that asks.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made = {os.getpid(): make()}

    def get(self) -> T:
        """Return that of the current process."""
        process = os.getpid()
        if process not in self._made:
            self._made.setdefault(process, self._make())
        return self._made[process]
