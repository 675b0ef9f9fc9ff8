"""The status of a job, as the service sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from eddylift._discovery import Discovery
from eddylift._record import Record
from eddylift._types import Report

if TYPE_CHECKING:
    from collections.abc import Mapping


class JobStatus(Record):
    """The status of a job.

    Attributes:
        id: identifies the job.
        task: ``upscale`` or ``discover``.
        source: volume that it reads.
        target: volume that it writes; None if it keeps the report alone.
        model: name of the model; None of a discovery.
        boundary: in z, y, x order; None takes that of the source.
        names: new names of variables and dims of the source, by old ones.
        drop: variables of the source or the reference that it leaves out.
        reference: volume that the answer is compared with; of a discovery, the fields Y.
        x_kind: what the source of a discovery has, ``vector`` or ``scalar``; None takes ``vector``.
        y_kind: what its reference has.
        group: whose elements a discovery asks about; None takes the largest group.
        error: whether it also writes the expected error.
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        detail: why it failed.
        created: seconds since 1970.
        report: the result of the comparison or the discovery, when it is done.
        stage: ``computing`` blocks, ``comparing`` slabs, or ``discovering``, in steps.
        blocks: number of blocks (or slabs, or steps) in this stage; None until they are counted.
        blocks_done: how many of them are done.
        warnings: what seems doubtful about the request.
        voxels_per_second: fine cells (of a discovery, cells of X) per second, while it runs.
        seconds_left: estimate, while it runs.
    """

    _optional = frozenset({"warnings"})

    id: str
    task: Literal["upscale", "discover"]
    source: str
    target: str | None
    model: str | None
    boundary: str | None
    names: dict[str, str]
    drop: list[str]
    reference: str | None
    x_kind: Literal["scalar", "vector"] | None
    y_kind: Literal["scalar", "vector"] | None
    group: str | None
    error: bool
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    detail: str | None
    created: float
    report: Report | Discovery | None
    stage: Literal["computing", "comparing", "discovering"]
    blocks: int | None
    blocks_done: int
    warnings: list[str]
    voxels_per_second: float | None
    seconds_left: float | None

    def __init__(self, members: Mapping[str, Any]) -> None:
        super().__init__(members)
        if self.get("report") is not None:
            self["report"] = (Discovery if self.get("task") == "discover" else Report)(self["report"])
