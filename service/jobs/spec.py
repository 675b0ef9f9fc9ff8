"""What a job is to do."""

from __future__ import annotations

from pydantic import BaseModel, Field


class JobSpec(BaseModel, extra="forbid", frozen=True):
    """What a job is to do: super-resolve a volume and, if there is a reference, compare with it."""

    source: str = Field(description="volume to read", examples=["channel", "s3://flows/channel.zarr"])
    target: str | None = Field(
        default=None, description="volume to write; null only beside a reference", examples=["channel-fine"]
    )
    model: str = Field(examples=["relaxed-channel-x4"])
    boundary: str | None = Field(default=None, description="in z, y, x order; null leaves it to the source")
    names: dict[str, str] = Field(
        default={},
        description="what variables and dims of the source are to be called, by what they are called",
        examples=[{"ux": "u", "uy": "v", "uz": "w", "depth": "z"}],
    )
    reference: str | None = Field(default=None, description="true fine volume to compare the answer with")

    @property
    def volumes(self) -> list[str]:
        """All that it reads and writes."""
        return [name for name in (self.source, self.target, self.reference) if name]
