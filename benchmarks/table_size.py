"""What the size of the table costs: reads under load, and throughput, against the same over a small table."""

from __future__ import annotations

import random
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from statistics import quantiles
from urllib.parse import quote

import embedded
import servers
import tables
from command import run
from load import Wrk, missing_wrk
from measure import Benchmark, Conditions, Figures, MeasurementFailed, Row, Rule
from ordermill.store.domain.lifecycle import OrderStatus
from tables import Table

_LARGE = Table(10_000_000, OrderStatus.COMPLETED)
_SMALL = Table(10_000, OrderStatus.COMPLETED)
_FILLED = Table(5_000_000, OrderStatus.COMPLETED)
_VARIED_LARGE = Table(10_000_000, OrderStatus.COMPLETED, failed_each=97)
_VARIED_SMALL = Table(10_000, OrderStatus.COMPLETED, failed_each=97)
_ASKED = 200
_EPOCH_SECONDS = 1_767_225_600  # when the first of the orders came, one each microsecond
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


def find(database: Path, orders: int, asked: int) -> Figures:
    """Ask for pages of lists, by each filter and some of them together, and for the pages of the dashboard.

    Args:
        database: made by `tables`.
        orders: how many it has.
        asked: how often each is asked for, every time with other values.

    Returns:
        Below which time 95 of 100 answers came, of the slowest of them all, and of all together.
    """
    chance = random.Random(1)
    took: dict[str, list[float]] = {}
    with servers.ordermill(database) as server, closing(server.connect()) as client:
        for _ in range(asked):
            number = chance.randrange(orders)
            begin = quote(datetime.fromtimestamp(_EPOCH_SECONDS + number / 1e6, UTC).isoformat())
            values = {
                "number": number,
                "user": f"u-{number % 1000}",
                "begin": begin,
                "end": quote(datetime.fromtimestamp(_EPOCH_SECONDS + number / 1e6 + 0.01, UTC).isoformat()),
                "error": f"ProviderDown{quote(f': no answer from {number % 10}') if number % 2 else ''}",
            }
            for path in _PATHS:
                began = time.perf_counter()
                client.request("GET", path.format_map(values))
                answer = client.getresponse()
                body = answer.read()
                took.setdefault(path, []).append(1000 * (time.perf_counter() - began))
                if answer.status != HTTPStatus.OK:
                    raise MeasurementFailed(f"GET {path.format_map(values)} answers {answer.status}: {body[:200]!r}")
    slowest = {path: quantiles(times, n=20)[-1] for path, times in took.items()}
    path = max(slowest, key=slowest.__getitem__)
    print(f"  the slowest of {len(slowest)}: {path}", file=sys.stderr)
    together = [milliseconds for times in took.values() for milliseconds in times]
    return {"slowest_p95_ms": slowest[path], "all_p95_ms": quantiles(together, n=20)[-1]}


_LISTS = (
    "",
    "&cursor={number:x}",
    "&status=Completed",
    "&status=Failed&cursor={number:x}",
    "&user_id={user}",
    "&user_id={user}&status=Failed",
    "&user_id={user}&status=Pending",
    "&order_id_prefix=t-{number}",
    "&order_id_prefix=t-1&user_id={user}",
    "&error={error}",
    "&error={error}&user_id={user}",
    "&created_from={begin}&created_to={end}",
    "&created_from={begin}&user_id={user}&status=Failed",
    "&updated_from={begin}&updated_to={end}",
    "&updated_from={begin}&status=Failed&error={error}",
    "&created_to={begin}&order_id_prefix=t-9&status=Completed",
)
_PATHS = (
    *(f"/orders?limit=100{filters}" for filters in _LISTS),
    "/failures",
    "/metrics",
    "/dashboard/",
    "/dashboard/orders/",
    "/dashboard/orders/?user_id={user}",
    "/dashboard/orders/?status=Failed",
    "/dashboard/orders/t-{number}",
    "/dashboard/failures/",
)


def find_in_large(conditions: Conditions) -> Figures:
    """In the large table, where it is kept."""
    table = _VARIED_LARGE.scaled(conditions.scale)
    return find(tables.warm(conditions.table(_VARIED_LARGE)), table.orders, conditions.count(_ASKED))


def find_in_small(conditions: Conditions) -> Figures:
    """In a small table, made anew."""
    table = _VARIED_SMALL.scaled(conditions.scale)
    return find(tables.make(table, conditions.folder), table.orders, conditions.count(_ASKED))


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
        name="lists_by_table_size",
        work="lists by 16 filters, and pages of the dashboard, one after the other, over 10 million orders: 95 of 100",
        against="the same with 10 thousand orders",
        ours=find_in_large,
        theirs=find_in_small,
        rows=(Row("7 lists", "slowest_p95_ms", Rule.MORE_AT_MOST, 100.0),),
        tables=(_VARIED_LARGE,),
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
