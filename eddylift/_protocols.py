"""What takes more than one call, written once for both clients.

A protocol is a generator. It yields calls, which the client sends, and functions that work on files, which it calls, in
a thread if it is asynchronous. It gets their results, and what they raise.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from eddylift import _calls, _paths, _transfer
from eddylift._arrival import Arrival
from eddylift._errors import EddyliftError, InvalidInputError, NotFoundError, RefusedError, UnexpectedAnswerError
from eddylift._progress import Progress
from eddylift._reporting import reporting

if TYPE_CHECKING:
    from pathlib import Path

    from eddylift._codecs import AnyVolume
    from eddylift._preparation import Preparation
    from eddylift._progress import ProgressCallback
    from eddylift._types import StoredVolume

T = TypeVar("T")
Steps = Generator[_calls.Call[Any] | Callable[[], Any], Any, T]
# Statuses by which an object is refused for what it is. With any other, such as that of a token that has expired, the
# upload can go on later.
HOPELESS = frozenset({413, 415, 422})


def upload(
    volume: AnyVolume | str | Path,
    name: str,
    preparation: Preparation,
    *,
    replace: bool,
    progress: ProgressCallback | bool | None,
) -> Steps[StoredVolume]:
    """See `Client.upload`."""
    _paths.checked_volume(name)
    with ExitStack() as kept:
        group = _transfer.group(volume, preparation)
        objects, problem = yield group.__enter__
        kept.push(group.__exit__)
        report = kept.enter_context(reporting(progress))
        _transfer.warn_of_problem(problem)
        if not replace and (yield from _find(name)):
            message = f"there is a volume {name} already: choose another name, or replace it"
            raise InvalidInputError(message)
        draft = _transfer.draft_name(name, objects)
        path = _paths.volume_path(draft)
        try:
            yield from _put_missing(path, objects, report)
        except RefusedError as error:
            if error.status in HOPELESS:
                with suppress(EddyliftError):
                    yield _calls.delete(path)
            raise
        if changed := (yield partial(_transfer.changed, volume, objects)):
            with suppress(EddyliftError):
                yield _calls.delete(path)
            raise changed
        stored = yield from _rename(draft, name, sum(each.size for each in objects), replace=replace)
    _transfer.warn_of_problem(None if problem else stored.problem)
    return stored


def _find(name: str) -> Steps[StoredVolume | None]:
    try:
        found: StoredVolume = yield _calls.volume(name)
    except NotFoundError:
        return None
    return found


def _sizes(path: str) -> Steps[dict[str, int]]:
    sizes: dict[str, int] = {}
    more = True
    with suppress(NotFoundError):
        while more:
            page, more = yield _calls.objects(path, next(reversed(sizes), ""))
            sizes |= page
    return sizes


def _put_missing(path: str, objects: list[_transfer.Object], report: ProgressCallback) -> Steps[None]:
    there = yield from _sizes(path)
    # The service stores an object completely or not at all.
    left = [each for each in objects if there.get(each.key) != each.size]
    total = sum(each.size for each in objects)
    done = total - sum(each.size for each in left)
    report(Progress("upload", done, total))
    for each in left:
        yield _calls.put_object(path, each.key, (yield each.read))
        done += each.size
        report(Progress("upload", done, total))


def _rename(draft: str, name: str, size: int, *, replace: bool) -> Steps[StoredVolume]:
    before = (yield from _find(name)) if replace else None
    sent = yield from _find(draft)
    if sent is not None and sent.bytes != size:  # another upload of the same volume has renamed it
        message = f"{draft} lacks objects that were sent; does another process upload the same volume? Upload it again"
        raise UnexpectedAnswerError(message)
    stored: StoredVolume | None
    try:
        stored = yield _calls.rename_volume(draft, name, replace=replace)
    except NotFoundError:
        # An earlier attempt may have renamed it, and its answer was lost.
        stored = yield from _find(name)
        if stored is None or stored == before or stored.bytes != size:
            raise
    return stored


def download(name: str, folder: str | Path, *, progress: ProgressCallback | bool | None) -> Steps[Path]:
    """See `Client.download`."""
    path = _paths.volume_path(name)
    with reporting(progress) as report:
        arrival: Arrival = yield partial(Arrival, folder, (yield _calls.volume(name)), report)
        more = True
        while more:
            sizes, more = yield _calls.objects(path, arrival.last)
            for key in (yield partial(arrival.missing, sizes)):
                yield partial(arrival.take, key, (yield _calls.get_object(path, key)))
    yield partial(arrival.finish, (yield _calls.volume(name)))
    return arrival.folder


def delete_volume(name: str) -> Steps[None]:
    """See `Client.delete_volume`."""
    before = yield from _find(name)
    try:
        yield _calls.delete(_paths.volume_path(name))
    except NotFoundError:
        if before is None:  # else an earlier attempt has deleted it, and its answer was lost
            raise
