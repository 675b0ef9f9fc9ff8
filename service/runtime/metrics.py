"""Metrics for Prometheus."""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING

import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.core import Metric


logger = logging.getLogger("service.metrics")
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


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
        self.job_failures = Counter(
            "eddylift_job_failures", "Jobs that failed, by kind of problem.", ["kind"], registry=to
        )
        self.event_streams = Gauge("eddylift_event_streams", "Clients that watch a job.", registry=to)
        self.discoveries = Gauge("eddylift_discoveries", "Discoveries that are computed or wait.", registry=to)
        self.ready = Gauge(
            "eddylift_ready", "1 while the service can compute, which it can once a model is loaded.", registry=to
        )
        ProcessCollector(registry=to)
        # Alerts compare with earlier values, so these series must exist before the first error.
        for counter in (self.errors, self.job_failures):
            counter.labels("no-room")


class StateCollector(Collector):
    """Metrics that are looked up when Prometheus asks. This may take a while: collect outside the event loop.

    Args:
        jobs: counts jobs by their state.
        blocks: counts blocks computed in this process, by their purpose.
        device: whose memory is reported if it is a GPU.
    """

    def __init__(
        self, jobs: Callable[[], Mapping[str, int]], blocks: Callable[[], Mapping[str, int]], device: torch.device
    ) -> None:
        self.jobs = jobs
        self.blocks = blocks
        self.device = device

    def collect(self) -> Iterator[Metric]:
        """Look them up."""
        jobs = GaugeMetricFamily("eddylift_jobs", "Jobs on the list, by state.", labels=["state"])
        try:
            counts = self.jobs()
        except sqlite3.Error:
            logger.exception("the list of jobs cannot be read")  # the other metrics can
            counts = {}
        for state, count in counts.items():
            jobs.add_metric([state], count)
        yield jobs
        blocks = CounterMetricFamily(
            "eddylift_volume_blocks", "Blocks of stored volumes computed in this process.", labels=["purpose"]
        )
        for purpose, count in self.blocks().items():
            blocks.add_metric([purpose], count)
        yield blocks
        memory = GaugeMetricFamily(
            "eddylift_device_memory_bytes", "Memory of the GPU, including that of other processes.", labels=["state"]
        )
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            memory.add_metric(["free"], free)
            memory.add_metric(["used"], total - free)
        yield memory
