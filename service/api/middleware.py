"""What every request passes before a route sees it: whose it is, how often they ask, and how its body comes."""

from __future__ import annotations

import ipaddress
import logging
import time
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request

from service.api.auth import unauthorized
from service.api.bodies import bounded
from service.api.errors import GONE, respond
from service.api.rate_limit import Rates, host
from service.problems import Problem, busy
from service.runtime.logs import choose_id, request_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.api.auth import Access
    from service.runtime.metrics import Metrics
    from service.settings import Settings

# Answers are data: a browser that takes one for a page loads nothing and shows it in no frame.
POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
# The documentation is a page, whose script and style come from where FastAPI says.
DOCS_POLICY: Final = (
    "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    "style-src 'unsafe-inline' https://cdn.jsdelivr.net; img-src 'self' data: https://fastapi.tiangolo.com; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
logger = logging.getLogger("service")
access = logging.getLogger("service.requests")

# Probes carry no token and are never turned away.
PROBES: Final = frozenset({"/health/live", "/health/ready"})
# A browser sends no token for a page: these are open to the service's own machine.
DOCUMENTATION: Final = frozenset({"/docs", "/openapi.json"})


class AccessMiddleware:
    """Middleware that refuses before anything of a body is read.

    Args:
        app: what is guarded.
        access: the tokens.
        settings: the limits.
        rates: those of the settings if None.
    """

    def __init__(self, app: ASGIApp, access: Access, settings: Settings, rates: Rates | None = None) -> None:
        self.app = app
        self.access = access
        self.settings = settings
        if rates is None and settings.rate_per_s:
            rates = Rates(settings.rate_per_s, settings.rate_burst)
        self.rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        authorization = request.headers.get("authorization")
        token = self.access.find(authorization)
        request.state.token = token
        path = scope["path"]
        client = scope["client"][0] if scope.get("client") else ""
        if path not in PROBES:
            known = token is not None and self.access.tokens is not None
            # Also of those with a wrong token, so that guessing is slow.
            wait = self.rates.take(f"token {token.name}" if known and token else host(client)) if self.rates else 0.0
            if wait:
                problem = busy(f"this client asks more often than {self.settings.rate_per_s:g} times a second", wait)
                await respond(request, problem)(scope, receive, send)
                return
            if token is None and not (path in DOCUMENTATION and _is_here(client)):
                problem = unauthorized(sent=authorization is not None)
                await respond(request, problem)(scope, receive, send)
                return
        await self.app(scope, bounded(receive, self.settings), send)


def _is_here(client: str) -> bool:
    """Whether an address is of this machine itself."""
    try:
        return ipaddress.ip_address(client).is_loopback
    except ValueError:
        return False


class TelemetryMiddleware:
    """Middleware around everything: each request gets an id, a line in the log, its count and its time, and headers.

    Args:
        app: what is observed.
        metrics: what is counted in.
        private: whether answers are for those with a token alone.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, *, private: bool) -> None:
        self.app = app
        self.metrics = metrics
        self.private = private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and see what becomes of it."""
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
        except Exception:
            # It is ours. The log has the trace, the answer does not; one that has begun is broken off.
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if not status:
                problem = Problem("internal", "the service failed on this request; its log says more")
                await respond(Request(scope), problem)(scope, receive, give)
        finally:
            self._tell(scope, status or GONE, time.perf_counter() - start, taken, sent)
            request_id.reset(named)

    def _add_headers(self, path: str, headers: MutableHeaders) -> None:
        headers["X-Request-ID"] = request_id.get() or ""
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Content-Security-Policy"] = DOCS_POLICY if path == "/docs" else POLICY
        # Objects of volumes and views say themselves that they may be kept, if they are asked for again.
        kept = headers.get("Cache-Control")
        if kept is None:
            headers["Cache-Control"] = "no-store"
        elif self.private:
            headers["Cache-Control"] = f"private, {kept}"

    def _tell(self, scope: Scope, status: int, seconds: float, taken: int, sent: int) -> None:
        # The template, not the path, which has no bound; the router leaves it here.
        route = getattr(scope.get("route"), "path", "unknown")
        self.metrics.requests.labels(route, scope["method"], str(status)).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
        token = scope.get("state", {}).get("token")
        fields = {
            "method": scope["method"],
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
