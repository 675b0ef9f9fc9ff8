"""Limits on the rate of each client's requests."""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


# When more clients are known, those with a full bucket are forgotten.
MAX_CLIENTS: Final = 10_000
# An IPv6 host has a whole network of addresses: the length of its prefix.
IPV6_HOST: Final = 64


class Rates:
    """A bucket of requests for each client, which fills at a steady rate.

    The package `limits` has no buckets. Its windows let twice as many requests through where two of them meet, or keep
    the time of each request.

    Args:
        per_second: requests by which a bucket fills.
        burst: requests that it holds.
        clock: tells the time, in seconds.
    """

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self.burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, client: str) -> float:
        """Take a request out of a client's bucket; returns 0, or the seconds until there is one."""
        now = self._clock()
        level = self._level(client, now)
        if level < 1:
            return (1 - level) / self.per_second
        if client not in self._buckets and len(self._buckets) >= MAX_CLIENTS:
            self._forget(now)
        self._buckets[client] = level - 1, now
        return 0.0

    def _level(self, client: str, now: float) -> float:
        level, filled = self._buckets.get(client, (float(self.burst), now))
        return min(self.burst, level + (now - filled) * self.per_second)

    def _forget(self, now: float) -> None:
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if self._level(name, now) < self.burst}


def host(address: str) -> str:
    """The name of a client: its address, or the network of an IPv6 host."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, IPV6_HOST), strict=False))
    return address
