"""The types of what is passed to the clients and of what they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

Card = dict[str, Any]
"""A model's card: name, family, flow, factor, frames, group, parameters, measured errors, sha256 and more."""

Boundary = str | Mapping[str, str] | Sequence[str]
"""What lies beyond a volume's ends: ``"periodic"``, ``"periodic,wall,periodic"`` or a list of three (z, y, x), or
``{"y": "wall"}``."""

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
