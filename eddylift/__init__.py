"""Client of the eddylift service: coarse turbulent velocity in, fine velocity out."""

from eddylift._async_client import AsyncClient
from eddylift._client import Client
from eddylift._discovery import Discovery
from eddylift._errors import (
    BusyError,
    EddyliftError,
    EddyliftWarning,
    FailedError,
    FieldError,
    InvalidInputError,
    JobError,
    NotFoundError,
    RefusedError,
    ServiceError,
    TimedOutError,
    UnauthorizedError,
    UnexpectedAnswerError,
    UnreachableError,
)
from eddylift._job_status import JobStatus
from eddylift._jobs import AsyncJob, Job
from eddylift._metrics import METRICS, Metric
from eddylift._preparation import open_volume
from eddylift._progress import Progress, ProgressCallback
from eddylift._types import (
    Boundary,
    Card,
    Check,
    ForecastCard,
    Health,
    Metrics,
    Report,
    Reproduction,
    StoredVolume,
    Symmetry,
)
from eddylift._version import __version__
from eddylift._writing import save_volume

__all__ = [
    "METRICS",
    "AsyncClient",
    "AsyncJob",
    "Boundary",
    "BusyError",
    "Card",
    "Check",
    "Client",
    "Discovery",
    "EddyliftError",
    "EddyliftWarning",
    "FailedError",
    "FieldError",
    "ForecastCard",
    "Health",
    "InvalidInputError",
    "Job",
    "JobError",
    "JobStatus",
    "Metric",
    "Metrics",
    "NotFoundError",
    "Progress",
    "ProgressCallback",
    "RefusedError",
    "Report",
    "Reproduction",
    "ServiceError",
    "StoredVolume",
    "Symmetry",
    "TimedOutError",
    "UnauthorizedError",
    "UnexpectedAnswerError",
    "UnreachableError",
    "__version__",
    "open_volume",
    "save_volume",
]
