"""Generations of stored volumes: how every service that shares the data folder sees a change at once."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from service.runtime.file_lock import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


TOKEN_BYTES: Final = 16


class Generations:
    """The generation of each stored volume: a random token in a file of its own, which every change replaces.

    The token is written before the change, and is locked until the change is over or its process has died: a reader
    sees both or neither. A reader that finds the same token before and after reading has read one version of a volume.

    Args:
        root: folder of the volumes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".generations"

    def read(self, name: str) -> str:
        """The generation of a volume; empty if no service has changed it yet.

        Raises:
            Problem: 503 if a change takes too long.
        """
        try:
            with locked(self.folder / name, shared=True) as file:
                return file.read(TOKEN_BYTES).hex()
        except FileNotFoundError:
            return ""

    @contextmanager
    def change(self, name: str, allowed: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Change a volume, while nobody else changes it or reads its generation.

        Args:
            name: of the volume.
            allowed: raises if the volume must not change.

        Raises:
            Problem: 503 if another change takes too long.
        """
        marker = self.folder / name
        with locked(marker) as file:
            try:
                allowed()
                file.write(os.urandom(TOKEN_BYTES))
                file.flush()
                yield
            finally:
                if not (self.root / name).exists():
                    marker.unlink(missing_ok=True)
