"""The types of what is passed to the clients and of what they return."""

from __future__ import annotations

import html
import reprlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from eddylift._metrics import METRICS, Metric

if TYPE_CHECKING:
    from eddylift._progress import ProgressCallback

Boundary = str | Mapping[str, str] | Sequence[str]
"""What lies beyond a volume's ends: ``"periodic"``, ``"periodic,wall,periodic"`` or a list of three (z, y, x), or
``{"y": "wall"}``. Planes have two axes, (y, x)."""

Metrics = dict[str, float | list[float] | None]
"""Errors and statistics by name, which `METRICS` explains; None where one does not apply, as profiles without walls."""


class UpscaleOptions(TypedDict, total=False):
    """Options of `Client.upscale`."""

    model: str | None
    boundary: Boundary | None
    names: Mapping[str, str] | None
    drop: Sequence[str] | None
    resample: str | None
    error: bool
    progress: ProgressCallback | bool | None


class ForecastOptions(TypedDict, total=False):
    """Options of `Client.forecast`."""

    steps: int
    model: str | None
    boundary: Boundary | None
    dx: float | None
    dt: float | None
    nu: float
    names: Mapping[str, str] | None
    drop: Sequence[str] | None
    progress: ProgressCallback | bool | None


# Cards are 7 kB long.
_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring = 2, 60


def spell(value: Any) -> str:  # noqa: ANN401 whatever JSON holds
    """Spell a value for people."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(spell, value))
    return str(value)


class Record(dict[str, Any]):
    """A JSON object of the service. Its members are attributes too: ``card.flow`` is ``card["flow"]``."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 whatever JSON holds
        """Return a member."""
        try:
            return self[name]
        except KeyError:
            message = f"{type(self).__name__} has no {name}; it has {', '.join(self)}"
            raise AttributeError(message) from None

    def __dir__(self) -> list[str]:
        """Name the members, for completion."""
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        """Spell the members, in short."""
        members = ", ".join(f"{name}={_brief.repr(value)}" for name, value in self.items())
        return f"{type(self).__name__}({members})"

    def _repr_html_(self) -> str:
        """Show the members as a table in a notebook."""
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(_brief.repr(value))}</td></tr>"
            for name, value in self.items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"

    @classmethod
    def required(cls) -> frozenset[str]:
        """Return the members that an answer of the service must have."""
        return frozenset(cls.__annotations__) - {"warnings"}


class Card(Record):
    """What a model is, what it was trained on, and how far off it was on data it had not seen.

    Attributes:
        name: ``<family>-<flow>-x<factor>``, without the flow for trilinear.
        family: trilinear, conv, equivariant or relaxed.
        flow: what it was trained on; None if it was not trained.
        factor: fine cells per coarse cell along an axis.
        frames: time levels that it takes.
        group: its symmetry group; None for trilinear.
        parameters: how many weights.
        boundary: of the fields it was trained on, in z, y, x order.
        sampling: how fine fields were made coarse: what the input should be.
        halo: coarse cells that are read around a block.
        receptive_field: coarse cells along an axis that one cell of the answer depends on.
        measured: errors on held-out simulations, one entry a simulation.
        sample: errors on the sample that is shipped with the weights.
        sha256: of the weights; None if there are none.
    """

    name: str
    family: str
    flow: str | None
    factor: int
    frames: int
    group: str | None
    parameters: int
    boundary: list[str]
    sampling: str
    halo: int
    receptive_field: int
    measured: list[dict[str, Any]]
    sample: dict[str, Any]
    sha256: str | None

    @classmethod
    def required(cls) -> frozenset[str]:
        """Return what tells a card from something else."""
        return frozenset({"name"})


class ForecastCard(Record):
    """What a forecasting model is, what it was trained on, and how far off it was on runs that it had not seen.

    Attributes:
        name: ``<family>-<flow>``.
        family: conv, equivariant, relaxed or relaxed-translation.
        flow: what it was trained on, as ``smoke``.
        frames: that it takes.
        boundary: of what it was trained on, in y, x order.
        parameters: how many weights.
        trained: on which set of runs, and how.
        measured: of roll-outs over 20 frames, the root mean square error over that of what was to be forecast, beside
            persistence: on the ``future`` of known runs, and on the ``domain`` of runs whose smoke comes in elsewhere.
        sha256: of the weights.
    """

    name: str
    family: str
    flow: str
    frames: int
    boundary: list[str]
    parameters: int
    trained: dict[str, Any]
    measured: dict[str, dict[str, float]]
    sha256: str

    @classmethod
    def required(cls) -> frozenset[str]:
        """See `Card`."""
        return frozenset({"name"})


