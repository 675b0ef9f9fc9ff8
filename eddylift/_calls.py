"""The calls of the HTTP interface as values: what to send, and how to read the answer. Nothing is sent here.

`Client` and `AsyncClient` share them; they differ in how they send.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from eddylift import _paths, _planes
from eddylift._codecs import Body, encode, multipart
from eddylift._discovery import Discovery
from eddylift._errors import UnexpectedAnswerError
from eddylift._job_status import JobStatus
from eddylift._pairs import encode as encode_pairs
from eddylift._preparation import Preparation
from eddylift._types import (
    Card,
    Check,
    ForecastCard,
    Health,
    Report,
    Reproduction,
    StoredVolume,
    Symmetry,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Unpack

    from eddylift._codecs import Answer, AnyVolume
    from eddylift._pairs import Fields, Kind
    from eddylift._record import Record
    from eddylift._types import Boundary, Changes, Names

T = TypeVar("T")
R = TypeVar("R", bound="Record")


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call.

    Attributes:
        method: HTTP method.
        path: relative to the service's address.
        read: converts a successful answer to the result.
        params: query parameters.
        body: what is sent, if anything.
        headers: sent besides those of the body.
        computes: whether a repetition is computed anew.
    """

    method: str
    path: str
    read: Callable[[Answer], T]
    params: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    computes: bool = False


def health() -> Call[Health]:
    """Ask whether the service is ready."""
    return Call("GET", "/health/ready", _one(Health))


def models() -> Call[list[Card]]:
    """Ask for all cards."""
    return Call("GET", "/v1/models", _all("models", Card))


def model(name: str) -> Call[Card]:
    """Ask for one card."""
    return Call("GET", _paths.model_path(name), _one(Card))


def symmetry(model: str) -> Call[Symmetry]:
    """Ask which symmetries a model keeps."""
    return Call("GET", f"{_paths.model_path(model)}/symmetry", _one(Symmetry))


def upscale(
    coarse: AnyVolume | str | Path,
    *,
    model: str | None = None,
    boundary: Boundary | None = None,
    error: bool = False,
    **changes: Unpack[Changes],
) -> Call[AnyVolume]:
    """Ask for the fine volume, as the same kind of object."""
    (prepared,) = Preparation(**changes, boundary=boundary).apply(coarse)
    body, read = encode(prepared, error=error)
    options = _options(model, boundary) | ({"error": "true"} if error else {})
    return Call("POST", "/v1/upscale", read, options, body, computes=True)


def check(
    coarse: AnyVolume | str | Path,
    *,
    model: str | None = None,
    boundary: Boundary | None = None,
    **changes: Unpack[Changes],
) -> Call[Check]:
    """Ask how good the fine volume is expected to be."""
    (prepared,) = Preparation(**changes, boundary=boundary).apply(coarse)
    body, _ = encode(prepared)
    return Call("POST", "/v1/check", _one(Check), _options(model, boundary), body, computes=True)


def validate(
    coarse: AnyVolume | str | Path | None,
    reference: AnyVolume | str | Path,
    *,
    model: str | None = None,
    boundary: Boundary | None = None,
    length: Sequence[float] | str | None = None,
    **changes: Unpack[Changes],
) -> Call[Report]:
    """Ask for the errors of a model's answer to `coarse`, compared with `reference`."""
    given = {"reference": reference} if coarse is None else {"coarse": coarse, "reference": reference}
    prepared = Preparation(**changes, boundary=boundary).apply(*given.values())
    body = multipart({name: encode(volume)[0] for name, volume in zip(given, prepared, strict=True)})
    options = _options(model, boundary)
    if length is not None:
        options["length"] = length if isinstance(length, str) else ",".join(map(str, length))
    return Call("POST", "/v1/validate", _one(Report), options, body, computes=True)


def self_validate(model: str) -> Call[Reproduction]:
    """Ask whether the service's device reproduces the card."""
    return Call("POST", f"{_paths.model_path(model)}/validate", _one(Reproduction), computes=True)


def discover(x: Fields, y: Fields, *, x_kind: Kind | None, y_kind: Kind | None, group: str | None) -> Call[Discovery]:
    """Ask which symmetries pairs of fields keep."""
    given = {"x_kind": x_kind, "y_kind": y_kind, "group": group}
    options = {name: value for name, value in given.items() if value is not None}
    body = encode_pairs(x, y, x_kind=x_kind, y_kind=y_kind, group=group)
    return Call("POST", "/v1/discover", _one(Discovery), options, body, computes=True)


def forecast_models() -> Call[list[ForecastCard]]:
    """Ask for the cards of all models that forecast."""
    return Call("GET", "/v1/forecast/models", _all("models", ForecastCard))


def forecast(
    frames: AnyVolume | str | Path,
    *,
    steps: int = 10,
    model: str | None = None,
    boundary: Boundary | None = None,
    dx: float | None = None,
    dt: float | None = None,
    nu: float = 0.0,
    **changes: Unpack[Changes],
) -> Call[AnyVolume]:
    """Ask for the next frames of a velocity in a plane, as the same kind of object."""
    (prepared,) = Preparation(**changes).apply(frames)
    if boundary is not None and "boundary" in getattr(prepared, "attrs", {}):
        prepared = prepared.assign_attrs(boundary=_paths.spell_boundary(boundary, _planes.AXES))
    body, read, found = _planes.encode(prepared, dx, dt)
    options = found | {"steps": str(steps), "nu": str(nu)} | _options(model, boundary, _planes.AXES)
    return Call("POST", "/v1/forecast", read, options, body, computes=True)


