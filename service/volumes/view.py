"""A super-resolved volume: a Zarr v3 array whose missing blocks are computed when they are needed.

Its documents exist at once; its chunks are blocks, so that each is written whole by one writer. What it is, is told by
a fingerprint of the source's content, the model, its weights and the options.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import zarr
from zarr.storage import MemoryStore

from models.blocks import format_boundary, plan
from service.formats.layout import labelled, on_fine_grid, plain_attributes
from service.formats.names import AXES, COMPONENT, TIME, UNCHANGED, Naming
from service.formats.zarr_group import write_group
from service.volumes.storage import DOCUMENT, FINGERPRINT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.blocks import Boundaries, Plan
    from models.catalogue import Card
    from service.volumes.source import OpenVolume


INDEX: Final = re.compile(r"0|[1-9]\d{0,8}")


class BlockIndex(NamedTuple):
    """Where a chunk is: a time level of the answer, and a block, counted along (z, y, x)."""

    level: int
    block: tuple[int, int, int]


@dataclass(frozen=True)
class View:
    """What a source is to a model.

    Attributes:
        source: the coarse volume.
        card: of the model.
        halo: of the model, in coarse cells.
        boundary: what lies beyond the ends of each axis (z, y, x).
        edge: longest edge of a block, in coarse cells.
        naming: see [`ViewOptions`][service.volumes.view.ViewOptions].
        precision: that the service is set to.
        warnings: what whoever looks at it should know of its boundary.
    """

    source: OpenVolume
    card: Card
    halo: int
    boundary: Boundaries
    edge: int
    naming: Naming = UNCHANGED
    precision: str = "float32"
    warnings: tuple[str, ...] = ()

    @cached_property
    def layout(self) -> Plan:
        """How the source is cut."""
        return plan(self.source.cells, halo=self.halo, boundary=self.boundary, block=self.edge)

    @cached_property
    def fingerprint(self) -> str:
        """Other content, other fingerprint."""
        source, card = self.source, self.card
        parts: list[object] = [source.name, source.tag, card.name, card.sha256, self.boundary, self.edge]
        parts += [self.naming.names, *([self.naming.drop] if self.naming.drop else [])]
        parts += [self.precision] if self.precision != "float32" else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]

    @property
    def levels(self) -> int:
        """Time levels of the answer: as many as have all frames that the model takes."""
        return self.source.levels - self.card.frames + 1

    def span(self, index: BlockIndex) -> range:
        """Levels of the source that a block is made from."""
        return range(index.level, index.level + self.card.frames)

    @cached_property
    def chunk(self) -> tuple[int, int, int]:
        """Fine cells of a chunk along (z, y, x)."""
        z, y, x = (self.card.factor * n for n in self.layout.block_shape)
        return z, y, x

    @property
    def _fine_cells(self) -> tuple[int, ...]:
        return tuple(self.card.factor * n for n in self.source.cells)

    @property
    def chunk_bytes(self) -> int:
        """Size of a chunk."""
        return 4 * math.prod(self.chunk) * (3 if self.source.found.joined else 1)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the arrays that hold velocity."""
        return tuple(map(str, self.source.found.names))

    @property
    def documents(self) -> dict[str, bytes]:
        """Every object but the chunks of velocity, by key: documents, consolidated too, and coordinates."""
        self.source.rest  # noqa: B018 it is read before the lock is taken that a cached_property has in Python 3.11
        return self._documents

    @cached_property
    def _documents(self) -> dict[str, bytes]:
        found, dataset, factor = self.source.found, self.source.dataset, self.card.factor
        first = self.card.frames // 2
        rest = on_fine_grid(self.source.rest, found.coordinates, factor, slice(first, first + self.levels))
        objects = write_group(rest.assign_attrs(self._attributes()), 3)
        root = zarr.create_group(store=(store := MemoryStore()))
        timed = found.levels is not None
        for name in self.variables:
            root.create_array(
                name,
                shape=(*([self.levels] if timed else []), *([3] if found.joined else []), *self._fine_cells),
                chunks=(*([1] if timed else []), *([3] if found.joined else []), *self.chunk),
                dtype="float32",
                fill_value=np.nan,
                compressors=None,
                dimension_names=(*([TIME] if timed else []), *([COMPONENT] if found.joined else []), *AXES),
                attributes=_plain(plain_attributes(dataset[name])),
            )
        velocity = {key: value.to_bytes() for key, value in store._store_dict.items()}  # noqa: SLF001 its content
        objects = {**velocity, **objects}
        head = json.loads(objects[DOCUMENT])
        arrays = {
            name: json.loads(content)
            for name, slash, document in (key.rpartition("/") for key in sorted(objects))
            if slash and document == DOCUMENT
            for content in [objects[f"{name}/{document}"]]
        }
        head["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": arrays}
        return {**objects, DOCUMENT: json.dumps(head).encode()}

    def _attributes(self) -> dict[str, Any]:
        return {
            FINGERPRINT: self.fingerprint,
            "eddylift_source": self.source.name,
            "eddylift_source_tag": self.source.tag,
            "eddylift_model": self.card.name,
            "eddylift_weights_sha256": self.card.sha256,
            "eddylift_boundary": format_boundary(self.boundary),
            "eddylift_factor": self.card.factor,
            "boundary": format_boundary(self.boundary),
        }

    def index(self, key: str) -> BlockIndex | None:
        """Where the chunk of a key is; None if there is no such chunk."""
        name, *rest = key.split("/")
        timed, joined = self.source.found.levels is not None, self.source.found.joined
        if name not in self.variables or len(rest) != 4 + timed + joined or rest[0] != "c":
            return None
        if not all(INDEX.fullmatch(number) for number in rest[1:]):
            return None
        numbers = [int(number) for number in rest[1:]]
        level = numbers.pop(0) if timed else 0
        if joined and numbers.pop(0):
            return None
        z, y, x = numbers
        there = level < self.levels and all(n < count for n, count in zip(numbers, self.layout.counts, strict=True))
        return BlockIndex(level, (z, y, x)) if there else None

    def keys(self, index: BlockIndex) -> list[str]:
        """The chunks that one block is, one for each variable."""
        numbers = [
            *([index.level] if self.source.found.levels is not None else []),
            *([0] if self.source.found.joined else []),
            *index.block,
        ]
        return ["/".join([name, "c", *map(str, numbers)]) for name in self.variables]

    def chunks(self, index: BlockIndex, fine: NDArray[np.float32]) -> dict[str, bytes]:
        """The chunks of a block's velocity, (3, z, y, x), by their keys; full ones, as Zarr wants them."""
        full = np.full((3, *self.chunk), np.nan, "<f4")
        full[:, *(slice(n) for n in fine.shape[1:])] = fine
        order = self.source.found.order
        parts = full if order is None else [full[labelled(order)]]
        return {key: part.tobytes() for key, part in zip(self.keys(index), parts, strict=True)}


def _plain(attributes: dict[Any, Any]) -> dict[str, Any]:
    """Attributes as JSON holds them."""
    return {str(key): getattr(value, "tolist", lambda value=value: value)() for key, value in attributes.items()}


class ViewOptions(NamedTuple):
    """How a volume is looked at; what is None is left to the volume.

    Attributes:
        boundary: what lies beyond the ends of each axis (z, y, x).
        naming: names of its variables and dims.
        factor: how much finer than a coarse volume it may be.
    """

    boundary: Boundaries | None = None
    naming: Naming = UNCHANGED
    factor: int = 1
