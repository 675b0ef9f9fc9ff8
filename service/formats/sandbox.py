"""The sandbox: reads foreign containers in processes of their own.

HDF5, Zarr and their codecs are C libraries that are not made for hostile input: a few wrong bytes can hang or crash
them. A reading process has limits on time and memory; when it fails, only its request fails.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import queue
import resource
import signal
import traceback
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from service.formats.containers import Body, Container, Opened, recognise
from service.formats.volume import ReadOptions, Volume, read
from service.problems import Problem, invalid_field, malformed, problem_of_host, unready
from service.settings import Settings

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


logger = logging.getLogger("service.sandbox")
# Forked from a process that has imported the libraries, not from this one, which has threads and may hold a GPU.
START: Final = multiprocessing.get_context("forkserver")
PRELOAD: Final = ["service.formats.sandbox"]
START.set_forkserver_preload(PRELOAD)
# Largest memory of a reading process: ROOM times the longest body and its decoded content, and SPARE bytes.
ROOM: Final = 4
SPARE: Final = 2 << 30
# The first process waits for imports.
STARTING_S: Final = 120
FAILED: Final = "the body cannot be read"


class Reading(NamedTuple):
    """A volume that has been read.

    Attributes:
        container: of the body.
        opened: writes answers in it; its content is dropped.
        volume: the velocity and its layout.
    """

    container: Container
    opened: Opened
    volume: Volume


def read_body(body: Body, settings: Settings, options: ReadOptions) -> Reading:
    """Read a body, and check that everything beside the velocity can be sent back.

    Args:
        body: a coarse volume or a reference.
        settings: for limits.
        options: how it is read.

    Raises:
        Problem: if it is no known container or layout, or over a limit.
    """
    container = recognise(body)
    opened = container.open(body.content, settings)
    volume = read(opened.content, settings, options)
    try:
        opened.write(volume.layout.dry_run())
    except Exception as error:  # writers raise anything on foreign attributes
        found = f"not writable: {type(error).__name__}"
        unfit = invalid_field(field="attributes", value=found, expected="text and numbers")
        raise problem_of_host(error, FAILED) or unfit from error
    opened.content = None
    return Reading(container, opened, volume)


Task = Callable[[Body, Settings, ReadOptions], Reading]


def _work(connection: Connection, settings: Settings, task: Task) -> None:
    """Serve in a reading process, until the connection is closed."""
    # Sent to all processes of the service; bodies that were admitted are still read.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    # Of what is odd in bodies; a reading process has no log.
    warnings.simplefilter("ignore")
    used = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    room = used + SPARE + ROOM * (settings.max_body_bytes + settings.max_decoded_bytes)
    # Not every system has this limit.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
    connection.send(None)
    while True:
        try:
            body, options = connection.recv()
        except EOFError:
            return
        try:
            connection.send(task(body, settings, options))
        except Problem as problem:
            # Its cause may be an error of a library that cannot be pickled.
            problem.__cause__ = problem.__context__ = None
            connection.send(problem.with_traceback(None))
        except Exception as error:  # noqa: BLE001 a bug, which the service logs, if it is not the host
            connection.send(problem_of_host(error, FAILED) or RuntimeError(traceback.format_exc()))


class _Process:
    """One reading process."""

    def __init__(self, settings: Settings, task: Task) -> None:
        self.connection, theirs = START.Pipe()
        self.process = START.Process(target=_work, args=(theirs, settings, task), daemon=True, name="reader")
        self.process.start()
        theirs.close()
        try:
            self.wait(STARTING_S)
        except (EOFError, OSError):
            self.close()
            raise

    def wait(self, seconds: float) -> Reading | Exception | None:
        """Its answer; raises ``EOFError`` if it ended, ``TimeoutError`` if it takes too long."""
        if not self.connection.poll(seconds):
            raise TimeoutError
        outcome: Reading | Exception | None = self.connection.recv()
        return outcome

    def close(self, grace_s: float = 0) -> None:
        """End it, whatever it does; an idle one ends by itself within the grace."""
        self.connection.close()
        self.process.join(grace_s)
        self.process.kill()
        self.process.join()


class Sandbox:
    """Processes that read bodies, up to ``readers``; each is started when it is first needed.

    Args:
        settings: for limits.
        task: reads a body; tests have others.
    """

    def __init__(self, settings: Settings, task: Task = read_body) -> None:
        self.settings = settings
        self.task = task
        # The process that was used last is used first.
        self._places: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(settings.readers):
            self._places.put(None)
        self._running: set[_Process] = set()

    def _start(self) -> _Process:
        try:
            process = _Process(self.settings, self.task)
        except (EOFError, OSError) as error:
            detail = "no process that reads bodies can be started"
            raise unready(detail) from error
        self._running.add(process)
        return process

    def _end(self, process: _Process, grace_s: float = 0) -> None:
        self._running.discard(process)
        process.close(grace_s)

    def warm(self) -> None:
        """Start the first process, so that the first body does not wait for imports."""
        place = self._places.get()
        try:
            place = place or self._start()
        finally:
            self._places.put(place)

    def read(self, body: Body, options: ReadOptions = ReadOptions()) -> Reading:  # noqa: B008 a tuple
        """Read a body; see [`read_body`][service.formats.sandbox.read_body].

        Raises:
            Problem: also if reading takes too long or breaks its process.
        """
        if not recognise(body).foreign:
            return read_body(body, self.settings, options)
        process = self._places.get()
        try:
            if process and not process.process.is_alive():
                self._end(process)
                process = None
            process = process or self._start()
            process.connection.send((body, options))
            outcome = process.wait(self.settings.read_timeout_s)
        except (EOFError, OSError, MemoryError) as error:
            # TimeoutError is an OSError.
            slow, ended, cause = isinstance(error, TimeoutError), isinstance(error, EOFError | ConnectionError), error
            # What it sent may be left in the pipe.
            if process:
                self._end(process, grace_s=1 if ended else 0)
                if ended and process.process.exitcode == -signal.SIGKILL:
                    cause = MemoryError()  # so the system ends what takes too much
            process = None
            if problem := problem_of_host(cause, FAILED):
                raise problem from error
            logger.warning("a body of %d bytes %s its reader", len(body.content), "held up" if slow else "broke")
            value = f"not read after {self.settings.read_timeout_s:g} s" if slow else "broken: it ended its reader"
            raise malformed(field="body", value=value, expected="a whole volume") from error
        finally:
            self._places.put(process)
        if isinstance(outcome, Exception):
            raise outcome
        assert outcome is not None  # noqa: S101 only the first answer is None
        return outcome

    def close(self) -> None:
        """End all processes, also those at work."""
        for process in list(self._running):
            self._end(process, grace_s=1)
