"""The calls of the HTTP interface, as values: what to send, and how the answer is read. No network here.

`Client` and `AsyncClient` send the same calls; only the sending differs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

from eddylift._errors import InvalidInputError, UnexpectedAnswerError
from eddylift._payload import Body, decoder, encode, multipart

if TYPE_CHECKING:
    from collections.abc import Callable

    from eddylift._payload import Answer, AnyVolume, Volume

T = TypeVar("T")

Card = dict[str, Any]
"""A model's card: name, family, flow, factor, frames, group, parameters, measured errors, sha256 and more."""

AxisBoundary = Literal["periodic", "wall", "open"]
Boundary = str | Mapping[str, AxisBoundary]
"""What lies beyond a volume's ends: ``"periodic"``, ``"periodic,wall,periodic"`` (z, y, x), or ``{"y": "wall"}``."""

Metrics = dict[str, float | list[float] | None]
"""Errors and statistics by name; None where one does not apply, as spectra on an axis with walls."""


class Report(TypedDict):
    """A model's answer held against a reference, and trilinear's beside it.

    Attributes:
        model: its name.
        boundary: in z, y, x order.
        levels: how many time levels the metrics are means over.
        metrics: of the model's answer.
        trilinear: of trilinear interpolation.
    """

    model: str
    boundary: list[str]
    levels: int
    metrics: Metrics
    trilinear: Metrics


class Reproduction(TypedDict):
    """A model's answer to the held-out sample that is shipped with it, held against its card.

    Attributes:
        model: its name.
        device: what computed.
        precision: arithmetic it was computed in.
        mae_over_rms: mean absolute error over the rms of the sample, found now.
        card_mae_over_rms: the same, as the card has it; None where it has none.
        trilinear_mae_over_rms: the same of trilinear interpolation.
        reproduced: whether the first two agree.
        metrics: all of them.
    """

    model: str
    device: str
    precision: str
    mae_over_rms: float | None
    card_mae_over_rms: float | None
    trilinear_mae_over_rms: float | None
    reproduced: bool
    metrics: Metrics


class Symmetry(TypedDict):
    """Which symmetries of the octahedral group a model keeps.

    Attributes:
        model: its name.
        equivariance_error: ||f(g u) - g f(u)|| / ||f(u) - its mean|| for each element g, named by where it takes x,y,z.
        relaxation: share of each irrep in the relaxation weights of each layer; empty for a model that is not relaxed.
    """

    model: str
    equivariance_error: dict[str, float]
    relaxation: dict[str, dict[str, float]]


class StoredVolume(TypedDict):
    """A volume that stays at the service.

    Attributes:
        name: what it is called there.
        tag: changes with the content.
        keys: objects that it is made of.
        bytes: all of them together.
        variables: that hold the velocity.
        cells: along z, y, x; None if it cannot be super-resolved.
        levels: times; None without a time dim.
        boundary: in z, y, x order, where the volume says.
        problem: why it cannot be super-resolved, if it cannot.
    """

    name: str
    tag: str
    keys: int
    bytes: int
    variables: list[str]
    cells: list[int] | None
    levels: int | None
    boundary: list[str] | None
    problem: str | None


