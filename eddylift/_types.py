"""The types that the clients take and return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from eddylift._metrics import METRICS, Metric
from eddylift._record import Record, html_table, spell

if TYPE_CHECKING:
    from eddylift._progress import ProgressCallback

Boundary = str | Mapping[str, str] | Sequence[str]
"""What lies beyond a volume's ends: ``"periodic"``, ``"periodic,wall,periodic"`` or a list of three (z, y, x), or
``{"y": "wall"}``. Planes have two axes, (y, x)."""

Names = Mapping[str, str] | Sequence[str]
"""New names by old ones: ``{"Ux": "u", "lev": "z"}`` or ``"Ux:u,lev:z"``."""

Metrics = dict[str, float | list[float | None] | None]
"""Errors and statistics by name, which `METRICS` explains. None, or an entry of a list, if one does not apply, such as
errors near walls where there are none, or is not defined, such as the skewness of a fluid at rest."""


class Changes(TypedDict, total=False):
    """Options that change volumes before they are sent."""

    names: Names | None
    drop: Sequence[str] | None
    resample: Sequence[str] | None


class VolumeOptions(Changes, total=False):
    """Options of `Client.check`."""

    model: str | None
    boundary: Boundary | None
    progress: ProgressCallback | bool | None


class ValidateOptions(VolumeOptions, total=False):
    """Options of `Client.validate`."""

    length: Sequence[float] | str | None


class UpscaleOptions(VolumeOptions, total=False):
    """Options of `Client.upscale`."""

    error: bool


class ForecastOptions(TypedDict, total=False):
    """Options of `Client.forecast`."""

    steps: int
    model: str | None
    boundary: Boundary | None
    dx: float | None
    dt: float | None
    nu: float
    names: Names | None
    drop: Sequence[str] | None
    progress: ProgressCallback | bool | None


class Card(Record):
    """A model's card: what it is, what it was trained on, and its errors on data that it has not seen.

    Attributes:
        name: ``<family>-<flow>-x<factor>``, without the flow for trilinear.
        family: trilinear, conv, equivariant or relaxed.
        flow: what it was trained on; None if it was not trained.
        factor: fine cells per coarse cell along an axis.
        frames: number of times in its input.
        group: its symmetry group; None for trilinear.
        parameters: number of weights.
        boundary: of the fields that it was trained on, in z, y, x order; None if they had different ones.
        architecture: of its network; None for trilinear.
        sampling: how the coarse fields of its training were made; yours should be made alike.
        halo: coarse cells to read around a block.
        receptive_field: coarse cells along an axis that one cell of the answer depends on.
        trained: data, steps and time of its training.
        learned: ranges of traits of the coarse fields that it learned from; outside of them, the service warns.
        measured: errors on held-out simulations, one entry for each.
        sample: errors on the sample that comes with the weights.
        symmetry: equivariance error of each group element on that sample, and irreps of the relaxation weights.
        uncertainty: how its prediction of errors was trained; empty if it predicts none.
        sha256: hash of the weights; None if there are none.
    """

    name: str
    family: str
    flow: str | None
    factor: int
    frames: int
    group: str | None
    architecture: dict[str, Any] | None
    parameters: int
    boundary: list[str] | None
    sampling: str
    halo: int
    receptive_field: int
    trained: dict[str, Any]
    learned: dict[str, list[float]]
    measured: list[dict[str, Any]]
    sample: dict[str, Any]
    symmetry: dict[str, Any]
    uncertainty: dict[str, Any]
    sha256: str | None

    @classmethod
    def required(cls) -> frozenset[str]:
        """Return the members by which a card is recognised."""
        return frozenset({"name"})


class ForecastCard(Record):
    """A forecasting model's card: what it is, what it was trained on, and its errors on runs that it has not seen.

    Attributes:
        name: ``<family>-<flow>``.
        family: of its network, such as relaxed.
        flow: what it was trained on, such as ``smoke``.
        frames: number of frames in its input.
        boundary: of the flow that it was trained on, in y, x order.
        architecture: of its network.
        parameters: number of weights.
        trained: on which set of runs, and how.
        measured: errors of the model and of persistence in forecasts of 20 frames, as rms error relative to the rms of
            the truth. ``future`` is at later times of the training runs, ``domain`` in runs with the inflow elsewhere.
        units: ``dx``, ``dt`` and ``nu`` of the run that its sample is from, which is stored in cells per frame; may be
            empty.
        sha256: hash of the weights.
    """

    name: str
    family: str
    flow: str
    frames: int
    boundary: list[str]
    architecture: dict[str, Any]
    parameters: int
    trained: dict[str, Any]
    measured: dict[str, dict[str, float]]
    units: dict[str, float]
    sha256: str

    @classmethod
    def required(cls) -> frozenset[str]:
        """See `Card`."""
        return frozenset({"name"})


class Health(Record):
    """Whether a service is ready.

    Attributes:
        status: ``ready``.
        models: models that it serves, if the token has the scope ``read``.
        failures: models that it cannot serve, and why.
        precisions: floating-point format in which each model is computed.
        warnings: doubts about models that are served.
        jobs: why the list of jobs cannot be used; None if it can.
        data: why the service cannot write to its data folder; None if it can.
    """

    _optional = frozenset({"warnings"})

    status: str
    models: list[str]
    failures: dict[str, str]
    precisions: dict[str, str]
    warnings: dict[str, str]
    jobs: str | None
    data: str | None


class Report(Record):
    """A model's answer and trilinear interpolation, compared with a reference.

    Attributes:
        model: its name.
        boundary: in z, y, x order.
        levels: number of times; a metric is the mean over those that have it.
        metrics: of the model's answer; `METRICS` says what each means, its unit and which values are better.
        trilinear: of trilinear interpolation.
        expected_mae: the mean absolute error that the model expects, to compare with ``metrics["mae"]``; None if it
            predicts none, or the job did not ask for it.
        warnings: what seems doubtful about the request.
    """

    _optional = frozenset({"warnings"})

    model: str
    boundary: list[str]
    levels: int
    metrics: Metrics
    trilinear: Metrics
    expected_mae: float | None
    warnings: list[str]

    def _repr_html_(self) -> str:
        """Show the metrics of both as a table in a notebook, with their meanings."""
        return html_table(type(self).__name__, self.rows(), self.titles())

    def titles(self) -> tuple[str, ...]:
        """Return the titles of the columns of `rows`."""
        return ("metric", self.model, "trilinear", "unit", "better", "meaning")

    def rows(self) -> list[tuple[str, ...]]:
        """Return for each metric what the titles name."""
        found: list[tuple[str, ...]] = []
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
        levels: number of times over which the numbers are means.
        expected_mae: mean absolute error that the model expects, in the units of the velocity.
        correction: mean of |answer - trilinear interpolation|, in the units of the velocity.
        expected_mae_over_correction: the ratio of the two; None if there is no correction.
        warnings: what seems doubtful about the request.
        fitting: models that have learned to predict their errors on fields like this one.
    """

    _optional = frozenset({"warnings"})

    model: str
    boundary: list[str]
    levels: int
    expected_mae: float
    correction: float
    expected_mae_over_correction: float | None
    warnings: list[str]
    fitting: list[str]


