from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import eddylift

ROOM = Path(eddylift.__file__).parent


def test_public_names() -> None:
    assert eddylift.__all__ == [
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
    assert all(hasattr(eddylift, name) for name in eddylift.__all__)


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")} - {"close", "aclose"}

    # zarr waits for a store in an event loop of its own, which an asynchronous client of another loop cannot serve.
    assert calls(eddylift.Client) - calls(eddylift.AsyncClient) == {"store"}
    assert calls(eddylift.AsyncClient) <= calls(eddylift.Client)


def test_types_are_shipped() -> None:
    assert (ROOM / "py.typed").exists()


def test_imports_no_other_room_and_no_torch() -> None:
    allowed = {"anyio", "eddylift", "h5py", "httpx2", "numpy", "rich", "stamina", "typer", "xarray", "zarr"}
    for file in ROOM.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            roots = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
            assert roots <= allowed, file.name


def test_starts_without_what_is_slow_or_optional() -> None:
    code = "import sys, eddylift.cli; print([name for name in ('xarray', 'zarr', 'torch') if name in sys.modules])"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 our own
    assert found.stdout.strip() == "[]"
