"""What it costs to decide which order is next: where orders say all that they may, and where they say nothing of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

import embedded
from command import run
from measure import Benchmark, Conditions, Figures, MeasurementFailed, Row, Rule
from ordermill.engine import Order
from stopwatch import Stopwatch

_MANY = 100_000
_ORDERS_OF_A_KEY = 10
_USERS = 100_000
_QUEUES = ("default", "mail", "print", "ship")
_PRIORITIES = (4, 4, 9, 4, 4, 4, 4, 0, 4, 4)
# None of them is reached: how fast orders may be begun is not what is measured.
LIMITS = "queue:mail=100000 1000000/s, user=1000, metadata.provider=100000"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def make_orders(count: int, keys: int | None = None) -> Iterator[Order]:
    """So many orders that say all that an order may say, and ids that no other call gives.

    Args:
        count: how many.
        keys: how many keys they have; by default, so many that each is the key of ten.
    """
    now = datetime.now(UTC)
    keys = keys or max(1, count // _ORDERS_OF_A_KEY)
    for number, order in enumerate(embedded.make_orders(count), start=1):
        yield replace(
            order,
            user_id=f"u-{number % _USERS}",
            priority=_PRIORITIES[number // len(_QUEUES) % len(_PRIORITIES)],
            not_before=now - timedelta(minutes=1),
            complete_by=now + timedelta(hours=6),
            key=f"k-{number % keys}",
            queue=_QUEUES[number % len(_QUEUES)],
            metadata={"provider": f"p-{number % 7}", "reference": number},
        )


def measure_all_in_use(conditions: Conditions) -> Figures:
    """Orders that say all that they may, under limits."""
    return _work_off(conditions, list(make_orders(conditions.count(_MANY))), {"limits": LIMITS})


def measure_plain(conditions: Conditions) -> Figures:
    """As many that say nothing."""
    return _work_off(conditions, list(embedded.make_orders(conditions.count(_MANY))), _NOTHING)


def _work_off(conditions: Conditions, orders: list[Order], settings: Mapping[str, Any]) -> Figures:
    # First all are accepted, then all are claimed and completed, so that each is measured alone.
    count = len(orders)
    with embedded.start_engine(conditions.folder / "orders.db", **settings) as engine:
        engine.pause()
        with Stopwatch() as accepting:
            embedded.submit_in_lots(engine, orders)
        with Stopwatch() as working:
            engine.resume()
            completed = engine.drain(embedded.DRAIN_SECONDS).total_orders_processed
    if completed != count:
        raise MeasurementFailed(f"{completed} of {count} orders were completed")
    return {
        "claimed_per_second": count / working.seconds,
        "cpu_seconds_per_1000_claimed": 1000 * working.cpu_seconds / count,
        "cpu_seconds_per_1000": 1000 * (accepting.cpu_seconds + working.cpu_seconds) / count,
    }


BENCHMARKS = (
    Benchmark(
        name="all_in_use",
        work="100,000 orders that say all that they may, under limits, from resume() until all are Completed",
        against="the same with orders that say nothing of it",
        ours=measure_all_in_use,
        theirs=measure_plain,
        rows=(
            Row("A", "claimed_per_second", Rule.AT_LEAST, 0.8),
            Row("A", "cpu_seconds_per_1000_claimed", Rule.AT_MOST, 1.25),
            Row("A whole", "cpu_seconds_per_1000", Rule.AT_MOST, 1.5),
        ),
    ),
)

if __name__ == "__main__":
    run(BENCHMARKS)
