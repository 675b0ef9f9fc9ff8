"""The specification of a job."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field

from models.catalogue import DEFAULT
from models.discovery.pairs import Kind  # noqa: TC001 pydantic reads it
from service.formats.names import Naming

# Fields that name a volume.
VOLUMES: Final = ("source", "target", "reference")


def _joined(boundary: object) -> object:
    """A list of boundaries as the text that it stands for."""
    if isinstance(boundary, list) and all(isinstance(each, str) for each in boundary):
        return ",".join(boundary)
    return boundary


class JobSpec(BaseModel, extra="forbid", frozen=True):
    """What a job is to do.

    Either it super-resolves a volume and, if there is a reference, compares the answer with it; or it discovers which
    symmetries the map from the source to the reference keeps, whose times are pairs (X, Y) of velocities or scalars.
    """

    task: Literal["upscale", "discover"] = "upscale"
    source: str = Field(description="volume to read", examples=["channel", "s3://flows/channel.zarr"])
    target: str | None = Field(
        default=None, description="volume to write; null only beside a reference", examples=["channel-fine"]
    )
    model: str | None = Field(
        default=None,
        description=f"name of the model; null takes `{DEFAULT}`, and the job then has its name",
        examples=["relaxed-channel-x4"],
    )
    boundary: Annotated[str | None, BeforeValidator(_joined, json_schema_input_type=str | list[str] | None)] = Field(
        default=None,
        description="in z, y, x order, as text or as a list; null leaves it to the attribute `boundary` of the source, "
        "else of the reference, or else to the card",
    )
    names: dict[str, str] = Field(
        default={},
        description="the service's names of variables and dims, by those of the source or the reference",
        examples=[{"ux": "u", "uy": "v", "uz": "w", "height": "z"}],
    )
    drop: list[str] = Field(default=[], description="variables that are left out", examples=[["p"]])
    reference: str | None = Field(
        default=None, description="true fine volume to compare the answer with; of a discovery, the fields Y"
    )
    x_kind: Kind | None = Field(
        default=None,
        description="of a discovery, what the source has: `vector`, a velocity, or `scalar`, where each variable is a "
        "field of its own; null takes `vector`",
    )
    y_kind: Kind | None = Field(default=None, description="the same of the reference")
    group: str | None = Field(
        default=None,
        description="whose elements a discovery asks about: `D4`, `C4` or `C2` in a plane, `Oh` or `O` in space; null "
        "takes the first of these",
    )
    error: bool = Field(default=False, description="whether to write an array `error`, the expected absolute errors")

    @property
    def naming(self) -> Naming:
        """Names in the source and the reference."""
        return Naming(tuple(sorted(self.names.items())), tuple(self.drop))

    @property
    def volumes(self) -> list[str]:
        """All volumes that it reads or writes."""
        return [name for field in VOLUMES if (name := getattr(self, field))]
