"""Everything that can be set, and what it is set to otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBI = 1024**2
CHECKOUT = Path(__file__).resolve().parent.parent


class SettingError(ValueError):
    """Something that is set cannot be used here."""


class Settings(BaseSettings):
    """Settings of the service, each read from the environment as ``EDDYLIFT_<NAME>``: ``EDDYLIFT_BATCH_WAIT_MS=20``.

    At worst the service holds ``max_requests`` bodies of ``max_body_bytes``, and answers to ``max_queue_cells`` coarse
    cells (768 bytes each), at a time; lower these on a small host.
    """

    model_config = SettingsConfigDict(env_prefix="EDDYLIFT_", env_ignore_empty=True, frozen=True, extra="ignore")

    # What is served, and on what.
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
            description="Arithmetic of the networks. A model that departs from its card in another one than float32, "
            "or whose card tells no error, is served in float32, with a warning."
        ),
    ] = "float32"

    # Volumes and views of them.
    data: Annotated[Path, Field(description="Folder of volumes, and of what is computed and found out about them.")] = (
        CHECKOUT / "data" / "service"
    )
    max_volume_cells: Annotated[
        PositiveInt, Field(description="Most coarse cells of a stored volume, at one time.")
    ] = 17_179_869_184
    spare_bytes: Annotated[
        NonNegativeInt,
        Field(
            description="Bytes of the disk of `data` that are left free. Beyond them views keep fewer blocks, what is "
            "sent is refused (507), and jobs fail, to be resumed when there is room."
        ),
    ] = 1024 * MEBI
    view_bytes: Annotated[
        PositiveInt,
        Field(
            description="Bytes of blocks that the views of one service keep; what was not read for longest goes first."
        ),
    ] = 16 * 1024 * MEBI
    view_blocks: Annotated[PositiveInt, Field(description="Most blocks that views read and compute at a time.")] = 16
    max_jobs: Annotated[PositiveInt, Field(description="Most jobs that run at a time; others wait.")] = 1
    max_queued_jobs: Annotated[
        PositiveInt, Field(description="Most jobs that run or wait at a time; beyond that, a new one is refused (429).")
    ] = 1000
    max_event_streams: Annotated[
        PositiveInt, Field(description="Most clients that watch a job by its events at a time; 429 beyond.")
    ] = 64
    keep_days: Annotated[
        PositiveFloat, Field(description="Days for which a job that has ended stays on the list, with its report.")
    ] = 90.0
    job_blocks: Annotated[
        PositiveInt, Field(description="Blocks of a job that are read, computed and written at a time.")
    ] = 4
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
    s3_anonymous: Annotated[bool, Field(description="Whether buckets are public, and requests are not signed.")] = False
    s3_patience_s: Annotated[
        PositiveFloat, Field(description="For how long a request to an object store is repeated.")
    ] = 60.0
    s3_fresh_s: Annotated[
        PositiveFloat, Field(description="For how long a volume in an object store is taken to be what it was.")
    ] = 30.0
    scheduler: Annotated[
        str | None,
        Field(
            description="Dask scheduler, such as `tcp://scheduler:8786`, whose workers compute the blocks of jobs; "
            "they need the same weights, data folder and buckets. If unset, this process computes them."
        ),
    ] = None
    cors_origins: Annotated[
        tuple[str, ...], Field(description="Origins whose pages may read answers in a browser; `*` is all.")
    ] = ()

    # Who may use it, and how often.
    tokens: Annotated[
        Literal["off"] | Path | None,
        Field(
            description="File of tokens, a line each: `name scope sha256`, as `python -m service token` prints them. "
            "Whoever has none is refused. Unset, tokens are neither asked for nor is a host served on that others "
            "reach; `off` serves there too, without tokens."
        ),
    ] = None
    trusted_hosts: Annotated[
        tuple[str, ...] | None,
        Field(
            description='Names by which clients may call the service, as in `["gpu-host.example"]`; addresses and '
            "`localhost` always may be used, `*` is any name. Other names are refused (421), so that no page on the "
            "web reaches the service through a browser. If unset, a service that listens on loopback only has no other "
            "names, and any other service does not check them."
        ),
    ] = None
    rate_per_s: Annotated[
        PositiveFloat | None,
        Field(
            description="Requests a second that each token, or each address without one, may make for long; 429 with "
            "Retry-After beyond. Not limited if unset. Behind a proxy, set FORWARDED_ALLOW_IPS to its address."
        ),
    ] = None
    rate_burst: Annotated[
        PositiveInt, Field(description="Requests that may come at once; a view is one request for each block read.")
    ] = 100
    log_format: Annotated[
        Literal["text", "json"], Field(description="Lines of the log: for a person, or JSON for a program.")
    ] = "text"

    # Batching.
    block: Annotated[PositiveInt, Field(description="Longest edge of a block, in coarse cells.")] = 32
    batch_wait_ms: Annotated[
        NonNegativeFloat, Field(description="How long the first block of a batch waits for others to join it.")
    ] = 5.0
    max_batch_blocks: Annotated[PositiveInt, Field(description="Most blocks in a batch.")] = 64
    max_batch_cells: Annotated[
        PositiveInt | None,
        Field(
            description="Most coarse cells in a batch, halos included; a single larger block is computed alone. "
            "On a GPU never more than half the memory that is free at the start holds, as measured then. If unset, a "
            "GPU takes that much, and a CPU 4,096, beyond which nothing is gained."
        ),
    ] = None

    request_deadline_s: Annotated[
        PositiveFloat | None,
        Field(
            description="A request that the device has not begun with after this time leaves the queue, and is "
            "answered 503 with Retry-After. Jobs wait for as long as it takes."
        ),
    ] = None

    # Admission: beyond these the answer is 429 with Retry-After.
    max_requests: Annotated[
        PositiveInt, Field(description="Most requests that hold a volume at a time, from first byte to last.")
    ] = 32
    max_client_requests: Annotated[
        PositiveInt,
        Field(
            description="Most requests of one token, or of one address if no tokens are asked for, that are served at "
            "a time; more of them wait. One client also never holds more than three quarters of `max_requests`."
        ),
    ] = 24
    max_queue_cells: Annotated[
        PositiveInt, Field(description="Most coarse cells waiting or being computed; one request alone always fits.")
    ] = 8_388_608

    # What one request may be: beyond these the answer is 413, 408 or 422.
    max_body_bytes: Annotated[PositiveInt, Field(description="Longest body, all parts together.")] = 256 * MEBI
    max_decoded_bytes: Annotated[
        PositiveInt, Field(description="Most bytes that a compressed body may hold once decompressed.")
    ] = 1024 * MEBI
    max_archive_entries: Annotated[PositiveInt, Field(description="Most files in a zip archive.")] = 10_000
    max_compression_ratio: Annotated[
        PositiveFloat, Field(description="Largest ratio of decompressed to compressed size, once past a mebibyte.")
    ] = 100.0
    max_arrays: Annotated[PositiveInt, Field(description="Most arrays in a NetCDF or Zarr body.")] = 64
    max_chunks: Annotated[PositiveInt, Field(description="Most chunks of a Zarr array, those in shards too.")] = 100_000
    max_cells: Annotated[
        PositiveInt, Field(description="Most coarse cells in a request, all time levels together.")
    ] = 2_097_152
    min_cells: Annotated[PositiveInt, Field(description="Fewest coarse cells along an axis.", ge=2)] = 4
    body_idle_s: Annotated[
        PositiveFloat, Field(description="Longest pause between two pieces of a body before 408.")
    ] = 30.0
    body_bytes_per_s: Annotated[
        PositiveFloat,
        Field(description="Slowest that a body may come on the whole, once `body_idle_s` are over, before 408."),
    ] = 16_384.0

    # Connections: beyond these they are closed.
    max_connections: Annotated[
        PositiveInt,
        Field(
            description="Most connections at a time; never more than half of the file descriptors that the process may "
            "open (`ulimit -n`). Beyond that, the connection that has been idle for longest is closed."
        ),
    ] = 1000
    head_s: Annotated[
        PositiveFloat,
        Field(description="Longest time for a whole request head to come, from the connection's start or last answer."),
    ] = 10.0
    send_idle_s: Annotated[
        PositiveFloat,
        Field(
            description="Longest time for which a client reads nothing of its answer. Once it is over, "
            "`body_bytes_per_s` is the slowest that an answer may be read, too."
        ),
    ] = 30.0

    # What a velocity may be.
    max_speed: Annotated[
        PositiveFloat, Field(description="Magnitudes beyond this are taken for fill values and refused.")
    ] = 1e12
    missing_values: Annotated[
        tuple[float, ...], Field(description="Values that mark missing data and are refused (-999.9 is JHTDB's).")
    ] = (-999.9, -9999.0)
    spacing_tolerance: Annotated[
        PositiveFloat, Field(description="How uneven the spacing of an axis may be, relative to its mean.")
    ] = 1e-3

    # The rest.
    readers: Annotated[
        PositiveInt,
        Field(
            description="Threads of each kind of work: bodies and answers, stored volumes, views, jobs, and the engine."
        ),
    ] = 4
    warm_readers: Annotated[
        NonNegativeInt, Field(description="Processes for reading NetCDF and Zarr that are there from the start.")
    ] = 1
    read_timeout_s: Annotated[
        PositiveFloat, Field(description="Longest time to read a NetCDF or Zarr body before it is taken for broken.")
    ] = 60.0
    drain_s: Annotated[
        NonNegativeFloat,
        Field(description="Upon SIGTERM, how long `/health/ready` says 503 before connections are refused."),
    ] = 1.0
    grace_s: Annotated[
        PositiveFloat, Field(description="How long requests have to end in after that; what is left is cut off.")
    ] = 30.0