def volumes() -> Call[list[StoredVolume]]:
    """Ask for all stored volumes."""
    return Call("GET", "/v1/volumes", _all("volumes", StoredVolume))


def volume(name: str) -> Call[StoredVolume]:
    """Ask for one stored volume."""
    return Call("GET", _paths.volume_path(name), _one(StoredVolume))


def view(path: str) -> Call[str]:
    """Ask for the path of a view that is refused once its content has changed."""

    def fixed(answer: Answer) -> str:
        attributes = _read_object(answer, "attributes")["attributes"]
        return f"{path};fingerprint={attributes['eddylift_fingerprint']}"

    return Call("GET", f"{path}/zarr.json", fixed)


def put_object(path: str, key: str, content: bytes) -> Call[None]:
    """Send one object of the stored volume at a path."""
    return Call("PUT", _paths.object_path(path, key), lambda _: None, body=Body("application/octet-stream", (content,)))


def delete(path: str) -> Call[None]:
    """Delete the stored volume, or the object of one, at a path."""
    return Call("DELETE", path, lambda _: None)


def rename_volume(name: str, to: str, *, replace: bool) -> Call[StoredVolume]:
    """Rename a stored volume; with `replace`, an existing volume of the new name is replaced."""
    order = {"to": to, "replace": replace}
    return Call("POST", f"{_paths.volume_path(name)}/rename", _one(StoredVolume), body=_json(order))


def objects(path: str, after: str) -> Call[tuple[dict[str, int], bool]]:
    """Ask for the objects of the stored volume at a path after a key, with their sizes, and whether there are more."""

    def read(answer: Answer) -> tuple[dict[str, int], bool]:
        found = _read_object(answer, "keys", "more")
        return {each["key"]: each["bytes"] for each in found["keys"]}, found["more"]

    return Call("GET", f"{path}/", read, params={"after": after})


def get_object(path: str, key: str, span: str | None = None) -> Call[bytes]:
    """Fetch one object of the stored volume or the view at a path, or a range of it, such as ``bytes=0-99``."""
    headers = {} if span is None else {"Range": span}
    return Call("GET", _paths.object_path(path, key), lambda answer: answer.content.getvalue(), headers=headers)


def has_object(path: str, key: str) -> Call[None]:
    """Ask whether an object of the stored volume or the view at a path exists."""
    return Call("HEAD", _paths.object_path(path, key), lambda _: None)


def submit(
    source: str,
    target: str | None,
    *,
    model: str | None,
    boundary: Boundary | None,
    error: bool,
    reference: str | None,
    names: Names | None,
    drop: Sequence[str] | None,
) -> Call[JobStatus]:
    """Submit a job."""
    order = {"source": source, "target": target, "reference": reference, "error": error, **_options(model, boundary)}
    return _job(order, names, drop)


def submit_discovery(
    x: str,
    y: str,
    *,
    x_kind: Kind | None,
    y_kind: Kind | None,
    group: str | None,
    names: Names | None,
    drop: Sequence[str] | None,
) -> Call[JobStatus]:
    """Submit a job that discovers."""
    order = {"task": "discover", "source": x, "reference": y, "x_kind": x_kind, "y_kind": y_kind, "group": group}
    return _job(order, names, drop)


def jobs() -> Call[list[JobStatus]]:
    """Ask for all jobs."""
    return Call("GET", "/v1/jobs", _all("jobs", JobStatus))


def job(name: str) -> Call[JobStatus]:
    """Ask for a job's status."""
    return Call("GET", _paths.job_path(name), _one(JobStatus))


def cancel(name: str) -> Call[JobStatus]:
    """Cancel a job."""
    return Call("POST", f"{_paths.job_path(name)}/cancel", _one(JobStatus))


def resume(name: str) -> Call[JobStatus]:
    """Resume a job."""
    return Call("POST", f"{_paths.job_path(name)}/resume", _one(JobStatus))


def _job(order: Mapping[str, object], names: Names | None, drop: Sequence[str] | None) -> Call[JobStatus]:
    changes = {"names": _paths.read_names(names), "drop": _paths.read_list("drop", drop)}
    return Call("POST", "/v1/jobs", _one(JobStatus), body=_json({**order, **changes}))


def _json(document: Mapping[str, object]) -> Body:
    return Body("application/json", (json.dumps(document).encode(),))


def _options(model: str | None, boundary: Boundary | None, axes: Sequence[str] = ("z", "y", "x")) -> dict[str, str]:
    options = {} if model is None else {"model": model}
    if boundary is not None:
        options["boundary"] = _paths.spell_boundary(boundary, axes)
    return options


def _one(kind: type[R]) -> Callable[[Answer], R]:
    return lambda answer: kind(_read_object(answer, *kind.required()))


def _all(key: str, kind: type[R]) -> Callable[[Answer], list[R]]:
    return lambda answer: [kind(each) for each in _read_object(answer, key)[key]]


def _read_object(answer: Answer, *keys: str) -> dict[str, Any]:
    try:
        found = json.loads(answer.content.getvalue())
    except ValueError:
        found = None
    if not isinstance(found, dict) or not set(keys) <= set(found):
        message = f"the answer is not a JSON object with {', '.join(sorted(keys))}: is this an eddylift service?"
        raise UnexpectedAnswerError(message)
    return found
