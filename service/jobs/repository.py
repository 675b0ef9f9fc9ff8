"""The list of jobs and their states. The target of a job shows which of its blocks are done."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
import uuid
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from pydantic.dataclasses import dataclass

from service.jobs.spec import VOLUMES, JobSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path


logger = logging.getLogger("service.jobs")
State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: Final = frozenset({"done", "failed", "cancelled"})
COLUMNS: Final = "id, asked, state, detail, created, report, owner, progress, stopping, deaths"
UNFINISHED: Final = "state IN ('queued', 'running')"
TABLES: Final = """
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, asked TEXT, state TEXT, detail TEXT, created REAL, report TEXT, owner TEXT, progress TEXT,
    stopping INTEGER, deaths INTEGER, ended REAL
);
CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, id TEXT);
"""


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        id: of the job.
        spec: what to do.
        state: of the job.
        detail: why it failed.
        created: seconds since 1970.
        report: metrics, if it compared with a reference.
        owner: the replica that does it.
        progress: as its owner last saved it.
        stopping: whether it is to be cancelled.
        deaths: owners that died while they did it, since its last block was done.
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


class JobRepository:
    """The list of jobs, in an SQLite file.

    Args:
        path: of the file, made when a job is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()
        self._unreadable: set[str] = set()

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.row_factory = sqlite3.Row
        # WAL needs all readers and writers on one machine.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.executescript(TABLES)
        return connection

    def _query(self, statement: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """Rows of a statement; none before the first job is added."""
        if not self.path.exists():
            return []
        with self._writing, closing(self._connect()) as connection:
            return connection.execute(statement, values).fetchall()

    def _select(self, rest: str, values: tuple[object, ...] = ()) -> list[Job]:
        """Jobs by the rest of a query, without those that a service of another version wrote and this cannot read."""
        jobs = []
        for row in self._query(f"SELECT {COLUMNS} FROM orders {rest}", values):  # noqa: S608 our own
            try:
                jobs.append(_job(row))
            except ValueError as error:
                if row["id"] not in self._unreadable:
                    self._unreadable.add(row["id"])
                    logger.warning("job %s is left out, as it cannot be read: %s", row["id"], error)
        return jobs

    def add(self, spec: JobSpec, owner: str, key: str | None = None) -> Job:
        """Put a new job on the list.

        Args:
            spec: what to do.
            owner: the replica that does it.
            key: of idempotency.

        Raises:
            sqlite3.IntegrityError: if the key has a job already.
        """
        job = Job(uuid.uuid4().hex[:12], spec, created=time.time(), owner=owner)
        asked = spec.model_dump_json(exclude_defaults=True)  # for services that lack some of the fields
        values = (job.id, asked, job.state, job.detail, job.created, None, owner, None, False, 0)
        with self._writing, closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")  # both rows or none
            connection.execute(f"INSERT INTO orders ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608 our own names
            if key is not None:
                connection.execute("INSERT INTO keys (key, id) VALUES (?, ?)", (key, job.id))
            connection.execute("COMMIT")
        return job

    def keyed(self, key: str) -> Job | None:
        """The job that was added under a key of idempotency."""
        return next(iter(self._select("JOIN keys USING (id) WHERE key = ?", (key,))), None)

    def get(self, name: str) -> Job | None:
        """A job by its id."""
        return next(iter(self._select("WHERE id = ?", (name,))), None)

    def all(self, newest: int | None = None) -> list[Job]:
        """All jobs, the newest first; or so many of the newest, and all that have not ended."""
        latest = "id IN (SELECT id FROM orders ORDER BY created DESC LIMIT ?)"
        most = -1 if newest is None else newest
        return self._select(f"WHERE {UNFINISHED} OR {latest} ORDER BY created DESC", (most,))

    def unfinished(self) -> list[Job]:
        """Jobs that have not ended, the oldest first."""
        return self._select(f"WHERE {UNFINISHED} ORDER BY created")

    def lost(self, names: Collection[str], owner: str) -> set[str]:
        """Those of some jobs that another replica does by now, or none."""
        places = ", ".join("?" * len(names))
        statement = f"SELECT id FROM orders WHERE owner IS NOT ? AND id IN ({places})"  # noqa: S608 question marks
        return {row["id"] for row in self._query(statement, (owner, *names))}

    def volumes_in_use(self, is_alive: Callable[[str | None], bool]) -> list[str]:
        """Volumes that unfinished jobs read or write; of jobs that this cannot read, those whose owner is alive."""
        rows = self._query(f"SELECT asked, owner FROM orders WHERE {UNFINISHED}")  # noqa: S608 our own
        known = [(row["owner"], *_volumes(row["asked"])) for row in rows]
        return [name for owner, readable, names in known if readable or is_alive(owner) for name in names]

    def not_done(self) -> set[str]:
        """Ids of jobs that may go on: those that failed or were cancelled can be resumed."""
        return {row["id"] for row in self._query("SELECT id FROM orders WHERE state != 'done'")}

    def count(self) -> dict[str, int]:
        """Jobs on the list, by state."""
        rows = self._query("SELECT state, COUNT(*) AS jobs FROM orders GROUP BY state")
        return dict.fromkeys(get_args(State), 0) | {row["state"]: row["jobs"] for row in rows}

    def mark(
        self,
        name: str,
        state: State,
        detail: str | None = None,
        report: dict[str, Any] | None = None,
        owner: str | None = None,
    ) -> bool:
        """Set the state of a job; one that is to be cancelled stays so until it ends.

        Args:
            name: id of the job.
            state: of the job.
            detail: why it failed.
            report: metrics.
            owner: the replica that does it, if the state is not to be set once another one does.

        Returns:
            Whether it was set.
        """
        ended = time.time() if state in ENDED else None
        values = (state, detail, json.dumps(report), state == "running", ended, name, owner)
        changes = "state = ?, detail = ?, report = ?, stopping = stopping AND ?, ended = ?"
        statement = f"UPDATE orders SET {changes} WHERE id = ? AND owner IS coalesce(?, owner)"  # noqa: S608 our own
        with self._writing, closing(self._connect()) as connection:
            return connection.execute(statement, values).rowcount > 0

    def assign(self, name: str, owner: str | None) -> None:
        """Set the replica that does a job; None lets any take it up."""
        self._query("UPDATE orders SET owner = ? WHERE id = ?", (owner, name))

    def take_up(self, name: str, owner: str, deaths: int) -> None:
        """Queue a job without an owner at a replica."""
        self._query("UPDATE orders SET owner = ?, state = 'queued', deaths = ? WHERE id = ?", (owner, deaths, name))

    def has_advanced(self, name: str) -> None:
        """Note that a block of a job is done; owners that died before no longer count."""
        self._query("UPDATE orders SET deaths = 0 WHERE id = ?", (name,))

    def save_progress(self, name: str, progress: dict[str, Any], owner: str | None) -> None:
        """Save the progress of a job, if its owner still does it."""
        self._query("UPDATE orders SET progress = ? WHERE id = ? AND owner = ?", (json.dumps(progress), name, owner))

    def stop(self, name: str) -> None:
        """Ask the owner of a job to cancel it."""
        self._query("UPDATE orders SET stopping = 1 WHERE id = ?", (name,))

    def forget(self, before: float) -> None:
        """Delete jobs that ended before a time, in seconds since 1970, and their keys."""
        self._query("DELETE FROM keys WHERE id IN (SELECT id FROM orders WHERE ended < ?)", (before,))
        self._query("DELETE FROM orders WHERE ended < ?", (before,))


def _volumes(asked: str) -> tuple[bool, list[str]]:
    """Whether this version can read the spec of a job, and the volumes in it, under the names that they have here."""
    with suppress(ValueError):
        return True, JobSpec.model_validate_json(asked).volumes
    with suppress(ValueError, AttributeError):
        return False, [name for field, name in json.loads(asked).items() if field in VOLUMES and isinstance(name, str)]
    return False, []


def _job(row: sqlite3.Row) -> Job:
    return Job(
        spec=JobSpec.model_validate_json(row["asked"]),
        report=json.loads(row["report"] or "null"),
        progress=json.loads(row["progress"] or "null"),
        **{name: row[name] for name in ("id", "state", "detail", "created", "owner", "stopping", "deaths")},
    )
