"""Uploads volumes object by object, and opens views."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import re
import shutil
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eddylift import _errors, _files
from eddylift._codecs import as_dataset
from eddylift._errors import InvalidInputError
from eddylift._files import DOCUMENTS
from eddylift._paths import VOLUME, spell_boundary
from eddylift._writing import temporary_folder, with_attribute, write_zarr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import xarray as xr

    from eddylift._calls import Call
    from eddylift._codecs import AnyVolume
    from eddylift._preparation import Preparation

# Keys of chunks in Zarr v3 (c/0/1/2, or c alone) and v2 (0.1.2 or 0/1/2).
CHUNK = re.compile(r"(?:.+/)?(?:c|(?:c[./])?\d+(?:[./]\d+)*)")

# Names of volumes that are being sent.
DRAFT = re.compile(rf"{VOLUME.pattern}\.part-[0-9a-f]{{12}}")


class Object(NamedTuple):
    """One object of a Zarr group.

    Attributes:
        key: its key in the group.
        path: the file that holds it.
        size: in bytes.
        mark: changes with its content.
    """

    key: str
    path: Path
    size: int
    mark: str

    def read(self) -> bytes:
        """Return its content.

        Raises:
            InvalidInputError: if it cannot be read.
        """
        with _files.own_errors(self.path, "sent"):
            return self.path.read_bytes()


@contextlib.contextmanager
def group(volume: AnyVolume | str | Path, preparation: Preparation) -> Iterator[tuple[list[Object], str | None]]:
    """Give the objects of a Zarr group: the largest first, so that one beyond the service's limit is refused at once.

    Metadata documents come last, so that a group that has them is complete.

    A folder that is a Zarr group is sent as it is, without files that do not belong to the group; a boundary changes
    its attribute. Anything else, and a volume with other options to apply, is written to a temporary group first.

    The other thing given is why no velocity was found, or None. That is no error: names may be given later, when the
    volume is opened or a job is submitted.

    Raises:
        InvalidInputError: if the path has no volume with names, a cell has no velocity, or the zarr package is missing.
    """
    problem = None
    changed: dict[str, Path] = {}
    with contextlib.ExitStack() as kept:
        if (
            isinstance(volume, str | Path)
            and _files.is_zarr(Path(volume))
            and not any(preparation._replace(boundary=None))
        ):
            folder, mark = Path(volume), _modified
            if preparation.boundary is not None:
                with _files.own_errors(folder, "sent"):
                    documents = Path(kept.enter_context(temporary_folder()))
                    changed = with_attribute(folder, "boundary", spell_boundary(preparation.boundary), documents)
            if importlib.util.find_spec("zarr") is not None:
                from eddylift._velocity import find  # noqa: PLC0415 needs xarray, which is slow

                try:
                    with _files.open_dataset(folder) as dataset:
                        find(dataset)
                except InvalidInputError as error:
                    problem = str(error)
        else:
            _files.require_zarr("sending what is no folder of a Zarr group")
            path = volume if isinstance(volume, str | Path) else "the volume"
            if isinstance(volume, str | Path):
                volume = kept.enter_context(_files.open_dataset(Path(volume)))
            with _files.own_errors(path, "sent"):  # velocity is read while it is written
                folder, mark = Path(kept.enter_context(temporary_folder())) / "volume.zarr", _digest
                prepared, problem = _standard(volume, preparation)
                _check_room(folder.parent, prepared)
                write_zarr(folder, prepared)
        with _files.own_errors(folder, "sent"):
            paths = {path.relative_to(folder).as_posix(): path for path in _files_in(folder)} | changed
            objects = [
                Object(key, path, path.stat().st_size, (_digest if key in changed else mark)(path))
                for key, path in paths.items()
                if _is_of_group(key)
            ]
        yield sorted(objects, key=lambda each: (each.path.name in DOCUMENTS, -each.size)), problem


def warn_of_problem(problem: str | None) -> None:
    """Warn of what keeps a volume from being super-resolved, if anything does."""
    if problem:
        _errors.warn(f"this volume cannot be super-resolved as it is: {problem}")


def draft_name(name: str, objects: list[Object]) -> str:
    """Return the temporary name of a volume during its upload: named after the content, so that it can be continued.

    Raises:
        InvalidInputError: for a name that looks like a temporary one: the service would delete the volume after a day.
    """
    if DRAFT.fullmatch(name):
        message = f"name: {name}; expected another ending: volumes whose names end so are deleted after a day"
        raise InvalidInputError(message)
    digest = hashlib.sha256(name.encode())
    for each in objects:
        digest.update(f"{each.key} {each.size} {each.mark}\n".encode())
    return f"{name[:80]}.part-{digest.hexdigest()[:12]}"


def changed(volume: AnyVolume | str | Path, objects: list[Object]) -> InvalidInputError | None:
    """Make the error for a group that was written to while it was sent: some objects may be older than others.

    Args:
        volume: what is uploaded; what was written to a temporary group has not changed.
        objects: of the group, as they were before they were sent.
    """
    if isinstance(volume, str | Path):
        with _files.own_errors(volume, "sent"):
            if any(each.path.is_relative_to(volume) and _modified(each.path) != each.mark for each in objects):
                message = f"{volume} changed while it was sent: upload it again when nothing writes to it"
                return InvalidInputError(message)
    return None


def _modified(path: Path) -> str:
    """Return which file it is, and when it changed: archives and copies keep when it was modified."""
    status = path.stat()
    return f"{status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _digest(path: Path) -> str:
    """Return the digest of a file: one that was converted is new each time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _standard(volume: AnyVolume, preparation: Preparation) -> tuple[xr.Dataset, str | None]:
    from eddylift._velocity import find, standard  # noqa: PLC0415 need xarray, which is slow

    prepared: xr.Dataset
    (prepared,) = map(as_dataset, preparation.apply(volume))
    if preparation.boundary is not None:
        prepared = prepared.assign_attrs(boundary=spell_boundary(preparation.boundary))
    try:
        velocity = find(prepared)
    except InvalidInputError as error:
        return prepared, str(error)
    return standard(prepared, velocity), None


