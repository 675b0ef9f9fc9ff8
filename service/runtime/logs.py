"""The log: its formats, and the id of the request that a line belongs to."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from contextvars import ContextVar
from typing import Any, Final, Literal

# Of the request that is being served; tasks and threads that it starts inherit it.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def choose_id(sent: list[str]) -> str:
    """The id that a client or a proxy sent, if it is safe in headers and logs; otherwise a new one."""
    if len(sent) == 1 and REQUEST_ID.fullmatch(sent[0]):
        return sent[0]
    return uuid.uuid4().hex


class JsonFormatter(logging.Formatter):
    """Lines of JSON: time, level, logger, message, request_id, the record's own fields, and a trace."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (current := request_id.get()) is not None:
            entry["request_id"] = current
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class TextFormatter(logging.Formatter):
    """Lines for people. Control characters are escaped, so that nothing a client sent can begin a line of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s]: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 as logging calls it
        """Write a record, without its trace."""
        record.request_id = request_id.get() or "-"
        return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: repr(match[0])[1:-1], super().formatMessage(record))


def configure(style: Literal["text", "json"]) -> None:
    """Log to standard error, from INFO on, also what Python warns of."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # Those of libraries, which would be written past the log.
    logging.captureWarnings(True)  # noqa: FBT003 so it is called
