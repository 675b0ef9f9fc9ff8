"""What tells at once, and at every service that shares the data folder, that a stored volume was changed."""

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

    A change and its token are one to all readers: the token is written first, and nobody reads it until the change is
    over, or whoever made it has died. Who reads the same token before and after reading a volume has read one volume.

    Args:
        root: folder of the volumes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".generations"

    def read(self, name: str) -> str:
        """The generation of a volume; empty if no service has changed it yet.

        Raises:
            Problem: 503 if somebody takes too long to change it.
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
            allowed: raises if it must not be changed, and then it is not.

        Raises:
            Problem: 503 if somebody else takes too long to change it.
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
