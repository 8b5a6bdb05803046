"""Measurements for Prometheus."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from strongroom.server.metrics import Metrics, Seconds

BUCKETS = (0.001, 0.5, 1)


@given(st.lists(st.sampled_from([0.0, 2**-11, 0.25, 0.5, 0.75, 1.0, 64.0])))
def test_many_observations_at_once_are_so_many_observations(amounts: list[float]) -> None:
    """Sum, count and each bucket are what they are when each amount is observed by itself."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    Seconds("s", "Seconds.", ["of"], registry=ours, buckets=BUCKETS).labels("x").observe_all(amounts)
    one_by_one = Histogram("s", "Seconds.", ["of"], registry=theirs, buckets=BUCKETS).labels("x")
    for amount in amounts:
        one_by_one.observe(amount)
    shown = [[line for line in generate_latest(each).splitlines() if b"_created" not in line] for each in (ours, theirs)]
    assert shown[0] == shown[1]


def test_what_was_observed_is_counted_a_moment_later() -> None:
    """By itself, each once, by operation and status."""
    metrics = Metrics()

    async def main() -> None:
        for status in (200, 200, 404):
            metrics.observe("secret.get", status, 0.002)
        while b'status="404"' not in metrics.render():
            await asyncio.sleep(0)
        metrics.count()

    asyncio.run(main())
    shown = metrics.render().decode()
    assert 'strongroom_requests_total{operation="secret.get",status="200"} 2.0' in shown
    assert 'strongroom_requests_total{operation="secret.get",status="404"} 1.0' in shown
    assert 'strongroom_request_seconds_bucket{le="0.001",operation="secret.get"} 0.0' in shown
    assert 'strongroom_request_seconds_bucket{le="0.0025",operation="secret.get"} 3.0' in shown
    assert 'strongroom_request_seconds_count{operation="secret.get"} 3.0' in shown
