"""Formats names, boundaries and addresses as the service expects them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from eddylift._errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eddylift._types import Boundary, Names

# The service has the same rule in ``service/volumes/uploads.py``.
VOLUME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def spell_boundary(boundary: object, axes: Sequence[str] = ("z", "y", "x")) -> str:
    """Spell a boundary of some axes as the service reads it; axes that a mapping leaves out are periodic.

    Raises:
        InvalidInputError: for another axis, or what is neither text, a list nor a mapping.
    """
    if isinstance(boundary, str):
        return boundary
    if not isinstance(boundary, Iterable):
        message = f"boundary: {boundary}; expected periodic, wall or open, or one of them for each of {', '.join(axes)}"
        raise InvalidInputError(message)
    if not isinstance(boundary, Mapping):
        return ",".join(map(str, boundary))
    strangers = sorted(set(map(str, boundary)) - set(axes))
    if strangers:
        message = f"boundary names the axes {', '.join(strangers)}, expected some of {', '.join(axes)}"
        raise InvalidInputError(message)
    return ",".join(str(boundary.get(axis, "periodic")) for axis in axes)


def spell_attribute(boundary: object) -> str:
    """Spell the attribute ``boundary`` of a volume: text, a list or a mapping, also as JSON.

    Anything else is written as it is: it is refused where it is needed.
    """
    said: Any = getattr(boundary, "tolist", lambda: boundary)()
    with suppress(ValueError):
        said = json.loads(said) if isinstance(said, str) else said
    with suppress(InvalidInputError):
        return spell_boundary(said)
    return str(boundary)


def read_list(option: str, names: object) -> list[str]:
    """Read a list of names; text has commas between them.

    Raises:
        InvalidInputError: for anything else, which names the option.
    """
    if not isinstance(names, Iterable | None):
        message = f"{option}: {names!r}; expected text or a list"
        raise InvalidInputError(message)
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names or ())


def read_names(names: Names | None) -> dict[str, str]:
    """Read new names by old ones.

    Raises:
        InvalidInputError: for text with anything but pairs between commas.
    """
    if isinstance(names, Mapping):
        return dict(names)
    pairs = [[name.strip() for name in str(pair).split(":")] for pair in read_list("names", names)]
    if bad := [pair for pair in pairs if len(pair) != 2 or not all(pair)]:  # noqa: PLR2004 a pair
        message = f"names: {':'.join(bad[0])}; expected pairs such as ux:u,uy:v,uz:w"
        raise InvalidInputError(message)
    return dict(pairs)


def spell_names(names: Mapping[str, str]) -> str:
    """Spell names as the service and the command line read them: ``Ux:u,Uy:v,Uz:w``.

    Raises:
        InvalidInputError: for a name with a character that separates.
    """
    for name in (*names, *names.values()):
        if not name or set(name) & set(",:;/"):
            message = f"names has {name!r}, expected names without , : ; /"
            raise InvalidInputError(message)
    return ",".join(f"{old}:{new}" for old, new in names.items())


def view_path(
    volume: str,
    model: str | None,
    boundary: Boundary | None,
    names: Names | None,
    drop: Sequence[str] | None,
    *,
    error: bool,
) -> str:
    """Spell where a view is; an address in a bucket is one segment, ``s3:bucket:path``."""
    in_bucket = volume.startswith("s3:")
    segment = volume.replace("://", ":", 1).replace("/", ":") if in_bucket else checked_volume(volume)
    options = "" if boundary is None else f";boundary={spell_boundary(boundary)}"
    options += f";names={quote(spell_names(read_names(names)), safe=',:')}" if names else ""
    options += f";drop={quote(','.join(read_list('drop', drop)), safe=',')}" if drop else ""
    options += ";error=true" if error else ""
    return f"/v1/views/{quote(segment, safe=':')}/{quote(model or 'default', safe='')}{options}"


def model_path(name: str) -> str:
    """Spell where a model is."""
    return f"/v1/models/{quote(name, safe='')}"


def volume_path(name: str) -> str:
    """Spell where a stored volume is.

    Raises:
        InvalidInputError: if no volume may have this name.
    """
    return f"/v1/volumes/{checked_volume(name)}"


def checked_volume(name: str) -> str:
    """Return the name, if a stored volume may have it: with a slash, it would be that of an object of another one.

    Raises:
        InvalidInputError: if not.
    """
    if not VOLUME.fullmatch(name):
        expected = "up to 100 letters, digits, dots, hyphens and underscores, the first a letter or a digit"
        message = f"name: {name}; expected {expected}"
        raise InvalidInputError(message)
    return name


def object_path(path: str, key: str) -> str:
    """Spell where an object of the stored volume or the view at a path is.

    Raises:
        InvalidInputError: if the key would lead elsewhere.
    """
    segments = quote(key)
    # Dots are resolved before the service sees the address, which would then be that of another volume.
    if {".", ".."} & set(segments.split("/")):
        message = f"key: {segments}; expected one without . or .. between its slashes"
        raise InvalidInputError(message)
    return f"{path}/{segments}"


def job_path(name: str) -> str:
    """Spell where a job is."""
    return f"/v1/jobs/{quote(name, safe='')}"