class Health(Record):
    """Whether a service is ready.

    Attributes:
        status: ``ready``.
        models: that it serves, told to those whose token may read.
        failures: models that it cannot serve, and why.
        precisions: arithmetic of each model.
        warnings: what is wrong with models that are served all the same.
        jobs: why the list of jobs cannot be used, if so.
        data: why the service cannot write its data folder, if so.
    """

    status: str
    models: list[str]
    failures: dict[str, str]
    precisions: dict[str, str]
    warnings: dict[str, str]
    jobs: str | None
    data: str | None


class Report(Record):
    """A model's answer held against a reference, and trilinear's beside it.

    Attributes:
        model: its name.
        boundary: in z, y, x order.
        levels: how many time levels the metrics are means over.
        metrics: of the model's answer; `METRICS` says what each means, its unit and which values are better.
        trilinear: of trilinear interpolation.
        expected_mae: the mean absolute error that the model expects, to be held against ``metrics["mae"]``; None if it
            predicts none, or a job was not asked for it.
        warnings: what the service found doubtful, where it did.
    """

    model: str
    boundary: list[str]
    levels: int
    metrics: Metrics
    trilinear: Metrics
    expected_mae: float | None
    warnings: list[str]

    def _repr_html_(self) -> str:
        """Show the metrics beside trilinear's in a notebook, and what they mean."""
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
            for name, *cells in self.rows()
        )
        titles = ("metric", self.model, "trilinear", "unit", "better", "meaning")
        head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
        return f"<table><tr>{head}</tr>{rows}</table>"

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """Return of each metric: name, the model's value, trilinear's, unit, which values are better, and meaning."""
        found = []
        if self.expected_mae is not None:
            found.append(("expected_mae", spell(self.expected_mae), "", "velocity", "", "mae that the model expects"))
        for name, value in self.metrics.items():
            known = METRICS.get(name, Metric("", "", ""))
            values = (spell(value), spell(self.trilinear.get(name)))
            found.append((name, *values, known.unit, known.better, known.meaning))
        return found


class Check(Record):
    """How good the answer of a model is expected to be.

    Attributes:
        model: its name.
        boundary: in z, y, x order.
        levels: how many time levels the numbers are means over.
        expected_mae: mean absolute error that the model expects, in the units of the velocity.
        correction: mean of |answer - trilinear interpolation|, in the units of the velocity.
        expected_mae_over_correction: the first over the second; None where there is no correction.
        warnings: what the service found doubtful, where it did.
        fitting: models that have learned from fields like this one.
    """

    model: str
    boundary: list[str]
    levels: int
    expected_mae: float
    correction: float
    expected_mae_over_correction: float | None
    warnings: list[str]
    fitting: list[str]


class Reproduction(Record):
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


class Symmetry(Record):
    """Which symmetries of the octahedral group a model keeps.

    Attributes:
        model: its name.
        equivariance_error: ||f(g u) - g f(u)|| / ||f(u) - its mean|| for each element g, named by where it takes x,y,z.
        relaxation: share of each irrep in the relaxation weights of each layer; empty for a model that is not relaxed.
    """

    model: str
    equivariance_error: dict[str, float]
    relaxation: dict[str, dict[str, float]]


class StoredVolume(Record):
    """A volume that stays at the service.

    Attributes:
        name: what it is called there.
        tag: changes with the content.
        keys: objects that it is made of; as ``volume["keys"]`` alone.
        bytes: all of them together.
        variables: that hold the velocity.
        cells: along z, y, x; None if it cannot be super-resolved.
        levels: times; None without a time dim.
        boundary: in z, y, x order, where the volume says.
        problem: why it cannot be super-resolved, if it cannot.
    """

    name: str
    tag: str
    bytes: int
    variables: list[str]
    cells: list[int] | None
    levels: int | None
    boundary: list[str] | None
    problem: str | None


class JobStatus(Record):
    """A job at the service, and how far it is.

    Attributes:
        id: what it is called.
        source: volume that it reads.
        target: volume that it writes; None keeps nothing but the report.
        model: name of the model.
        boundary: in z, y, x order; None leaves it to the source.
        names: what variables and dims of the source are to be called, by what they are called.
        reference: volume that the answer is compared with.
        error: whether it writes the expected error beside the velocity.
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
    error: bool
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    detail: str | None
    created: float
    report: Report | None
    stage: Literal["computing", "comparing"]
    blocks: int | None
    blocks_done: int
    voxels_per_second: float | None
    seconds_left: float | None

    def __init__(self, members: Mapping[str, Any]) -> None:
        super().__init__(members)
        if self.get("report") is not None:
            self["report"] = Report(self["report"])
