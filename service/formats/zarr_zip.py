"""Zipped Zarr groups, v2 and v3, unpacked in memory."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from service.formats.decompressed_size import ExpansionError, check_decoded
from service.formats.velocity import check_array_count
from service.formats.zarr_codecs import Chunks, check_array
from service.formats.zarr_group import DOCUMENTS, members, open_group, write_group
from service.problems import decoding, invalid_field, malformed, too_large

if TYPE_CHECKING:
    import xarray as xr

    from service.settings import Settings


Files = dict[str, bytes]
METHODS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
MAX_ENTRIES: Final = 10_000
# Largest ratio of decompressed to compressed size, for what decompresses to more than a mebibyte.
MAX_RATIO: Final = 100
MEBI: Final = 1 << 20


class ZarrBody:
    """A zipped Zarr group.

    Attributes:
        content: the dataset; its arrays are decoded on access.
        root: folder of the archive that the group is in, with a slash; "" if it is the archive itself.
        version: of the Zarr format.
        consolidated: whether the group carries consolidated metadata.
    """

    def __init__(self, content: bytes, settings: Settings) -> None:
        files = unpack(content, settings)
        self.root, self.version = find_group(files)
        group = {name.removeprefix(self.root): data for name, data in files.items() if name.startswith(self.root)}
        # Read each array's own metadata, as that is what is checked.
        self.consolidated = _drop_consolidated(group, self.version)
        make = default_buffer_prototype().buffer.from_bytes
        store = MemoryStore({name: make(data) for name, data in group.items()}, read_only=True)
        with decoding(field="body", value="no readable Zarr group", expected="a Zarr group"):
            _inspect(group, store, settings)
            self.content = open_group(store)

    def write(self, answer: xr.Dataset) -> list[memoryview]:
        """A dataset as pieces of a body: a group of the same version, in the same folder."""
        pieces = io.BytesIO()
        with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:
            for name, data in sorted(write_group(answer, self.version, consolidated=self.consolidated).items()):
                archive.writestr(zipfile.ZipInfo(self.root + name), data)
        return [pieces.getbuffer()]


def unpack(content: bytes, settings: Settings) -> Files:
    """Read an archive into memory, within limits.

    Raises:
        Problem: 400 if it is broken, 413 if it is or becomes too large, 422 for a path outside of it or anything but a
            plain file.
    """
    whole = decoding(field="body", value="no whole zip archive", expected="a zip archive")
    with whole, zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and not is_clutter(entry.filename)]
        _check_entries(entries, len(content), settings)
        # zarr's ZipStore replaces a file by writing it again: the last one counts.
        return {entry.filename: archive.read(entry) for entry in entries}


def is_clutter(path: str) -> bool:
    """Whether a file was left by a desktop, notebook or file system: ``.DS_Store``, ``._0`` or ``.nfs0001``."""
    steps = path.split("/")
    hidden = [step for step in steps if step.startswith(".") and step not in {".", ".."}]
    return "__MACOSX" in steps or (bool(hidden) and not (hidden == steps[-1:] and hidden[0] in DOCUMENTS))


def _check_entries(entries: list[zipfile.ZipInfo], length: int, settings: Settings) -> None:
    if len(entries) > MAX_ENTRIES:
        raise too_large(field="body", value=f"{len(entries)} files", limit=f"{MAX_ENTRIES} files")
    total = sum(entry.file_size for entry in entries)
    if total > settings.max_decoded_bytes:
        raise too_large(field="body", value=f"{total} bytes decompressed", limit=f"{settings.max_decoded_bytes} bytes")
    if total > MEBI and total > MAX_RATIO * length:
        raise too_large(field="body", value=f"compressed by a factor of {total / length:.0f}", limit=f"{MAX_RATIO}")
    for entry in entries:
        name = entry.filename
        steps = name.split("/")
        if name.startswith("/") or "\\" in name or ":" in steps[0] or not {"", ".", ".."}.isdisjoint(steps):
            raise invalid_field(
                field="body", value=f"an archive with a file at {name!r}", expected="paths inside the group"
            )
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise invalid_field(
                field="body", value=f"an archive in which {name!r} is no plain file", expected="plain files"
            )
        if entry.compress_type not in METHODS or entry.flag_bits & 1:
            raise invalid_field(
                field="body",
                value=f"an archive in which {name!r} is encrypted or compressed otherwise",
                expected="stored or deflated files, as zip -r makes them",
            )


def find_group(files: Files) -> tuple[str, int]:
    """The folder of the outermost group, and its Zarr version.

    Raises:
        Problem: 400 if there is none, 422 if there are several side by side.
    """
    groups = sorted(
        (len(path.parts), str(path.parent) + "/" if len(path.parts) > 1 else "", 3 if path.name == "zarr.json" else 2)
        for path in map(PurePosixPath, files)
        if path.name in ("zarr.json", ".zgroup")
    )
    if not groups:
        raise malformed(field="body", value="an archive without a Zarr group", expected="a Zarr group")
    depth, root, version = groups[0]
    if len([group for group in groups if group[0] == depth]) > 1:
        raise invalid_field(field="body", value="an archive with several Zarr groups", expected="one")
    return root, version


def _json(group: Files, name: str) -> dict[str, Any]:
    try:
        content = json.loads(group[name])
    except (ValueError, RecursionError) as error:
        raise malformed(field=name, value="no JSON", expected="Zarr metadata") from error
    if not isinstance(content, dict):
        raise malformed(field=name, value="no JSON object", expected="Zarr metadata")
    return content


def _drop_consolidated(group: Files, version: int) -> bool:
    """Take consolidated metadata out of a group, and say whether there was any."""
    if version == 2:  # noqa: PLR2004 the old one
        return group.pop(".zmetadata", None) is not None
    node = _json(group, "zarr.json")
    if node.get("consolidated_metadata") is None:
        return False
    del node["consolidated_metadata"]
    group["zarr.json"] = json.dumps(node).encode()
    return True


def _inspect(group: Files, store: MemoryStore, settings: Settings) -> None:
    """Refuse arrays whose decoding would run foreign code or fill the memory."""
    nodes = {str(path.parent) for path in map(PurePosixPath, group) if path.name in DOCUMENTS} - {"."}
    check_array_count("body", len(nodes))
    if nested := sorted(node for node in nodes if "/" in node):
        expected = "arrays in the outermost group alone; zip the group that holds the velocity by itself"
        raise invalid_field(field=nested[0], value="in a group of its own", expected=expected)
    left = settings.max_decoded_bytes
    for name, node in members(store).items():
        if not isinstance(node, zarr.Array):
            raise invalid_field(field=name, value="a group", expected="arrays in the outermost group alone")
        check_array(name, node)
        chunks = Chunks.of(name, node)
        check_decoded(max(node.size * node.dtype.itemsize, chunks.nbytes), left, settings)
        decoded = 0
        for path, data in group.items():
            if path.startswith(f"{name}/") and PurePosixPath(path).name not in DOCUMENTS:
                try:
                    decoded += chunks.measure(data)
                except ExpansionError as error:
                    raise too_large(field=name, value=f"{error}", limit="as much as its shape says") from error
                check_decoded(decoded, left, settings)  # at once, as measuring takes long
        left -= max(decoded, node.size * node.dtype.itemsize)
