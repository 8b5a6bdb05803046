"""Measurements for Prometheus.

With several workers each one writes into files of a common folder (prometheus_client's multiprocess mode, which it chooses when it
is imported and the variable PROMETHEUS_MULTIPROC_DIR is set; `run.py` sees to it). Then any worker answers for all of them.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from strongroom.server import METRICS_FOLDER

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


_COUNT_SECONDS = 0.2
"""So old may be what other workers tell of this one."""


class Seconds(Histogram):
    """A histogram that takes many observations for little more than the cost of one."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """What `observe` does, for each of them."""
        self._sum.inc(sum(amounts))
        for bucket, count in Tally(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(count)


class Metrics:
    """Counts requests by operation and status, and how long they took. Labels are names of operations: never a path.

    For the event loop's thread alone, but for `render`.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "strongroom_requests", "Requests that were answered.", ["operation", "status"], registry=self._registry
        )
        self._seconds = Seconds(
            "strongroom_request_seconds", "How long answers took.", ["operation"], buckets=_BUCKETS, registry=self._registry
        )
        self._observed: dict[tuple[str, int], list[float]] = {}
        self._stores = Gauge(
            "strongroom_store_up",
            "Whether a secrets store answers, as far as calls have shown.",
            ["role", "type"],
            registry=self._registry,
            multiprocess_mode="livemin",
        )

        self._behind, self._to_delete = (
            Gauge(name, text, ["role", "type"], registry=self._registry, multiprocess_mode="livemostrecent")
            for name, text in (
                ("strongroom_store_behind", "By how many versions a secrets store is behind."),
                ("strongroom_store_to_delete", "How many versions are still to be deleted in a secrets store."),
            )
        )

    def store_has(self, role: str, kind: str, behind: int, to_delete: int) -> None:
        """What is left to do in a secrets store, by the worker that does it."""
        self._behind.labels(role, kind).set(behind)
        self._to_delete.labels(role, kind).set(to_delete)

    def store_is(self, role: str, kind: str, up: bool) -> None:
        """Whether this worker takes a secrets store for up. One that no worker doubts is up."""
        self._stores.labels(role, kind).set(up)

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """Counts one request, together with others that come soon."""
        if not self._observed:
            asyncio.get_running_loop().call_later(_COUNT_SECONDS, self.count)
        self._observed.setdefault((operation, status), []).append(seconds)

    def count(self) -> None:
        """Counts what was observed until now."""
        observed, self._observed = self._observed, {}
        for (operation, status), seconds in observed.items():
            self._requests.labels(operation, str(status)).inc(len(seconds))
            self._seconds.labels(operation).observe_all(seconds)

    def render(self) -> bytes:
        """All measurements, of all workers, as text; of this one up to the last `count`. For any thread."""
        if METRICS_FOLDER not in os.environ:
            return generate_latest(self._registry)
        everything = CollectorRegistry()
        MultiProcessCollector(everything)  # type: ignore[no-untyped-call]
        return generate_latest(everything)
