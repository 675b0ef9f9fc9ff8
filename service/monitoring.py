"""What Prometheus is told: one registry an app, so that two apps in a process do not mix."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """All metrics of an app; names and meanings stand with each."""

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


class CountRequests:
    """Middleware that counts and times requests by route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and see what becomes of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        start = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            # The template, not the path, which has no bound; the router leaves it here.
            route = getattr(scope.get("route"), "path", "unknown")
            self.metrics.requests.labels(route, scope["method"], str(status)).inc()
            self.metrics.request_seconds.labels(route).observe(time.perf_counter() - start)
