"""Files that are replaced whole: whoever reads one, or stops the program, never finds half of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Replacing:
    """A temporary path that replaces a file once it is complete."""

    def __init__(self, target: Path) -> None:
        """Name the file that is to be replaced."""
        self.target = target
        self.part = target.with_name(f".{target.name}.part")

    def __enter__(self) -> Path:
        """Give the path to write to."""
        return self.part

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Put it in place, or delete it if writing failed."""
        if kind is None:
            os.replace(self.part, self.target)  # noqa: PTH105
        else:
            self.part.unlink(missing_ok=True)
