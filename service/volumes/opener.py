"""Opens volumes and views of them. It needs no event loop, so that workers of a cluster can use it too."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

from service.formats.boundaries import choose_boundary
from service.formats.error import check_free
from service.formats.field_checks import check_field
from service.formats.grid import check_axes, check_times
from service.problems import invalid_field
from service.volumes.source import open_source
from service.volumes.storage import reading
from service.volumes.storages import Storages
from service.volumes.uploads import UploadStore
from service.volumes.view import View, ViewOptions

if TYPE_CHECKING:
    from models.catalogue import Card
    from service.engine.registry import ModelRegistry
    from service.settings import Settings
    from service.volumes.source import OpenVolume


# Bytes of opened sources that are kept, and of views of them. Each counts as what lies beside its velocity and LEAST.
KEPT: Final = 1 << 30
LEAST: Final = 1 << 20


class VolumeOpener:
    """Opens volumes and views, and keeps the latest open.

    Args:
        storages: finds volumes.
        settings: for limits, and the size of blocks.
        registry: says in which precision a model is served.
    """

    def __init__(self, storages: Storages, settings: Settings, registry: ModelRegistry) -> None:
        self.storages = storages
        self.settings = settings
        self.registry = registry
        self._sources: LRUCache[tuple[str, ViewOptions], OpenVolume] = LRUCache(
            KEPT, lambda source: LEAST + source.beside
        )
        self._views: LRUCache[str, View] = LRUCache(KEPT, lambda view: LEAST + view.source.beside)
        self._opening = threading.Lock()

    def view(
        self,
        name: str,
        card: Card,
        options: ViewOptions = ViewOptions(),  # noqa: B008 a tuple
        *,
        fresh: bool = False,
    ) -> View:
        """A volume as a model super-resolves it; reads only what describes it.

        Args:
            name: of the volume.
            card: of the model.
            options: how it is viewed.
            fresh: whether to see at once what changed without a service, too.

        Raises:
            Problem: 404 if there is no such volume, 400 or 422 if it cannot be super-resolved by this model, 409 if it
                was changed while it was opened; and as `ModelRegistry.precision_of` does.
        """
        source = self.source(name, options, fresh=fresh)
        boundary, warnings = choose_boundary(options.boundary, source.dataset.attrs.get("boundary"), card)
        if source.levels < card.frames:
            expected = f"at least {card.frames} for {card.name}"
            raise invalid_field(field="time", value=f"{source.levels} levels", expected=expected)
        edge, precision = self.settings.block, self.registry.precision_of(card)
        warnings += check_times(source.rest) if card.frames > 1 else ()
        warnings += check_field(source.summary, boundary, card) + check_axes(source, source.dataset, card)
        if options.error:
            check_free({*source.dataset.variables, *source.dataset.dims})
        view = View(source, card, boundary, edge, options.naming, precision, warnings, options.error)
        with self._opening:
            return self._views.setdefault(view.fingerprint, view)

    def source(
        self,
        name: str,
        options: ViewOptions = ViewOptions(),  # noqa: B008 a tuple
        *,
        fresh: bool = False,
    ) -> OpenVolume:
        """An opened volume; see ``view`` for arguments and errors."""
        storage = self.storages.find(name)
        tag = storage.tag(fresh=fresh).digest
        key = storage.name, options._replace(boundary=None, error=False)
        with self._opening:
            source = self._sources.get(key)
        if source is None or source.tag != tag:
            # Outside of the lock, as it may take long.
            naming, factor, partly = options.naming, options.factor, options.partly
            with reading(storage, tag):
                source = open_source(storage, tag, self.settings, naming=naming, factor=factor, partly=partly)
            source.require_unchanged()
        with self._opening:
            self._sources[key] = source
        return source


def build_opener(settings: Settings, registry: ModelRegistry) -> VolumeOpener:
    """An opener of volumes in the data folder, and in the buckets of the settings."""
    uploads = UploadStore(settings.data / "volumes", settings.spare_bytes)
    storages = Storages(uploads, settings.data / "scratch", settings)
    return VolumeOpener(storages, settings, registry)
