"""The list of jobs: which there are, and how they ended. What of a job is done, its target's chunks tell."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pathlib import Path

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: Final = frozenset({"done", "failed", "cancelled"})
COLUMNS: Final = "id, source, target, model, boundary, state, detail, created"


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        id: what it is called.
        source: stored volume to read.
        target: stored volume to write.
        model: name of the model.
        boundary: in z, y, x order, joined by commas; None leaves it to the source.
        state: how far it is.
        detail: why it failed.
        created: seconds since 1970.
    """

    id: str
    source: str
    target: str
    model: str
    boundary: str | None
    state: State = "queued"
    detail: str | None = None
    created: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen unless it is resumed."""
        return self.state in ENDED


class Ledger:
    """Jobs in a file.

    Args:
        path: of the database, made when a job is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, source TEXT, target TEXT, model TEXT, "
            "boundary TEXT, state TEXT, detail TEXT, created REAL)"
        )
        return connection

    def _query(self, statement: str, values: tuple[object, ...] = ()) -> list[Job]:
        with self._writing:
            connection = self._connect()
            try:
                return [Job(*row) for row in connection.execute(statement, values)]
            finally:
                connection.close()

    def add(self, source: str, target: str, model: str, boundary: str | None) -> Job:
        """Put a new job on the list."""
        job = Job(uuid.uuid4().hex[:12], source, target, model, boundary, created=time.time())
        values = (job.id, job.source, job.target, job.model, job.boundary, job.state, job.detail, job.created)
        self._query(f"INSERT INTO jobs ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608 our own names
        return job

    def get(self, name: str) -> Job | None:
        """A job by its id."""
        found = self._query(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (name,)) if self.path.exists() else []  # noqa: S608
        return found[0] if found else None

    def all(self) -> list[Job]:
        """All jobs, the newest first."""
        return self._query(f"SELECT {COLUMNS} FROM jobs ORDER BY created DESC") if self.path.exists() else []  # noqa: S608

    def mark(self, name: str, state: State, detail: str | None = None) -> None:
        """Say how far a job is."""
        self._query("UPDATE jobs SET state = ?, detail = ? WHERE id = ?", (state, detail, name))