class JobStatus(TypedDict):
    """A job at the service, and how far it is.

    Attributes:
        id: what it is called.
        source: volume that it reads.
        target: volume that it writes; None keeps nothing but the report.
        model: name of the model.
        boundary: in z, y, x order; None leaves it to the source.
        names: what variables and dims of the source are to be called, by what they are called.
        reference: volume that the answer is compared with.
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        detail: why it failed.
        created: seconds since 1970.
        report: what the comparison gave, when it is done.
        stage: ``computing`` blocks, or ``comparing`` slabs.
        blocks: of this stage in all; None until they were counted.
        blocks_done: of them.
        voxels_per_second: fine cells, while it runs.
        seconds_left: while it runs.
    """

    id: str
    source: str
    target: str | None
    model: str
    boundary: str | None
    names: dict[str, str]
    reference: str | None
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    detail: str | None
    created: float
    report: Report | None
    stage: Literal["computing", "comparing"]
    blocks: int | None
    blocks_done: int
    voxels_per_second: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call.

    Attributes:
        method: HTTP method.
        path: below the service's address.
        read: makes the result of a successful answer.
        params: query parameters.
        body: what is sent, if anything.
        headers: sent besides those of the body.
    """

    method: str
    path: str
    read: Callable[[Answer], T]
    params: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def models() -> Call[list[Card]]:
    """Ask for all cards."""

    def read(answer: Answer) -> list[Card]:
        cards: list[Card] = _read_object(answer, "models")["models"]
        return cards

    return Call("GET", "/v1/models", read)


def model(name: str) -> Call[Card]:
    """Ask for one card."""
    return Call("GET", _model_path(name), lambda answer: _read_object(answer, "name"))


def symmetry(model: str) -> Call[Symmetry]:
    """Ask which symmetries a model keeps."""
    return Call("GET", f"{_model_path(model)}/symmetry", _read_symmetry)


def upscale(coarse: Volume, *, model: str, boundary: Boundary | None) -> Call[Volume]:
    """Ask for the fine volume."""
    return Call("POST", "/v1/upscale", decoder(coarse), _options(model, boundary), encode(coarse))


def validate(
    coarse: AnyVolume | None,
    reference: AnyVolume,
    *,
    model: str,
    boundary: Boundary | None,
) -> Call[Report]:
    """Ask for the errors of a model's answer to `coarse`, held against `reference`."""
    parts = {} if coarse is None else {"coarse": encode(coarse)}
    body = multipart({**parts, "reference": encode(reference)})
    return Call("POST", "/v1/validate", _read_report, _options(model, boundary), body)


def self_validate(model: str) -> Call[Reproduction]:
    """Ask whether the service's device reproduces the card."""
    return Call("POST", f"{_model_path(model)}/validate", _read_reproduction)


def volumes() -> Call[list[StoredVolume]]:
    """Ask for all stored volumes."""

    def read(answer: Answer) -> list[StoredVolume]:
        found: list[StoredVolume] = _read_object(answer, "volumes")["volumes"]
        return found

    return Call("GET", "/v1/volumes", read)


def volume(name: str) -> Call[StoredVolume]:
    """Ask for one stored volume."""

    def read(answer: Answer) -> StoredVolume:
        found: StoredVolume = _read_object(answer, *StoredVolume.__required_keys__)  # type: ignore[assignment]
        return found

    return Call("GET", _volume_path(name), read)


def view(name: str, model: str, boundary: str | None) -> Call[None]:
    """Ask whether a view is there."""
    return Call("GET", f"{view_path(name, model, boundary)}/zarr.json", lambda _: None)


def put_object(name: str, key: str, content: bytes) -> Call[None]:
    """Send one object of a stored volume."""
    return Call("PUT", _object_path(name, key), lambda _: None, body=Body("application/octet-stream", (content,)))


def delete_volume(name: str) -> Call[None]:
    """Drop a stored volume."""
    return Call("DELETE", _volume_path(name), lambda _: None)


def objects(name: str, after: str) -> Call[tuple[dict[str, int], bool]]:
    """Ask for the objects of a stored volume after a key, with their sizes, and whether there are more."""

    def read(answer: Answer) -> tuple[dict[str, int], bool]:
        found = _read_object(answer, "keys", "more")
        return {each["key"]: each["bytes"] for each in found["keys"]}, found["more"]

    return Call("GET", f"{_volume_path(name)}/", read, params={"after": after})


def get_object(name: str, key: str, span: str | None = None) -> Call[bytes]:
    """Fetch one object of a stored volume, or a range of it, such as ``bytes=0-99``."""
    headers = {} if span is None else {"Range": span}
    return Call("GET", _object_path(name, key), lambda answer: answer.content.getvalue(), headers=headers)


def has_object(name: str, key: str) -> Call[None]:
    """Ask whether there is an object in a stored volume."""
    return Call("HEAD", _object_path(name, key), lambda _: None)


def delete_object(name: str, key: str) -> Call[None]:
    """Drop one object of a stored volume."""
    return Call("DELETE", _object_path(name, key), lambda _: None)


