"""Schemas of JSON answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from models.metrics.meanings import METRICS, Metric
from service.api.discovery_schemas import Discovery  # noqa: TC001 pydantic reads annotations
from service.jobs.spec import JobSpec

WARNINGS = "what seems doubtful about the request, such as a boundary that is not the model's"
EXAMPLE = {"mae": 0.104, "mae_over_rms": 0.124, "relative_l2": 0.161, "skill": 0.0, "skewness": [-0.31, -0.3, -0.33]}


def _explain(schema: dict[str, Any]) -> None:
    """Describe each metric."""
    value = schema["additionalProperties"]
    schema["properties"] = {name: {**value, "description": _sentence(metric)} for name, metric in METRICS.items()}


def _sentence(metric: Metric) -> str:
    better = f"; better: {metric.better}" if metric.better else ""
    return f"{metric.meaning}; unit: {metric.unit}{better}"


class Metrics(RootModel[dict[str, float | list[float | None] | None]]):
    """Errors and statistics by name, means over the answers that have them; null, also as an entry, if none has.

    The unit `velocity` is the volume's, and `1` is none.
    """

    model_config = ConfigDict(json_schema_extra=_explain)


class Card(BaseModel):
    """What a model is, what it was trained on, and its errors on data that it has not seen."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(examples=["relaxed-channel-x4"])
    family: str = Field(description="trilinear, conv, equivariant or relaxed", examples=["relaxed"])
    flow: str | None = Field(description="what it was trained on", examples=["channel"])
    factor: int = Field(description="fine cells per coarse cell along an axis", examples=[4])
    frames: int = Field(description="number of times in its input", examples=[1])
    group: str | None = Field(description="its symmetry group; null for trilinear", examples=["O"])
    architecture: dict[str, Any] | None = Field(description="of its network; null for trilinear")
    parameters: int = Field(examples=[104280])
    halo: int = Field(description="coarse cells read around a block", examples=[10])
    receptive_field: int = Field(description="coarse cells along an axis that an answer depends on", examples=[21])
    sampling: str = Field(description="how fine fields were made coarse", examples=["block mean"])
    boundary: list[str] | None = Field(
        description="of the fields it was trained on, (z, y, x); null if they were of several kinds"
    )
    trained: dict[str, Any] = Field(description="data, steps and time of its training")
    learned: dict[str, list[float]] = Field(description="ranges of traits of the coarse fields that it learned from")
    measured: list[dict[str, Any]] = Field(description="errors on held-out simulations")
    sample: dict[str, Any] = Field(description="errors on the sample that is shipped with the weights")
    symmetry: dict[str, Any] = Field(description="equivariance errors on that sample, irreps of the relaxation weights")
    uncertainty: dict[str, Any] = Field(description="how its prediction of errors was trained; empty if there is none")
    sha256: str | None = Field(description="hash of its weights; null if there are none")


class Symmetry(BaseModel):
    """Which symmetries of the octahedral group a model keeps."""

    model: str = Field(examples=["relaxed-channel-x4"])
    equivariance_error: dict[str, float] = Field(
        description="||f(g u) - g f(u)|| / ||f(u) - its mean|| on the sample that is shipped with the weights, for "
        "each element g, named by where it takes the point x,y,z",
        examples=[{"x,y,z": 0.0, "-y,x,z": 0.0031}],
    )
    relaxation: dict[str, dict[str, float]] = Field(
        description="share of each irrep in the relaxation weights of each layer, empty for a model that is not "
        "relaxed; what is not A1 (A1g) breaks a symmetry",
        examples=[{"network.lift": {"A1": 0.998, "A2": 0.0, "E": 0.001, "T1": 0.001, "T2": 0.0}}],
    )


class Cards(BaseModel):
    """All models."""

    models: list[Card]
    default: str | None = Field(description="model for requests that name none; null if it is missing")
    linear: dict[str, float] = Field(
        description="mean absolute error of the best linear estimator relative to trilinear interpolation, by flow"
    )


class ForecastCard(BaseModel):
    """What a forecasting model is, and its errors on runs that it has not seen."""

    name: str = Field(examples=["relaxed-smoke"])
    family: str = Field(description="family of its network", examples=["relaxed"])
    flow: str = Field(description="what it was trained on", examples=["smoke"])
    frames: int = Field(description="number of frames in its input", examples=[10])
    boundary: list[str] = Field(description="of the flow that it was trained on, (y, x)", examples=[["wall", "wall"]])
    architecture: dict[str, Any]
    parameters: int = Field(examples=[15000])
    trained: dict[str, Any]
    measured: dict[str, dict[str, float]] = Field(
        description="errors of the model and of persistence in forecasts of 20 frames, root mean square relative to "
        "that of the truth: at later times of the training runs (`future`) and on other runs (`domain`)"
    )
    units: dict[str, float] = Field(
        description="`dx`, `dt` and `nu` of the run that its stored sample, in cells per frame, is from; may be empty"
    )
    sha256: str = Field(description="hash of its weights")


class ForecastCards(BaseModel):
    """All forecasting models."""

    models: list[ForecastCard]