class Reproduction(Record):
    """A model's error on the held-out sample that comes with it, compared with its card.

    Attributes:
        model: its name.
        device: device that computed the answer.
        precision: floating-point format in which it was computed.
        mae_over_rms: mean absolute error relative to the rms of the sample, measured now.
        card_mae_over_rms: the same from the card; None if it has none.
        trilinear_mae_over_rms: the same for trilinear interpolation.
        reproduced: whether the first two agree.
        metrics: all metrics.
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
        equivariance_error: ||f(g u) - g f(u)|| / ||f(u) - its mean|| for each element g, named by the image of x,y,z.
        relaxation: share of each irrep in the relaxation weights of each layer; empty if the model is not relaxed.
    """

    model: str
    equivariance_error: dict[str, float]
    relaxation: dict[str, dict[str, float]]


class StoredVolume(Record):
    """A stored volume.

    Attributes:
        name: its name.
        tag: identifies the content; changes when the content does.
        keys: number of objects; read it as ``volume["keys"]``, since ``keys`` is a method.
        bytes: size of all objects together.
        variables: names of the variables that hold the velocity.
        cells: along z, y, x; None if it cannot be super-resolved.
        levels: number of times; None without a time dim.
        boundary: in z, y, x order, if the volume has this attribute.
        problem: why it cannot be super-resolved; None if it can.
    """

    name: str
    tag: str
    bytes: int
    variables: list[str]
    cells: list[int] | None
    levels: int | None
    boundary: list[str] | None
    problem: str | None