def submit(
    source: str,
    target: str | None,
    *,
    model: str,
    boundary: Boundary | None,
    reference: str | None,
    names: Mapping[str, str] | None,
) -> Call[JobStatus]:
    """Order a job."""
    order = {"source": source, "target": target, "reference": reference, "names": dict(names or {})}
    order |= _options(model, boundary)
    return Call("POST", "/v1/jobs", _read_job, body=Body("application/json", (json.dumps(order).encode(),)))


def jobs() -> Call[list[JobStatus]]:
    """Ask for all jobs."""

    def read(answer: Answer) -> list[JobStatus]:
        found: list[JobStatus] = _read_object(answer, "jobs")["jobs"]
        return found

    return Call("GET", "/v1/jobs", read)


def job(name: str) -> Call[JobStatus]:
    """Ask how far a job is."""
    return Call("GET", _job_path(name), _read_job)


def cancel(name: str) -> Call[JobStatus]:
    """Stop a job."""
    return Call("POST", f"{_job_path(name)}/cancel", _read_job)


def resume(name: str) -> Call[JobStatus]:
    """Go on with a job."""
    return Call("POST", f"{_job_path(name)}/resume", _read_job)


def spell_boundary(boundary: Boundary) -> str:
    """Spell a boundary as the service reads it; axes that a mapping leaves out are periodic.

    Raises:
        InvalidInputError: for an axis other than z, y, x.
    """
    if isinstance(boundary, str):
        return boundary
    strangers = sorted(set(map(str, boundary)) - set("zyx"))
    if strangers:
        message = f"boundary names the axes {', '.join(strangers)}, expected some of z, y, x"
        raise InvalidInputError(message)
    return ",".join(boundary.get(axis, "periodic") for axis in "zyx")


def view_path(volume: str, model: str, boundary: str | None) -> str:
    """Spell where a view is; an address in a bucket is one segment, ``s3:bucket:path``."""
    segment = volume.replace("://", ":", 1).replace("/", ":") if volume.startswith("s3://") else volume
    option = f";boundary={boundary}" if boundary else ""
    return f"/v1/views/{quote(segment, safe=':')}/{quote(model, safe='')}{option}"


def _options(model: str, boundary: Boundary | None) -> dict[str, str]:
    options = {"model": model}
    if boundary is not None:
        options["boundary"] = spell_boundary(boundary)
    return options


def _model_path(name: str) -> str:
    return f"/v1/models/{quote(name, safe='')}"


def _volume_path(name: str) -> str:
    return f"/v1/volumes/{_undotted('name', quote(name, safe=''))}"


def _object_path(name: str, key: str) -> str:
    return f"{_volume_path(name)}/{_undotted('key', quote(key))}"


def _undotted(field: str, path: str) -> str:
    # Dots are resolved before the service sees the address, which would then be that of another volume.
    if {".", ".."} & set(path.split("/")):
        message = f"{field} is {path}; expected one without . or .. between its slashes"
        raise InvalidInputError(message)
    return path


def _job_path(name: str) -> str:
    return f"/v1/jobs/{quote(name, safe='')}"


def _read_job(answer: Answer) -> JobStatus:
    found: JobStatus = _read_object(answer, *JobStatus.__required_keys__)  # type: ignore[assignment]
    return found


def _read_report(answer: Answer) -> Report:
    report: Report = _read_object(answer, *Report.__required_keys__)  # type: ignore[assignment]
    return report


def _read_reproduction(answer: Answer) -> Reproduction:
    reproduction: Reproduction = _read_object(answer, *Reproduction.__required_keys__)  # type: ignore[assignment]
    return reproduction


def _read_symmetry(answer: Answer) -> Symmetry:
    symmetry: Symmetry = _read_object(answer, *Symmetry.__required_keys__)  # type: ignore[assignment]
    return symmetry


def _read_object(answer: Answer, *keys: str) -> dict[str, Any]:
    try:
        found = json.loads(answer.content.getvalue())
    except ValueError:
        found = None
    if not isinstance(found, dict) or not set(keys) <= set(found):
        message = f"the answer is not a JSON object with {', '.join(sorted(keys))}: is this an eddylift service?"
        raise UnexpectedAnswerError(message)
    return found
