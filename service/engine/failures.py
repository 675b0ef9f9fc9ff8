"""Why models cannot be served, for as long as it is true."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from service.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    # Name, time of the last change (ns) and bytes of each file of a model.
    Files = list[tuple[str, int, int]]


AnyCard = TypeVar("AnyCard")
logger = logging.getLogger("service.engine")


class Failures:
    """Models whose cards could not be read when they were last listed, or that could not be loaded at the last try.

    Args:
        folder: of the models.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unreadable: dict[str, str] = {}
        self._unloadable: dict[str, tuple[Files, str]] = {}

    def read_cards(self, names: list[str], find: Callable[[str], AnyCard]) -> list[AnyCard]:
        """The cards that can be read. Why others cannot is noted, and logged if it is not known yet."""
        found, failures = [], {}
        for name in names:
            try:
                found.append(find(name))
            except Problem as problem:
                if problem.kind == "unknown-model":  # deleted meanwhile
                    continue
                failures[name] = problem.detail
                if self._unreadable.get(name) != problem.detail:
                    logger.warning("%s", problem.detail)
        self._unreadable = failures
        return found

    @contextmanager
    def loading(self, name: str) -> Iterator[None]:
        """Load a model. Why it cannot be loaded is noted, and logged if it is not known yet."""
        files = self._files(name)
        try:
            yield
        except Exception as error:
            if self._unloadable.get(name, ([], ""))[1] != str(error):
                logger.exception("%s cannot be loaded", name)
            self._unloadable[name] = files, str(error)
            raise
        self._unloadable.pop(name, None)

    def reasons(self) -> dict[str, str]:
        """Why, by the names of the models. What was wrong with files that have changed or are gone is forgotten."""
        for name, (files, _) in [*self._unloadable.items()]:
            if self._files(name) != files:
                self._unloadable.pop(name, None)
        return {name: why for name, (_, why) in [*self._unloadable.items()]} | self._unreadable

    def _files(self, name: str) -> Files:
        try:
            found = [(path.name, path.stat()) for path in (self._folder / name).iterdir()]
        except OSError:  # it is gone, or has none
            return []
        return sorted((file, status.st_mtime_ns, status.st_size) for file, status in found)
