"""The list of jobs: which there are, and how they ended. What of a job is done, its target's chunks tell."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from service.jobs.spec import JobSpec

if TYPE_CHECKING:
    from pathlib import Path


State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: Final = frozenset({"done", "failed", "cancelled"})
COLUMNS: Final = "id, asked, state, detail, created, report, owner, progress, stopping, deaths"
# Of the table; the last were not there in lists of before 2026-11-29.
LATER: Final = {"ended": "REAL", "deaths": "INTEGER"}


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        id: what it is called.
        spec: what it is to do.
        state: how far it is.
        detail: why it failed.
        created: seconds since 1970.
        report: what the comparison gave.
        owner: the replica that does it.
        progress: how far it was when the owner last told.
        stopping: whether somebody wants it to be cancelled.
        deaths: owners that died while they did it, since a block of it was last done.
    """

    id: str
    spec: JobSpec
    state: State = "queued"
    detail: str | None = None
    created: float = 0.0
    report: dict[str, Any] | None = None
    owner: str | None = None
    progress: dict[str, Any] | None = None
    stopping: bool = False
    deaths: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen unless it is resumed."""
        return self.state in ENDED


class JobRepository:
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
        # Not WAL, whose readers and writers must be on one machine.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS orders "
            "(id TEXT PRIMARY KEY, asked TEXT, state TEXT, detail TEXT, created REAL, report TEXT, owner TEXT, "
            "progress TEXT, stopping INTEGER)"
        )
        known = {name for _, name, *_ in connection.execute("PRAGMA table_info(orders)")}
        for name in LATER.keys() - known:
            with suppress(sqlite3.OperationalError):  # another replica was faster
                connection.execute(f"ALTER TABLE orders ADD COLUMN {name} {LATER[name]}")
        connection.execute("CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, id TEXT)")
        return connection

    def _query(self, statement: str, values: tuple[object, ...] = ()) -> list[Job]:
        with self._writing:
            connection = self._connect()
            try:
                return [_job(*row) for row in connection.execute(statement, values)]
            finally:
                connection.close()

    def add(self, spec: JobSpec, owner: str, key: str | None = None) -> Job:
        """Put a new job on the list.

        Args:
            spec: what it is to do.
            owner: the replica that does it.
            key: by which it is found again.

        Raises:
            sqlite3.IntegrityError: if the key has a job already.
        """
        job = Job(uuid.uuid4().hex[:12], spec, created=time.time(), owner=owner)
        asked = spec.model_dump_json()
        values = (job.id, asked, job.state, job.detail, job.created, None, owner, None, False, 0)
        with self._writing, closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")  # both or none
            connection.execute(f"INSERT INTO orders ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608 our own names
            if key is not None:
                connection.execute("INSERT INTO keys (key, id) VALUES (?, ?)", (key, job.id))
            connection.execute("COMMIT")
        return job

    def keyed(self, key: str) -> Job | None:
        """The job that was added with a key."""
        statement = f"SELECT {COLUMNS} FROM orders JOIN keys USING (id) WHERE key = ?"  # noqa: S608 our own names
        found = self._query(statement, (key,)) if self.path.exists() else []
        return found[0] if found else None

    def get(self, name: str) -> Job | None:
        """A job by its id."""
        found = self._query(f"SELECT {COLUMNS} FROM orders WHERE id = ?", (name,)) if self.path.exists() else []  # noqa: S608
        return found[0] if found else None

    def all(self) -> list[Job]:
        """All jobs, the newest first."""
        return self._query(f"SELECT {COLUMNS} FROM orders ORDER BY created DESC") if self.path.exists() else []  # noqa: S608

    def unfinished(self) -> list[Job]:
        """Jobs that have not ended, the oldest first."""
        statement = f"SELECT {COLUMNS} FROM orders WHERE state IN ('queued', 'running') ORDER BY created"  # noqa: S608
        return self._query(statement) if self.path.exists() else []

    def mark(self, name: str, state: State, detail: str | None = None, report: dict[str, Any] | None = None) -> None:
        """Say how far a job is, and what it found; one that is to be cancelled still is while it has not ended."""
        ended = time.time() if state in ENDED else None
        values = (state, detail, _text(report), state == "running", ended, name)
        changes = "state = ?, detail = ?, report = ?, stopping = stopping AND ?, ended = ?"
        self._query(f"UPDATE orders SET {changes} WHERE id = ?", values)  # noqa: S608 our own names

    def assign(self, name: str, owner: str | None) -> None:
        """Say which replica does a job; None if any may."""
        self._query("UPDATE orders SET owner = ? WHERE id = ?", (owner, name))

    def take_up(self, name: str, owner: str, deaths: int) -> None:
        """Put a job that nobody does in line at a replica."""
        self._query("UPDATE orders SET owner = ?, state = 'queued', deaths = ? WHERE id = ?", (owner, deaths, name))

    def has_advanced(self, name: str) -> None:
        """Say that a block of a job was done, so that those who died over it before count no more."""
        self._query("UPDATE orders SET deaths = 0 WHERE id = ?", (name,))

    def save_progress(self, name: str, progress: dict[str, Any]) -> None:
        """Say how far a job is."""
        self._query("UPDATE orders SET progress = ? WHERE id = ?", (_text(progress), name))

    def stop(self, name: str) -> None:
        """Ask the owner of a job to cancel it."""
        self._query("UPDATE orders SET stopping = 1 WHERE id = ?", (name,))

    def forget(self, before: float) -> None:
        """Take jobs that ended before a time, in seconds since 1970, and their keys, off the list."""
        if self.path.exists():
            states = ", ".join(f"'{state}'" for state in sorted(ENDED))
            old = f"state IN ({states}) AND coalesce(ended, created) < ?"
            self._query(f"DELETE FROM keys WHERE id IN (SELECT id FROM orders WHERE {old})", (before,))  # noqa: S608
            self._query(f"DELETE FROM orders WHERE {old}", (before,))  # noqa: S608 our own names


def _text(content: dict[str, Any] | None) -> str | None:
    return None if content is None else json.dumps(content)


def _content(text: str | None) -> dict[str, Any] | None:
    return None if text is None else json.loads(text)


def _job(  # noqa: PLR0913 PLR0917 a row
    name: str,
    asked: str,
    state: State,
    detail: str | None,
    created: float,
    report: str | None,
    owner: str | None,
    progress: str | None,
    stopping: int | None,
    deaths: int | None,
) -> Job:
    return Job(
        name,
        JobSpec.model_validate_json(asked),
        state,
        detail,
        created,
        _content(report),
        owner,
        _content(progress),
        bool(stopping),
        deaths or 0,
    )
