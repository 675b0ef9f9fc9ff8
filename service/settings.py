"""The settings and their defaults."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBI = 1024**2
CHECKOUT = Path(__file__).resolve().parent.parent
PREFIX: Final = "EDDYLIFT_"
# Variables that are no settings: of clients, of Docker Compose, and those that Kubernetes makes of names of services.
OTHERS: Final = re.compile(r"URL|TOKEN|METRICS_TOKEN|(.*_)?(PORT(_.*)?|SERVICE_(HOST|PORT)(_.*)?)")

# As requests have them: lower-case, without a path.
HostName = Annotated[str, StringConstraints(pattern=r"(?i)^(\*|[a-z0-9._-]+)$", to_lower=True)]
Origin = Annotated[str, StringConstraints(pattern=r"(?i)^(\*|[a-z][a-z0-9+.-]*://[^/*\s]+)$", to_lower=True)]


class SettingError(ValueError):
    """A setting that cannot be used here."""


class Settings(BaseSettings):
    """Settings of the service, each read from the environment as ``EDDYLIFT_<NAME>``: ``EDDYLIFT_BATCH_WAIT_MS=20``.

    `docs/operating.md` says how much memory they let the service take.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        enable_decoding=False,
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
    )

    # Models and device.
    weights: Annotated[Path, Field(description="Folder of models.")] = CHECKOUT / "weights"
    device: Annotated[
        str, Field(description="Device that computes: `auto` (CUDA if there is one), `cpu`, `cuda` or `cuda:<n>`.")
    ] = "auto"
    threads: Annotated[
        PositiveInt | None, Field(description="Threads of one computation on the CPU; PyTorch decides if unset.")
    ] = None
    precision: Annotated[
        Literal["float32", "tf32", "bfloat16"],
        Field(
            description="Format of the networks: `float32`, `tf32` or `bfloat16`. A model that does not reproduce its "
            "card's error in it, or whose card has no error, is served in float32, with a warning. A job that began in "
            "one format cannot continue in another."
        ),
    ] = "float32"

    # Volumes, views and jobs.
    data: Annotated[Path, Field(description="Folder of uploaded volumes, blocks of views and the list of jobs.")] = (
        CHECKOUT / "data" / "service"
    )
    max_volume_cells: Annotated[
        PositiveInt, Field(description="Largest number of coarse cells at one time of a stored volume.")
    ] = 17_179_869_184
    spare_bytes: Annotated[
        NonNegativeInt,
        Field(
            description="Bytes to keep free on the disk of `data`. If less is free, views keep fewer blocks, "
            "uploads are refused (507), and jobs fail; resume them when there is room."
        ),
    ] = 1024 * MEBI
    view_bytes: Annotated[
        PositiveInt,
        Field(
            description="Bytes of blocks that the views of one service keep; the least recently read are deleted first."
        ),
    ] = 16 * 1024 * MEBI
    region: Annotated[
        PositiveInt,
        Field(
            description="Longest edge of a group of neighbouring blocks that are computed together, in coarse cells. "
            "The longer it is, the less is computed twice in halos. A job holds about 2 x `region`^2 x `block` cells."
        ),
    ] = 96
    max_jobs: Annotated[PositiveInt, Field(description="Largest number of jobs that run at a time; others wait.")] = 1
    max_queued_jobs: Annotated[
        PositiveInt, Field(description="Largest number of jobs that run or wait; another one is refused (429).")
    ] = 1000
    max_event_streams: Annotated[
        PositiveInt,
        Field(description="Largest number of event streams of jobs at a time; another one is refused (429)."),
    ] = 64
    keep_days: Annotated[
        PositiveFloat,
        Field(
            description="Days for which a job that has ended stays on the list, with its report. If it has no target, "
            "and failed or was cancelled, what it has computed stays as long, so that it can be resumed."
        ),
    ] = 90.0
    s3_buckets: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]+[a-z0-9](/[^/]+)*/?$")], ...],
        Field(
            description='Buckets, or `bucket/path`, that volumes may be read from and written to, as in `["flows"]`. '
            "Credentials are taken from the environment as AWS names them."
        ),
    ] = ()
    s3_endpoint: Annotated[
        str | None, Field(description="Address of an S3-compatible store; AWS if unset.", pattern=r"^https?://")
    ] = None
    s3_region: Annotated[str, Field(description="Region of the buckets.")] = "us-east-1"
    s3_anonymous: Annotated[bool, Field(description="Whether buckets are public: requests are not signed.")] = False
    s3_patience_s: Annotated[PositiveFloat, Field(description="How long a request to an object store is retried.")] = (
        60.0
    )
    s3_fresh_s: Annotated[
        PositiveFloat,
        Field(
            description="How long a listing of a volume in an object store is trusted, or 50 times as long as it took "
            "if that is longer, up to 300 s; changes are seen after that. Jobs list their volumes anew when they are "
            "ordered and when they begin."
        ),
    ] = 30.0
    scheduler: Annotated[
        str | None,
        Field(
            description="Dask scheduler, such as `tcp://scheduler:8786`, whose workers compute the blocks of jobs; "
            "they need the same weights, data folder and buckets. If unset, this process computes them."
        ),
    ] = None
    cors_origins: Annotated[
        tuple[Origin, ...],
        Field(
            description='Origins whose pages may read answers in a browser, as in `["https://flows.example"]`; `*` '
            "allows all."
        ),
    ] = ()

    # Who may use it, and how often.
    tokens: Annotated[
        Literal["off"] | Path | None,
        Field(
            description="File of tokens, a line each: `name scope sha256`, as `python -m service token` prints them. "
            "Requests without one are refused. If unset, the service listens on loopback only and asks for no token; "
            "`off` lets it listen anywhere without tokens."
        ),
    ] = None
    trusted_hosts: Annotated[
        tuple[HostName, ...] | None,
        Field(
            description="Host names, without ports, by which clients may call the service, as in "
            '`["gpu-host.example"]`; addresses and `localhost` are always allowed, `*` allows any name. Other names '
            "are refused (421), so that no page on the web reaches the service through a browser. If unset, a service "
            "that listens on loopback allows no names, and any other service allows all."
        ),
    ] = None
    rate_per_s: Annotated[
        PositiveFloat | None,
        Field(
            description="Average number of requests a second that each token, or each address without one, may "
            "make; above it the answer is 429 with Retry-After. No limit if unset. Behind a proxy, set "
            "FORWARDED_ALLOW_IPS to its address."
        ),
    ] = None
    rate_burst: Annotated[
        PositiveInt,
        Field(description="Requests beyond `rate_per_s` that may come at once; a view takes one for each block."),
    ] = 100
    log_format: Annotated[
        Literal["text", "json"], Field(description="Format of the log: `text` for people, `json` for programs.")
    ] = "text"

    # Batching.
    block: Annotated[
        PositiveInt,
        Field(
            description="Longest edge of a block, in coarse cells. A job that began with one edge cannot continue with "
            "another."
        ),
    ] = 32
    batch_wait_ms: Annotated[
        NonNegativeFloat, Field(description="How long the first block of a batch waits for others to join it.")
    ] = 5.0
    max_batch_blocks: Annotated[PositiveInt, Field(description="Largest number of blocks in a batch.")] = 64
    max_batch_cells: Annotated[
        PositiveInt | None,
        Field(
            description="Largest number of coarse cells in a batch, with halos; a larger block is computed alone. "
            "On a GPU, a batch must also fit into half of the memory that is free at the start. If unset, that is the "
            "only limit on a GPU; on a CPU it is 4,096, as larger batches are no faster there."
        ),
    ] = None

    request_deadline_s: Annotated[
        PositiveFloat | None,
        Field(
            description="How long a request may wait for the device. After that it leaves the queue, and is answered "
            "503 with Retry-After. Unlimited if unset; jobs have no deadline."
        ),
    ] = None

    # Admission: beyond these the answer is 429 with Retry-After.
    max_requests: Annotated[
        PositiveInt,
        Field(description="Largest number of requests with a volume at a time, each from its first byte to its last."),
    ] = 32
    max_client_requests: Annotated[
        PositiveInt,
        Field(
            description="Largest number of requests of one token, or of one address without tokens, that are served "
            "at a time; others wait. One client also never has more than three quarters of `max_requests`."
        ),
    ] = 24
    max_queue_cells: Annotated[
        PositiveInt,
        Field(description="Largest number of coarse cells that wait or are computed; a single request always fits."),
    ] = 8_388_608

    # Limits of one request: beyond these the answer is 413 or 408.
    max_body_bytes: Annotated[PositiveInt, Field(description="Largest body in bytes, all parts together.")] = 256 * MEBI
    max_decoded_bytes: Annotated[
        PositiveInt, Field(description="Largest number of bytes in a compressed body once it is decompressed.")
    ] = 1024 * MEBI
    max_cells: Annotated[
        PositiveInt,
        Field(
            description="Largest number of coarse cells in a request, all times together. In a discovery, X may have "
            "three values for each of so many cells at each time, Y eight times as many."
        ),
    ] = 2_097_152
    max_discovery_operations: Annotated[
        PositiveFloat,
        Field(
            description="Largest number of multiplications of a discovery; a core does about 4e9 a second. It grows "
            "with pairs times cells, and with the square of the number of group elements."
        ),
    ] = 1e11
    body_idle_s: Annotated[
        PositiveFloat, Field(description="Longest pause between two pieces of a body; after it the answer is 408.")
    ] = 30.0
    body_bytes_per_s: Annotated[
        PositiveFloat,
        Field(description="Lowest mean rate of a body after `body_idle_s`; for a slower one the answer is 408."),
    ] = 16_384.0

    # Connections: beyond these they are closed.
    max_connections: Annotated[
        PositiveInt,
        Field(
            description="Largest number of connections at a time, and at most half of the file descriptors that the "
            "process may open (`ulimit -n`). Beyond it, the connection that has been idle longest is closed."
        ),
    ] = 1000
    head_s: Annotated[
        PositiveFloat,
        Field(description="Longest wait for a whole request head, from the connection's start or last answer."),
    ] = 10.0
    send_idle_s: Annotated[
        PositiveFloat,
        Field(
            description="Longest time in which a client may read nothing of its answer. After that, "
            "`body_bytes_per_s` is also the lowest mean rate at which an answer may be read."
        ),
    ] = 30.0

    # The rest.
    readers: Annotated[
        PositiveInt,
        Field(
            description="Threads for each kind of work: bodies and answers, stored volumes, views, jobs, models. One "
            "client has at most three quarters of those for bodies, stored volumes or views, if there are several."
        ),
    ] = 4
    read_timeout_s: Annotated[
        PositiveFloat, Field(description="Longest time to read a NetCDF or Zarr body; it is refused (400) after that.")
    ] = 60.0
    drain_s: Annotated[
        NonNegativeFloat,
        Field(description="After SIGTERM, how long `/health/ready` says 503 before connections are refused."),
    ] = 1.0
    grace_s: Annotated[
        PositiveFloat, Field(description="How long requests may still run after `drain_s`; then they are cut off.")
    ] = 30.0

    @field_validator("s3_buckets", "cors_origins", "trusted_hosts", mode="before")
    @classmethod
    def _read_list(cls, value: object) -> object:
        """Read a list from JSON, as it is in the environment."""
        if not isinstance(value, str):
            return value
        with suppress(ValueError):
            if isinstance(found := json.loads(value), list):
                return found
        example = json.dumps([part.strip(" []\"'") for part in value.split(",")])
        message = f"expected a JSON list, such as {example}"
        raise ValueError(message)


def unknown_variables() -> list[str]:
    """What to say of variables of the environment that look like settings, and are none."""
    known = [name.upper() for name in Settings.model_fields]
    said = []
    for variable in sorted(os.environ):
        name = variable.upper().removeprefix(PREFIX)
        if variable.upper().startswith(PREFIX) and name not in known and not OTHERS.fullmatch(name):
            near = get_close_matches(name, known, 1)
            said.append(f"{variable} is no setting" + (f"; is {PREFIX}{near[0]} meant?" if near else ""))
    return said
