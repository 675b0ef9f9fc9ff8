"""Traces (OpenTelemetry): FastAPI makes a span of every request, and here are spans of what a request waits for.

They go to ``OTEL_EXPORTER_OTLP_ENDPOINT``, if that is set and the packages of the extra ``telemetry`` are installed.
Otherwise spans are objects that hold nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry import trace

if TYPE_CHECKING:
    from service.engine.inference import InferenceRequest, InferenceResult

tracer = trace.get_tracer("eddylift")


def record(request: InferenceRequest, answer: InferenceResult, *, model: str) -> None:
    """Leave two spans of a request that has just been answered: until its first batch, and from there to its last.

    Args:
        request: what was computed.
        answer: what became of it.
        model: name of the model.
    """
    end = time.time_ns()
    start = end - int(1e9 * (time.monotonic() - request.submitted))
    begun = start + int(1e9 * answer.queue_seconds)
    about: dict[str, str | float] = {"eddylift.model": model, "eddylift.cells": request.cells}
    tracer.start_span("queue", start_time=start, attributes=about).end(begun)
    # Of batches that are shared with others, a request's share alone is its own.
    shared = {**about, "eddylift.compute_seconds": answer.compute_seconds}
    tracer.start_span("compute", start_time=begun, attributes=shared).end(end)
