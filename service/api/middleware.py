"""Middleware: access, rates and limits of bodies; and the log, metrics and headers of every request."""

from __future__ import annotations

import ipaddress
import logging
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request

from service.api.auth import unauthorized
from service.api.bodies import bounded
from service.api.errors import GONE, respond
from service.api.fairness import Turns
from service.api.rate_limit import Rates, host
from service.engine.queue import client as owner
from service.problems import FieldError, Problem, busy, problem_of_host
from service.runtime.logs import choose_id, request_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.api.auth import Access
    from service.runtime.metrics import Metrics
    from service.settings import Settings

# Answers are data: opened as a page, they load nothing, and they appear in no frame.
POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
# Pages load only what this service serves, and use no inline scripts or styles.
PAGE_POLICY: Final = (
    "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
logger = logging.getLogger("service")
access = logging.getLogger("service.requests")

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Probes carry no token and are never refused.
PROBES: Final = frozenset({"/health/live", "/health/ready"})
# A browser sends no token for a page; the page asks the user for it, and sends it with its own requests.
PAGE: Final = "/"
ASSETS: Final = "/assets/"
# Swagger sends no token for the description, so both are open to the service's own machine alone.
DOCUMENTATION: Final = frozenset({"/docs", "/openapi.json"})


class AccessMiddleware:
    """Middleware that checks host, rate, token and turn of a request before its body is read.

    Args:
        app: behind it.
        access: the tokens.
        settings: the limits.
    """

    def __init__(self, app: ASGIApp, access: Access, settings: Settings) -> None:
        self.app = app
        self.access = access
        self.settings = settings
        self.rates = Rates(settings.rate_per_s, settings.rate_burst) if settings.rate_per_s else None
        self.turns = Turns(settings.max_client_requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        authorization = request.headers.get("authorization")
        token = self.access.find(authorization)
        request.state.token = token
        address = scope["client"][0] if scope.get("client") else ""
        known = token is not None and self.access.tokens is not None
        request.state.client = client = f"token {token.name}" if known and token else host(address)
        owner.set(client)
        async with AsyncExitStack() as turn:
            try:
                self._require_trusted_host(request)
                if scope["path"] not in PROBES:
                    # Requests with a wrong token count too, so that guessing is slow.
                    if self.rates and (wait := self.rates.take(client)):
                        detail = f"this client sends more than {self.settings.rate_per_s:g} requests a second"
                        raise busy(detail, wait)
                    if token is None and not _is_open(scope["path"], address):
                        raise unauthorized(sent=authorization is not None)
                    await turn.enter_async_context(self.turns.take(client))
            except Problem as problem:
                await respond(request, problem)(scope, receive, send)
                return
            # Event streams give their turn back early.
            request.state.turn = turn
            await self.app(scope, bounded(receive, self.settings), send)

    def _require_trusted_host(self, request: Request) -> None:
        """Refuse unknown host names, by which a page on the web could reach the service through a browser here.

        Addresses cannot be rebound, so they are never refused (https://en.wikipedia.org/wiki/DNS_rebinding).
        """
        trusted, sent = self.settings.trusted_hosts, request.headers.get("host")
        if trusted is None or sent is None or "*" in trusted:
            return
        name = _host_name(sent)
        if name not in {"localhost", *trusted} and not _is_address(name):
            expected = "an address, localhost or a name listed in EDDYLIFT_TRUSTED_HOSTS"
            error = FieldError("Host", sent, expected)
            raise Problem("misdirected", str(error), [error])


def _host_name(header: str) -> str:
    """The name or address in a Host header, without its port."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_open(path: str, client: str) -> bool:
    """Whether a path is open to an address that sends no token."""
    return path == PAGE or path.startswith(ASSETS) or (path in DOCUMENTATION and _is_here(client))


def _is_here(client: str) -> bool:
    """Whether an address is of this machine."""
    try:
        return ipaddress.ip_address(client).is_loopback
    except ValueError:
        return False


class TelemetryMiddleware:
    """Middleware around everything: an id, a line in the log, metrics and headers for each request.

    Args:
        app: behind it.
        metrics: count requests.
        private: whether answers are only for bearers of a token.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, *, private: bool) -> None:
        self.app = app
        self.metrics = metrics
        self.private = private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and record the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        named = request_id.set(choose_id(Headers(scope=scope).getlist("x-request-id")))
        status, taken, sent = 0, 0, 0
        start = time.perf_counter()

        async def take() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            return message

        async def give(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(scope["path"], MutableHeaders(scope=message))
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, take, give)
        except Exception as error:
            # A fault of this side: the log has the trace, not the answer. An answer that has begun is broken off.
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if not status:
                internal = Problem("internal", "the service failed on this request; its log says more")
                problem = problem_of_host(error, "the request cannot be served") or internal
                await respond(Request(scope), problem)(scope, receive, give)
        finally:
            self._record(scope, status or GONE, time.perf_counter() - start, taken, sent)
            request_id.reset(named)

    def _add_headers(self, path: str, headers: MutableHeaders) -> None:
        headers["X-Request-ID"] = request_id.get() or ""
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Content-Security-Policy"] = PAGE_POLICY if path in {PAGE, "/docs"} else POLICY
        # Objects of volumes and views have a Cache-Control of their own.
        kept = headers.get("Cache-Control")
        if kept is None:
            headers["Cache-Control"] = "no-store"
        elif self.private:
            headers["Cache-Control"] = f"private, {kept}"

    def _record(self, scope: Scope, status: int, seconds: float, taken: int, sent: int) -> None:
        # The template of the route, as the number of paths is unlimited.
        route = getattr(scope.get("route"), "path", "unknown")
        # A client may send any word as a method, and each label makes a series for good.
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.requests.labels(route, method, str(status)).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
        token = scope.get("state", {}).get("token")
        fields = {
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 6),
            "bytes_in": taken,
            "bytes_out": sent,
            "client": scope["client"][0] if scope.get("client") else None,
            "token": token.name if token else None,
        }
        access.info(
            "%(method)s %(route)s %(status)d in %(seconds).3f s, %(bytes_in)d bytes in, %(bytes_out)d out, "
            "%(client)s as %(token)s",
            fields,
            extra={"fields": fields},
        )
