"""What the size of the table costs: reads under load, and throughput, against the same over a small table."""

from __future__ import annotations

from pathlib import Path

import embedded
import servers
import tables
from command import run
from load import Wrk, missing_wrk
from measure import Benchmark, Conditions, Figures, Row, Rule
from ordermill.store.domain.lifecycle import OrderStatus
from tables import Table

_LARGE = Table(10_000_000, OrderStatus.COMPLETED)
_SMALL = Table(10_000, OrderStatus.COMPLETED)
_FILLED = Table(5_000_000, OrderStatus.COMPLETED)
_SECONDS = 5
_READERS = 16
_WRITERS = 8


def read_under_load(database: Path, orders: int, seconds: int) -> Figures:
    """Read orders picked at random, then the metrics, each while orders are posted.

    Args:
        database: made by `tables`.
        orders: how many it has at the least.
        seconds: how long each is read.
    """
    figures: Figures = {}
    with servers.ordermill(database) as server:
        completed = server.completed()
        for name, path, script in (("order", "/orders/", "read_orders.lua"), ("metrics", "/metrics", "")):
            posts = Wrk(f"{server.url}/orders", _WRITERS, seconds, "post_orders.lua")
            cpu_before = server.cpu_seconds()
            reads = Wrk(f"{server.url}{path}", _READERS, seconds, script, ORDERS=str(orders)).finish()
            cpu_seconds = server.cpu_seconds() - cpu_before
            posted = posts.finish()
            completed = server.wait_until_completed(at_least=completed + posted.requests)
            figures[f"{name}_reads_per_second"] = reads.per_second
            figures[f"posts_per_second_beside_{name}_reads"] = posted.per_second
            figures[f"cpu_seconds_per_1000_{name}_reads_and_posts"] = (
                1000 * cpu_seconds / (reads.requests + posted.requests)
            )
    return figures


def read_large(conditions: Conditions) -> Figures:
    """Over the large table, where it is kept: what is posted stays in it."""
    table = _LARGE.scaled(conditions.scale)
    return read_under_load(tables.warm(conditions.table(_LARGE)), table.orders, conditions.seconds(_SECONDS))


def read_small(conditions: Conditions) -> Figures:
    """Over a small table, made anew."""
    table = _SMALL.scaled(conditions.scale)
    return read_under_load(tables.make(table, conditions.folder), table.orders, conditions.seconds(_SECONDS))


def write_filled(conditions: Conditions) -> Figures:
    """Orders in lots, into a table that is full already, where it is kept: they stay in it."""
    return embedded.complete_in_lots(tables.warm(conditions.table(_FILLED)), conditions.count(embedded.MANY))


BENCHMARKS = (
    Benchmark(
        name="reads_by_table_size",
        work="GET /orders/{order_id}, then GET /metrics, with 10 million orders in the table, while orders are posted",
        against="the same with 10 thousand orders",
        ours=read_large,
        theirs=read_small,
        rows=(
            Row("7 orders", "order_reads_per_second", Rule.AT_LEAST, 0.9),
            Row("7 metrics", "metrics_reads_per_second", Rule.AT_LEAST, 0.9),
        ),
        tables=(_LARGE,),
        missing=missing_wrk,
    ),
    Benchmark(
        name="writes_by_table_size",
        work="100,000 orders by submit_many in lots of 500, into a table with 5 million",
        against="the same into an empty table",
        ours=write_filled,
        theirs=embedded.measure_lots,
        rows=(Row("8", "completed_per_second", Rule.AT_LEAST, 0.8),),
        tables=(_FILLED,),
    ),
)

if __name__ == "__main__":
    run(BENCHMARKS)
