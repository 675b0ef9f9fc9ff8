"""Volumes that are open: sources, and what models make of them. Without an event loop, for a cluster's workers too."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from models.blocks import PERIODIC
from service.problems import unfit
from service.volumes.source import open_source
from service.volumes.view import Look, SuperResolved

if TYPE_CHECKING:
    from pathlib import Path

    from models.catalogue import Card
    from service.settings import Settings
    from service.volumes.source import Source
    from service.volumes.storage import Location, Locations


# Opened sources, and views of them, that are kept.
OPENED: Final = 16


class Library:
    """What is open.

    Args:
        locations: where volumes are.
        notes: folder for moments of sources.
        settings: for what is allowed, and blocks.
    """

    def __init__(self, locations: Locations, notes: Path, settings: Settings) -> None:
        self.locations = locations
        self.notes = notes
        self.settings = settings
        self._sources: OrderedDict[tuple[str, Look], Source] = OrderedDict()
        self._views: OrderedDict[str, SuperResolved] = OrderedDict()
        self._opening = threading.Lock()

    def view(self, name: str, card: Card, look: Look = Look()) -> SuperResolved:  # noqa: B008 a tuple
        """A volume as a model sees it; reads only what describes it.

        Raises:
            Problem: 404 if there is no such volume, 400 or 422 if it cannot be super-resolved by this model.
        """
        source = self.source(name, look)
        boundary = look.boundary or source.boundary or PERIODIC
        if source.levels < card.frames:
            expected = f"at least {card.frames} for {card.name}"
            raise unfit(field="time", value=f"{source.levels} levels", expected=expected)
        edge, precision = self.settings.block, self.settings.precision
        view = SuperResolved(source, card, card.halo, boundary, edge, look.names, precision)
        with self._opening:
            view = self._views.setdefault(view.fingerprint, view)
            self._views.move_to_end(view.fingerprint)
            while len(self._views) > OPENED:
                self._views.popitem(last=False)
        return view

    def source(self, name: str, look: Look = Look()) -> Source:  # noqa: B008 a tuple
        """An opened volume; see ``view`` for errors."""
        location = self.locations.find(name)
        return self._open(location, location.tag().digest, look)

    def _open(self, location: Location, tag: str, look: Look) -> Source:
        key = location.name, look._replace(boundary=None)
        with self._opening:
            source = self._sources.get(key)
        if source is None or source.tag != tag:
            # It may take long, so that others are not kept waiting.
            source = open_source(
                location, tag, self.settings, names=dict(look.names), notes=self.notes, factor=look.factor
            )
        with self._opening:
            known = self._sources.get(key)
            if known is None or known.tag != tag:
                known = self._sources[key] = source
            self._sources.move_to_end(key)
            while len(self._sources) > OPENED:
                self._sources.popitem(last=False)
            return known
