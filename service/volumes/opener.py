"""Volumes that are open: sources, and what models make of them. Without an event loop, for a cluster's workers too."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from service.formats.boundaries import choose_boundary
from service.formats.endpoints import check_ends
from service.problems import invalid_field
from service.volumes.source import open_source
from service.volumes.storages import Storages
from service.volumes.uploads import UploadStore
from service.volumes.view import View, ViewOptions

if TYPE_CHECKING:
    from models.catalogue import Card
    from service.settings import Settings
    from service.volumes.source import OpenVolume


# Opened sources, and views of them, that are kept.
OPENED: Final = 16


class VolumeOpener:
    """What is open.

    Args:
        storages: where volumes are.
        settings: for what is allowed, and blocks.
    """

    def __init__(self, storages: Storages, settings: Settings) -> None:
        self.storages = storages
        self.settings = settings
        self._sources: OrderedDict[tuple[str, ViewOptions], OpenVolume] = OrderedDict()
        self._views: OrderedDict[str, View] = OrderedDict()
        self._opening = threading.Lock()

    def view(self, name: str, card: Card, look: ViewOptions = ViewOptions()) -> View:  # noqa: B008 a tuple
        """A volume as a model sees it; reads only what describes it.

        Raises:
            Problem: 404 if there is no such volume, 400 or 422 if it cannot be super-resolved by this model, 409 if it
                was changed while it was opened.
        """
        source = self.source(name, look)
        boundary, warnings = choose_boundary(look.boundary, source.dataset.attrs.get("boundary"), card)
        if source.levels < card.frames:
            expected = f"at least {card.frames} for {card.name}"
            raise invalid_field(field="time", value=f"{source.levels} levels", expected=expected)
        edge, precision = self.settings.block, self.settings.precision
        if "periodic" in boundary:
            check_ends(source.repeated_ends, boundary)
        view = View(source, card, card.halo, boundary, edge, look.naming, precision, warnings)
        with self._opening:
            view = self._views.setdefault(view.fingerprint, view)
            self._views.move_to_end(view.fingerprint)
            while len(self._views) > OPENED:
                self._views.popitem(last=False)
        return view

    def source(self, name: str, look: ViewOptions = ViewOptions()) -> OpenVolume:  # noqa: B008 a tuple
        """An opened volume; see ``view`` for errors."""
        storage = self.storages.find(name)
        tag = storage.tag().digest
        key = storage.name, look._replace(boundary=None)
        with self._opening:
            source = self._sources.get(key)
        if source is None or source.tag != tag:
            # It may take long, so that others are not kept waiting.
            source = open_source(storage, tag, self.settings, naming=look.naming, factor=look.factor)
            source.require_unchanged()
        with self._opening:
            self._sources[key] = source
            self._sources.move_to_end(key)
            while len(self._sources) > OPENED:
                self._sources.popitem(last=False)
        return source


def build_opener(settings: Settings) -> VolumeOpener:
    """An opener of volumes in the data folder, and in the buckets of the settings."""
    uploads = UploadStore(settings.data / "volumes", settings.spare_bytes)
    storages = Storages(uploads, settings.data / "scratch", settings)
    return VolumeOpener(storages, settings)
