"""What is told of requests: to Prometheus, to the log and to the client."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request

from service.errors import GONE, Problem, respond
from service.logs import choose_id, request_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
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


class Metrics:
    """All metrics of an app, in a registry of its own, so that two apps in a process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        to = self.registry
        self.requests = Counter(
            "eddylift_requests",
            "Requests answered; 499 is a client that went away.",
            ["route", "method", "status"],
            registry=to,
        )
        self.request_seconds = Histogram(
            "eddylift_request_seconds",
            "From the head of a request to its last byte.",
            ["route"],
            buckets=SECONDS,
            registry=to,
        )
        self.errors = Counter("eddylift_errors", "Problem documents sent, by kind.", ["kind"], registry=to)
        self.open_requests = Gauge("eddylift_open_requests", "Requests that hold a volume.", registry=to)
        self.queue_blocks = Gauge("eddylift_queue_blocks", "Blocks waiting for the device.", registry=to)
        self.queue_cells = Gauge("eddylift_queue_cells", "Coarse cells waiting or being computed.", registry=to)
        self.queue_seconds = Histogram(
            "eddylift_queue_seconds", "From a request's admission to its first batch.", buckets=SECONDS, registry=to
        )
        self.batch_blocks = Histogram(
            "eddylift_batch_blocks", "Blocks in a batch.", ["model"], buckets=SIZES, registry=to
        )
        self.batch_requests = Histogram(
            "eddylift_batch_requests", "Requests that share a batch.", ["model"], buckets=SIZES, registry=to
        )
        self.compute_seconds = Histogram(
            "eddylift_compute_seconds", "Time on the device, by batch.", ["model"], buckets=SECONDS, registry=to
        )
        self.voxels = Counter("eddylift_fine_voxels", "Fine voxels computed.", ["model"], registry=to)
        self.out_of_memory = Counter("eddylift_out_of_memory", "Batches that did not fit the device.", registry=to)
        self.dropped_blocks = Counter(
            "eddylift_dropped_blocks", "Blocks not computed because nobody waits for them any more.", registry=to
        )
        self.ready = Gauge("eddylift_ready", "1 once the models are warm.", registry=to)
        ProcessCollector(registry=to)


class Observe:
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
                problem = Problem(500, "internal", "the service failed on this request; its log says more")
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
