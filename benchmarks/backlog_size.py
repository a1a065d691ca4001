"""What a backlog costs: memory, and the time to start."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import dispatch
import embedded
import servers
from command import run
from measure import Benchmark, Conditions, Figures, MeasurementFailed, Row, Rule
from ordermill.engine import Order
from ordermill.store.domain.lifecycle import OrderStatus
from tables import Table

_MANY = 1_000_000
_FEW = 10_000
_KEYS = 10_000
_PENDING = Table(_MANY, OrderStatus.PENDING)
_HANDLER_SECONDS = 1.0  # slow enough to leave the backlog as it is


def measure_memory(
    conditions: Conditions, orders: int, make: Callable[[int], Iterable[Order]] = embedded.make_orders
) -> Figures:
    """The most memory that this process has had while so many orders were taken in and none was completed.

    Args:
        conditions: where.
        orders: how many at full size.
        make: gives so many.
    """
    count = conditions.count(orders)
    may_go_on = threading.Event()

    def block(_: Order) -> None:
        may_go_on.wait()

    database = conditions.folder / "orders.db"
    with embedded.start_engine(database, handler=block) as engine:
        try:
            embedded.submit_in_lots(engine, make(count))
            backlog = engine.metrics().backlog
            peak = _peak_mebibytes()
        finally:
            may_go_on.set()
    if backlog != count:
        raise MeasurementFailed(f"{backlog} of {count} orders are in the backlog")
    return {"peak_mebibytes": peak}


def measure_memory_with_keys(conditions: Conditions, orders: int) -> Figures:
    """The same with orders of 10,000 keys and 100,000 users, which say all that an order may say."""
    return measure_memory(conditions, orders, partial(dispatch.make_orders, keys=_KEYS))


def start_over_backlog(conditions: Conditions) -> Figures:
    """Over a table of Pending orders."""
    return _start(conditions.table(_PENDING))


def start_over_none(conditions: Conditions) -> Figures:
    """Over an empty table."""
    database = conditions.folder / "orders.db"
    _start(database)  # makes it
    return _start(database)


def _start(database: Path) -> Figures:
    began = time.perf_counter()
    with servers.ordermill(database, simulate_seconds=_HANDLER_SECONDS) as server:
        server.get("/healthz")
        return {"seconds_to_answer": time.perf_counter() - began}


def _peak_mebibytes() -> float:
    (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kibibytes) / 1024


BENCHMARKS = (
    Benchmark(
        name="memory_by_backlog",
        work="peak memory with 1 million orders submitted and none completed",
        against="the same with 10 thousand orders",
        ours=partial(measure_memory, orders=_MANY),
        theirs=partial(measure_memory, orders=_FEW),
        rows=(Row("9", "peak_mebibytes", Rule.AT_MOST, 1.3),),
    ),
    Benchmark(
        name="memory_by_backlog_with_keys",
        work="the same with orders of 10,000 keys and 100,000 users that say all that they may",
        against="the same with 10 thousand orders",
        ours=partial(measure_memory_with_keys, orders=_MANY),
        theirs=partial(measure_memory_with_keys, orders=_FEW),
        rows=(Row("9 keys", "peak_mebibytes", Rule.AT_MOST, 1.3),),
    ),
    Benchmark(
        name="start_by_backlog",
        work="start of `ordermill serve` over 1 million Pending orders, until GET /healthz is answered",
        against="the same over none",
        ours=start_over_backlog,
        theirs=start_over_none,
        rows=(Row("10", "seconds_to_answer", Rule.MORE_AT_MOST, 1.0),),
        tables=(_PENDING,),
    ),
)

if __name__ == "__main__":
    run(BENCHMARKS)
