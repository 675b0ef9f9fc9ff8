"""Traces (OpenTelemetry): FastAPI makes a span of each request; these are the spans of its waiting and computing.

They go to ``OTEL_EXPORTER_OTLP_ENDPOINT``, if that is set and the packages of the extra ``telemetry`` are installed.
Otherwise spans do nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry import trace

if TYPE_CHECKING:
    from service.engine.inference import InferenceRequest, InferenceResult

tracer = trace.get_tracer("eddylift")


def record(request: InferenceRequest, answer: InferenceResult) -> None:
    """Record two spans of a request that was just answered: until its first batch, and from there to its last.

    Args:
        request: that was answered.
        answer: to it.
    """
    end = time.time_ns()
    start = end - int(1e9 * (time.monotonic() - request.submitted))
    begun = start + int(1e9 * answer.queue_seconds)
    about: dict[str, str | float] = {"eddylift.model": request.name, "eddylift.cells": request.cells}
    tracer.start_span("queue", start_time=start, attributes=about).end(begun)
    # Its share of batches that it had with other requests.
    shared = {**about, "eddylift.compute_seconds": answer.compute_seconds}
    tracer.start_span("compute", start_time=begun, attributes=shared).end(end)
