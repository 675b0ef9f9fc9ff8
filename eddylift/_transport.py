"""Shared by both clients: addresses, headers, timeouts, retries, and the conversion of errors."""

from __future__ import annotations

import contextlib
import datetime as dt
import http
import io
import ipaddress
import logging
import math
import os
import random
import socket
import ssl
import urllib.request
import uuid
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx2

from eddylift import _errors
from eddylift._codecs import Answer
from eddylift._job_status import JobStatus
from eddylift._progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eddylift._calls import Call
    from eddylift._progress import ProgressCallback

LOCAL = "http://127.0.0.1:8000"
RETRIED = frozenset({408, 429, 502, 503, 504})
# If the service asks for a longer pause, the call fails, and the caller decides.
LONGEST_PAUSE = 60.0
# The service sends the id of a request back with the answer. A proxy may put its own in, which has another beginning.
REQUEST_ID = "X-Request-ID"
OWN_ID = "eddylift-"
# stamina's backoff, if the service names no pause: 0.5, 1, 2, ... seconds, and up to half a second more.
BACKOFF: dict[str, Any] = {"timeout": None, "wait_initial": 0.5, "wait_max": 10.0, "wait_jitter": 0.5}


def _spell_out(record: logging.LogRecord) -> bool:
    """Say in a log record of stamina why a call of ours is repeated; else it has this as attributes alone."""
    reason = str(getattr(record, "stamina.caused_by", ""))
    if hasattr(_errors, reason.partition("(")[0]):
        record.msg = f"{reason}; trying again in {getattr(record, 'stamina.wait_for')} s"
    return True


logging.getLogger("stamina").addFilter(_spell_out)


def address(base_url: str | None, token: str | None) -> tuple[str, str | None]:
    """Return address and token; from the environment if no address is given.

    The token of the environment belongs to its address. It is not sent to another one.
    """
    if base_url is not None:
        return base_url, token
    return os.environ.get("EDDYLIFT_URL", LOCAL), token or os.environ.get("EDDYLIFT_TOKEN")


def settings(base_url: str, token: str | None, timeout: float | None) -> dict[str, Any]:
    """Check and return the arguments of both httpx2 clients.

    Raises:
        InvalidInputError: for an address or a token that HTTP cannot carry, or a timeout that is no time.
    """
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL as error:
        message = f"{base_url!r} is not an address: {error}"
        raise _errors.InvalidInputError(message) from None
    if url.scheme not in {"http", "https"} or not url.host:
        message = f"{base_url!r} is not an address: expected http://host:port or https://host"
        raise _errors.InvalidInputError(message)
    if timeout is not None and not 0 < timeout < math.inf:
        message = f"timeout: {timeout}; expected seconds, more than 0, or None to wait for ever"
        raise _errors.InvalidInputError(message)
    # Velocities hardly compress, and an identity answer has a known length to show progress against.
    headers = {"Accept-Encoding": "identity"}
    if token is not None:
        if not (token.isascii() and token.isprintable() and token):
            message = "the token is empty or has characters that a header cannot carry"
            raise _errors.InvalidInputError(message)
        headers["Authorization"] = f"Bearer {token}"
    connect = 10.0 if timeout is None else min(10.0, timeout)
    # A proxy of the environment would look for a service of this machine on its own.
    direct = {f"{url.scheme}://{url.netloc.decode()}": None} if _is_here(url.host) else {}
    timeouts = httpx2.Timeout(timeout, connect=connect)
    return {"base_url": url, "headers": headers, "timeout": timeouts, "mounts": direct}