class Report(BaseModel):
    """A model's answer and trilinear interpolation, compared with a reference."""

    model: str = Field(examples=["trilinear-x4"])
    boundary: list[str] = Field(description="in z, y, x order", examples=[["periodic", "periodic", "periodic"]])
    levels: int = Field(description="answers compared; a metric is the mean over those that have it", examples=[1])
    warnings: list[str] = Field(default=[], description=WARNINGS)
    metrics: Metrics = Field(description="metrics of the model's answer", examples=[EXAMPLE])
    trilinear: Metrics = Field(description="metrics of trilinear interpolation", examples=[EXAMPLE])
    expected_mae: float | None = Field(
        default=None,
        description="the `mae` that the model expects without knowing the reference: the mean of the errors that it "
        "predicts; null if it predicts none, or a job was not asked for them",
    )


class Check(BaseModel):
    """How good the answer of a model is expected to be."""

    model: str = Field(examples=["equivariant-general-x4"])
    boundary: list[str] = Field(description="in z, y, x order", examples=[["periodic", "periodic", "periodic"]])
    levels: int = Field(description="answers; the numbers below are means over them", examples=[1])
    warnings: list[str] = Field(default=[], description=WARNINGS)
    fitting: list[str] = Field(
        default=[], description="models that have learned to predict their errors on fields like this one"
    )
    expected_mae: float = Field(description="mean absolute error that the model expects, in the units of the velocity")
    correction: float = Field(description="mean of |answer - trilinear interpolation|, in the units of the velocity")
    expected_mae_over_correction: float | None = Field(
        description="the first over the second; null where there is no correction", examples=[0.4]
    )


class Sample(BaseModel):
    """A pair of a coarse and a true fine velocity that no model was trained on."""

    name: str = Field(examples=["isotropic-x4"])
    run: str = Field(description="the simulation that it is from", examples=["isotropic-64-seed103"])
    factor: int = Field(description="fine cells per coarse cell along an axis", examples=[4])
    frames: int = Field(description="times of the coarse velocity", examples=[1])
    boundary: list[str] = Field(description="in z, y, x order", examples=[["periodic", "wall", "periodic"]])
    length: list[float] = Field(description="of each axis, in z, y, x order", examples=[[1.2, 2.0, 2.4]])
    cells: list[int] = Field(description="coarse ones, in z, y, x order", examples=[[16, 16, 16]])


class Samples(BaseModel):
    """All held-out samples."""

    samples: list[Sample]


class Reproduction(BaseModel):
    """Whether this device reproduces a card on the sample that is shipped with the weights."""

    model: str = Field(examples=["trilinear-x4"])
    device: str = Field(examples=["cpu"])
    precision: str = Field(description="floating-point format in which the model is served", examples=["float32"])
    mae_over_rms: float | None = Field(examples=[0.124])
    card_mae_over_rms: float | None = Field(description="as the card says of the same sample", examples=[0.124])
    trilinear_mae_over_rms: float | None = Field(examples=[0.124])
    reproduced: bool = Field(description="whether the first two agree")
    metrics: Metrics = Field(examples=[EXAMPLE])


class Volume(BaseModel):
    """A stored volume."""

    name: str = Field(examples=["channel"])
    tag: str = Field(description="changes with the content")
    keys: int = Field(description="number of its objects", examples=[12])
    bytes: int = Field(description="size of all objects together", examples=[1_048_576])
    variables: list[str] = Field(default=[], description="variables with the velocity", examples=[["u", "v", "w"]])
    cells: list[int] | None = Field(default=None, description="along z, y, x", examples=[[24, 24, 24]])
    levels: int | None = Field(default=None, description="times; null without a time dim", examples=[10])
    boundary: list[str] | None = Field(default=None, description="in z, y, x order, if the volume has this attribute")
    problem: str | None = Field(default=None, description="why it cannot be super-resolved, if it cannot")


class Volumes(BaseModel):
    """All stored volumes."""

    volumes: list[Volume]


class Rename(BaseModel, extra="forbid"):
    """Another name for a volume."""

    to: str = Field(description="its new name", examples=["channel"])
    replace: bool = Field(default=False, description="replace the volume of this name, if there is one")


class Object(BaseModel):
    """One object of a stored volume."""

    key: str = Field(examples=["u/c/0/0/0"])
    bytes: int


class Keys(BaseModel):
    """Objects of a stored volume, in order."""

    keys: list[Object]
    more: bool = Field(description="whether there are more after the last of these")


class Job(JobSpec, frozen=True):
    """A job and its progress."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    detail: str | None = Field(description="why it failed")
    created: float = Field(description="seconds since 1970")
    report: Report | Discovery | None = Field(description="result of the comparison or the discovery")
    stage: str = Field(description="computing, comparing or discovering", examples=["computing"])
    blocks: int | None = Field(description="blocks (or slabs, or steps) of this stage; null until they are counted")
    blocks_done: int
    warnings: list[str] = Field(default=[], description=WARNINGS)
    voxels_per_second: float | None = Field(
        description="fine cells (in a discovery those of X) per second, in this stage"
    )
    seconds_left: float | None


class Jobs(BaseModel):
    """Jobs, the newest first."""

    jobs: list[Job]


class Health(BaseModel):
    """Whether the service runs and can compute."""

    status: str = Field(examples=["ready"])
    models: list[str] = Field(default=[], description="models that are served")
    failures: dict[str, str] = Field(default={}, description="models that cannot be served, and why")
    precisions: dict[str, str] = Field(
        default={},
        description="floating-point format in which each model is computed",
        examples=[{"relaxed-channel-x4": "bfloat16"}],
    )
    warnings: dict[str, str] = Field(default={}, description="doubts about models that are served")
    jobs: str | None = Field(default=None, description="why the list of jobs cannot be used, if so")
    data: str | None = Field(default=None, description="why the data folder cannot be written, if so")
