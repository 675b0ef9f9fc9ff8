"""What Prometheus is told that nobody counts as it happens: it is looked up when Prometheus asks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, get_args

import torch
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from service.ledger import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from service.dependencies import Service


class Watch(Collector):
    """Jobs, blocks that were computed for them and for views, and the memory of a GPU.

    It reads the list of jobs: collect it outside the event loop.

    Args:
        service: what is watched.
    """

    def __init__(self, service: Service) -> None:
        self.service = service

    def collect(self) -> Iterator[Metric]:
        """Look all of it up."""
        jobs = GaugeMetricFamily("eddylift_jobs", "Jobs on the list, by state.", labels=["state"])
        states = Counter(job.state for job in self.service.jobs.ledger.all())
        for state in get_args(State):
            jobs.add_metric([state], states[state])
        yield jobs
        blocks = CounterMetricFamily(
            "eddylift_volume_blocks", "Blocks of stored volumes computed in this process.", labels=["purpose"]
        )
        blocks.add_metric(["view"], self.service.views.computed)
        blocks.add_metric(["job"], self.service.jobs.computed)
        yield blocks
        memory = GaugeMetricFamily(
            "eddylift_device_memory_bytes", "Memory of the GPU, that of other processes with it.", labels=["state"]
        )
        place = self.service.shelf.device.place
        if place.type == "cuda":
            free, total = torch.cuda.mem_get_info(place)
            memory.add_metric(["free"], free)
            memory.add_metric(["used"], total - free)
        yield memory
