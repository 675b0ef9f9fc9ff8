"""A super-resolved volume: a Zarr v3 array whose missing blocks are computed when they are needed.

Its metadata documents exist at once. A chunk is a block, so that one writer writes it completely. A fingerprint of the
source's content, the model, its weights and the options identifies a view.
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
from service.formats.error import ERROR, error_attributes
from service.formats.grid import length_of
from service.formats.layout import labelled, on_fine_grid, plain_attributes
from service.formats.names import AXES, COMPONENT, TIME, UNCHANGED, Naming
from service.formats.zarr_group import objects_in, write_group
from service.volumes.code_version import CODE
from service.volumes.storage import DOCUMENT, FINGERPRINT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from zarr.abc.buffer import Buffer

    from models.blocks import Boundaries, Plan
    from models.catalogue import Card
    from service.volumes.source import OpenVolume


INDEX: Final = re.compile(r"0|[1-9]\d{0,8}")


class BlockIndex(NamedTuple):
    """Position of a chunk: a time level of the answer, and the indices of a block along (z, y, x)."""

    level: int
    block: tuple[int, int, int]


@dataclass(frozen=True)
class View:
    """A stored volume as one model super-resolves it.

    Attributes:
        source: the coarse volume.
        card: card of the model.
        boundary: what lies beyond the ends of each axis (z, y, x).
        edge: longest edge of a block, in coarse cells.
        naming: see [`ViewOptions`][service.volumes.view.ViewOptions].
        precision: in which the model is served here; not the setting, as other processes may serve it in another one.
        warnings: warnings for the user about the boundary.
        error: whether it also has the expected error.
    """

    source: OpenVolume
    card: Card
    boundary: Boundaries
    edge: int
    naming: Naming = UNCHANGED
    precision: str = "float32"
    warnings: tuple[str, ...] = ()
    error: bool = False

    @cached_property
    def layout(self) -> Plan:
        """How the source is divided into blocks."""
        return plan(self.source.cells, halo=self.card.halo, boundary=self.boundary, block=self.edge)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that the answer depends on, the code that computes it too."""
        source, card = self.source, self.card
        parts: list[object] = [
            CODE,
            source.name,
            source.tag,
            card.name,
            card.sha256,
            card.architecture,
            self.boundary,
            self.edge,
        ]
        parts += [self.naming.names, *([self.naming.drop] if self.naming.drop else [])]
        parts += [self.precision] if self.precision != "float32" else []
        parts += [ERROR] if self.error else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]

    @property
    def levels(self) -> int:
        """Number of time levels of the answer: those with all frames that the model takes."""
        return self.source.levels - self.card.frames + 1

    def span(self, index: BlockIndex) -> range:
        """Time levels of the source from which a block is computed."""
        return range(index.level, index.level + self.card.frames)

    @cached_property
    def chunk(self) -> tuple[int, int, int]:
        """Fine cells in a chunk along (z, y, x)."""
        z, y, x = (self.card.factor * n for n in self.layout.block_shape)
        return z, y, x

    @property
    def fine_cells(self) -> tuple[int, ...]:
        """Fine cells of the volume along (z, y, x)."""
        return tuple(self.card.factor * n for n in self.source.cells)

    @cached_property
    def variables(self) -> dict[str, dict[str, Any]]:
        """Names and attributes of the arrays with the velocity and its expected error."""
        dataset = self.source.dataset
        found = {str(name): _plain(plain_attributes(dataset[name])) for name in self.source.found.names}
        return {**found, ERROR: error_attributes(next(iter(found.values())))} if self.error else found

    def components(self, name: str) -> list[int]:
        """Length of an array's component dim, as a list; empty if it has none."""
        return [3] if self.source.found.joined and name in map(str, self.source.found.names) else []

    def chunk_bytes(self, key: str) -> int:
        """Size in bytes of a key's chunk."""
        return 4 * math.prod((*self.components(key.partition("/")[0]), *self.chunk))

    @property
    def nbytes(self) -> int:
        """Size in bytes of all chunks."""
        return self.levels * math.prod(self.layout.counts) * sum(map(self.chunk_bytes, self.variables))

    @property
    def documents(self) -> dict[str, bytes]:
        """Every object but the computed chunks, by key: documents, consolidated too, and coordinates."""
        self.source.rest  # noqa: B018 read it before cached_property takes its lock (Python 3.11)
        return self._documents

    @cached_property
    def _documents(self) -> dict[str, bytes]:
        found, factor = self.source.found, self.card.factor
        rest = on_fine_grid(self.source.rest, found, factor, self.levels)
        objects = write_group(rest.assign_attrs(self._attributes()), 3)
        stored: dict[str, Buffer] = {}
        root = zarr.create_group(store=MemoryStore(stored))
        timed = found.levels is not None
        for name, attributes in self.variables.items():
            components = self.components(name)
            root.create_array(
                name,
                shape=(*([self.levels] if timed else []), *components, *self.fine_cells),
                chunks=(*([1] if timed else []), *components, *self.chunk),
                dtype="float32",
                fill_value=np.nan,
                compressors=None,
                dimension_names=(*([TIME] if timed else []), *([COMPONENT] if components else []), *AXES),
                attributes=attributes,
            )
        objects = {**objects_in(stored), **objects}
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
            "eddylift_length": list(length_of(self.source)),
            "boundary": format_boundary(self.boundary),
        }

    def index(self, key: str) -> BlockIndex | None:
        """Position of a key's chunk; None if there is no such chunk."""
        name, *rest = key.split("/")
        timed, joined = self.source.found.levels is not None, bool(self.components(name))
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
        """Keys of the chunks of a block, one for each variable."""
        level = [index.level] if self.source.found.levels is not None else []
        places = {name: [*level, *(0 for _ in self.components(name)), *index.block] for name in self.variables}
        return ["/".join([name, "c", *map(str, numbers)]) for name, numbers in places.items()]

    def chunks(self, index: BlockIndex, fine: NDArray[np.float32]) -> dict[str, bytes]:
        """Chunks of a block (3 or 4, z, y, x) by key, padded to the full size that Zarr expects."""
        full = np.full((len(fine), *self.chunk), np.nan, "<f4")
        full[:, *(slice(n) for n in fine.shape[1:])] = fine
        order = self.source.found.order
        parts = full if order is None else [full[labelled(order)], *full[3:]]
        return {key: part.tobytes() for key, part in zip(self.keys(index), parts, strict=True)}

    def block(self, index: BlockIndex, chunks: Sequence[bytes]) -> NDArray[np.float32]:
        """The block (3 or 4, z, y, x) of these chunks; the inverse of `chunks`."""
        parts = [np.frombuffer(chunk, "<f4").reshape(-1, *self.chunk) for chunk in chunks]
        order = self.source.found.order
        if order is not None:
            parts[0] = parts[0][list(order)]
        block = self.layout.at(index.block)
        there = (slice(self.card.factor * (stop - start)) for start, stop in zip(block.start, block.stop, strict=True))
        return np.concatenate(parts)[:, *there]


def _plain(attributes: dict[Any, Any]) -> dict[str, Any]:
    """Attributes converted for JSON."""
    return {str(key): getattr(value, "tolist", lambda value=value: value)() for key, value in attributes.items()}


class ViewOptions(NamedTuple):
    """Options of a view.

    Attributes:
        boundary: what lies beyond the ends of each axis (z, y, x); None takes that of the volume.
        naming: new names of variables and dims.
        factor: how much finer than a coarse volume it may be.
        error: whether to add the expected error.
        partly: see [`Naming.apply`][service.formats.names.Naming.apply].
    """

    boundary: Boundaries | None = None
    naming: Naming = UNCHANGED
    factor: int = 1
    error: bool = False
    partly: bool = False