def _check_room(folder: Path, volume: xr.Dataset) -> None:
    """Refuse, before anything is computed, a volume that does not fit into the temporary folder."""
    free = shutil.disk_usage(folder).free
    if volume.nbytes > free:
        message = (
            f"the volume has {volume.nbytes} bytes, and {folder.parent} room for {free}: set TMPDIR to a folder with "
            "more, or write the volume to the service, by to_zarr(client.store(name), consolidated=False)"
        )
        raise InvalidInputError(message)


def _files_in(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Give the files of a folder and of those in it, in order, without hidden folders. Links are followed.

    Args:
        folder: a folder.
        above: the folders that it is in, without links.

    Raises:
        InvalidInputError: for a link to nothing, or to a folder that it is in: chunks that are left out would read as
            the fill value.
        OSError: if a folder cannot be read.
    """
    above |= {folder.resolve()}
    for path in sorted(folder.iterdir()):
        if path.is_file():
            yield path
        elif path.name.startswith("."):
            continue
        elif not path.exists() or path.resolve() in above:
            message = f"{path} is a link to {path.readlink()}; expected one to a file or a folder outside"
            raise InvalidInputError(message)
        elif path.is_dir():
            yield from _files_in(path, above)


def _is_of_group(key: str) -> bool:
    """Return whether a file belongs to a Zarr group: a document or a chunk."""
    return key.rpartition("/")[2] in DOCUMENTS or CHUNK.fullmatch(key) is not None


def open_view(send: Callable[[Call[Any]], Any], close: Callable[[], None], address: str, path: str) -> xr.Dataset:
    """Open a view; reads no velocity.

    Args:
        send: sends a call and returns its result, from several threads at a time.
        close: called when nothing needs the view any more.
        address: address of the service.
        path: where the view is.
    """
    import xarray as xr  # noqa: PLC0415 slow

    from eddylift._zarr_store import ViewStore  # noqa: PLC0415 not in the base install

    store = ViewStore(send, address, path, read_only=True)
    weakref.finalize(store, close)
    view: xr.Dataset = xr.open_zarr(store, chunks=None, consolidated=True, **_files.RAW)
    return view
