"""What traces say of a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from service.engine import tracing
from tests.service.wire import NPY, noise, npy

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest
    from fastapi.testclient import TestClient


class Recorder:
    """A tracer that keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, int, int, Mapping[str, object]]] = []

    def start_span(self, name: str, *, start_time: int, attributes: Mapping[str, object]) -> Span:
        return Span(self, name, start_time, attributes)


class Span:
    """A span that has begun."""

    def __init__(self, recorder: Recorder, name: str, start: int, attributes: Mapping[str, object]) -> None:
        self.recorder, self.name, self.start, self.attributes = recorder, name, start, attributes

    def end(self, end: int) -> None:
        self.recorder.spans.append((self.name, self.start, end, self.attributes))


def test_a_request_leaves_spans_of_its_wait_and_its_computation(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(tracing, "tracer", recorder)
    before = time.time_ns()
    body = npy(noise(3, 4, 5, 6))
    assert client.post("/v1/upscale?model=trilinear-x4", content=body, headers={"Content-Type": NPY}).is_success
    after = time.time_ns()
    (queue, start, begun, about), (compute, taken_up, end, shared) = recorder.spans
    assert (queue, compute) == ("queue", "compute")
    assert before <= start <= begun == taken_up <= end <= after
    assert about == {"eddylift.model": "trilinear-x4", "eddylift.cells": 120}
    # A millisecond for two clocks that are read one after the other.
    seconds = shared["eddylift.compute_seconds"]
    assert isinstance(seconds, float)
    assert 0 < seconds < (end - begun) / 1e9 + 1e-3
    assert shared == {**about, "eddylift.compute_seconds": seconds}