def _is_here(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _through(url: httpx2.URL) -> str:
    """Say through which proxy of the environment an address is reached, without its password; empty if directly."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or _is_here(url.host) or urllib.request.proxy_bypass(url.host):
        return ""
    host = proxy.rpartition("@")[2].rpartition("://")[2]
    return f" through the proxy {host} of {url.scheme.upper()}_PROXY or ALL_PROXY (NO_PROXY lists exceptions)"


def headers(call: Call[Any]) -> dict[str, str]:
    """Build the headers of a call; its attempts share them, so that the service can recognise a repetition."""
    own = {**call.headers, REQUEST_ID: f"{OWN_ID}{uuid.uuid4().hex}"}
    if call.body is not None:
        own |= {"Content-Type": call.body.content_type, "Content-Length": str(call.body.size)}
    if call.method == "POST":
        own |= {"Idempotency-Key": uuid.uuid4().hex}
    return own


def pause(call: Call[Any], error: Exception) -> bool | float:
    """Return when to repeat a failed call: after a number of seconds, after a backoff (True), or never (False)."""
    if isinstance(error, _errors.UnreachableError):
        return error.is_temporary
    if not isinstance(error, _errors.ServiceError) or error.status not in RETRIED:
        return False
    if call.computes and error.status == http.HTTPStatus.GATEWAY_TIMEOUT:
        return False  # it would take as long again
    if error.retry_after is None:
        return True
    if error.retry_after > LONGEST_PAUSE:
        return False
    # At random, so that clients that were refused together do not come back together.
    return error.retry_after + random.uniform(0, 0.5)  # noqa: S311 nothing secret


@contextlib.contextmanager
def own_errors(base_url: httpx2.URL, *, has_answered: bool) -> Iterator[None]:
    """Turn httpx2's errors into those of this package.

    Args:
        base_url: address of the service.
        has_answered: whether it has answered before. If it refuses connections now, it may be restarting.
    """
    try:
        yield
    except httpx2.ConnectTimeout:
        message = f"cannot reach {base_url}{_through(base_url)}: no connection in time"
        raise _errors.UnreachableError(message) from None
    except httpx2.TimeoutException as error:
        message = f"{base_url} took too long ({type(error).__name__}): raise the timeout, or send a smaller volume"
        raise _errors.TimedOutError(message) from None
    except (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol) as error:
        raise _errors.InvalidInputError(str(error)) from None
    except httpx2.DecodingError as error:
        message = f"the answer of {base_url} cannot be decoded: {error}"
        raise _errors.UnexpectedAnswerError(message) from None
    except httpx2.ConnectError as error:
        raise _not_connected(error, base_url, has_answered=has_answered) from None
    except httpx2.TransportError as error:
        message = f"cannot reach {base_url}{_through(base_url)}: {str(error) or type(error).__name__}"
        raise _errors.UnreachableError(message) from None


def issue_warnings(answer: Answer, result: object) -> None:
    """Issue the service's warnings, from headers or a report."""
    # A part of what was opened with these warnings, or a status, whose job issues them once.
    if isinstance(result, bytes | JobStatus):
        return
    reported = result.get("warnings") if isinstance(result, dict) else None
    for message in dict.fromkeys([*answer.warnings, *(reported if isinstance(reported, list) else ())]):
        _errors.warn(str(message))


def _not_connected(error: httpx2.ConnectError, base_url: httpx2.URL, *, has_answered: bool) -> _errors.UnreachableError:
    """Make the error for a failed connection: the reason, and what to do about it."""
    if proxy := _through(base_url):
        return _errors.UnreachableError(f"cannot reach {base_url}{proxy}: {error}", is_temporary=has_answered)
    where = "say where the service is by Client(address), --url or EDDYLIFT_URL"
    for cause in _causes(error):
        if isinstance(cause, ConnectionRefusedError):
            message = f"nothing listens at {base_url}: start the service, or {where}"
            return _errors.UnreachableError(message, is_temporary=has_answered)
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            message = f"there is no host {base_url.host} ({cause.strerror}): {where}"
            return _errors.UnreachableError(message, is_temporary=False)
        if isinstance(cause, ssl.SSLCertVerificationError):
            message = f"the certificate of {base_url} is not trusted ({cause}): set SSL_CERT_FILE to its authority's"
            return _errors.UnreachableError(message, is_temporary=False)
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            message = f"no secure connection to {base_url} ({cause}): does the service speak plain http?"
            return _errors.UnreachableError(message, is_temporary=False)
    return _errors.UnreachableError(f"cannot reach {base_url}: {str(error) or type(error).__name__}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give the chain of causes of an error, also those of each address of a host."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
        if isinstance(error, BaseExceptionGroup):
            yield from error.exceptions


class Download:
    """Collects an answer, and reports as it comes.

    Raises:
        UnexpectedAnswerError: if it is the answer to another request.
    """

    def __init__(self, response: httpx2.Response, report: ProgressCallback) -> None:
        asked, answered = response.request.headers.get(REQUEST_ID), response.headers.get(REQUEST_ID, "")
        if answered.startswith(OWN_ID) and answered != asked:
            message = f"{response.url} sent the answer to another request: do processes share a connection?"
            raise _errors.UnexpectedAnswerError(message)
        self._response = response
        self._report = report
        self._content = io.BytesIO()
        length = response.headers.get("Content-Length", "")
        # A proxy may compress nevertheless; then the length is not that of the bytes counted below.
        known = length.isdecimal() and "Content-Encoding" not in response.headers
        self._total = int(length) if known else None
        self._tell()

    def take(self, piece: bytes) -> None:
        """Add the next bytes."""
        self._content.write(piece)
        self._tell()

    def _tell(self) -> None:
        if self._response.is_success:
            self._report(Progress("download", self._content.tell(), self._total))

    def finish(self) -> Answer:
        """Return the whole answer.

        Raises:
            ServiceError: if it has an error status.
            UnexpectedAnswerError: if it is a redirect, which is not followed: the token must not go elsewhere.
        """
        response = self._response
        if response.is_error:
            after = _retry_after(response.headers.get("Retry-After"))
            raise _errors.from_answer(response.status_code, self._content.getvalue(), after)
        if not response.is_success:
            target = response.headers.get("Location", "nowhere")
            message = f"{response.url} answered {response.status_code} and points to {target}: use that address"
            raise _errors.UnexpectedAnswerError(message)
        if "Range" in response.request.headers and response.status_code != http.HTTPStatus.PARTIAL_CONTENT:
            message = f"{response.url} was asked for a part and sent the whole: a proxy between may not know ranges"
            raise _errors.UnexpectedAnswerError(message)
        self._content.seek(0)
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        warnings = tuple(response.headers.get_list("X-Eddylift-Warning"))
        model, boundary = (response.headers.get(name) for name in ("Eddylift-Model", "Eddylift-Boundary"))
        return Answer(content_type, self._content, warnings, model, boundary)


def _retry_after(value: str | None) -> float | None:
    """Read seconds or a date; None for anything else."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=dt.UTC)
    return max(0.0, (date - dt.datetime.now(dt.UTC)).total_seconds())
