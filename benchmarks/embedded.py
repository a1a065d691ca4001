"""The engine in a Python program, against SQLite itself."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import raw
from command import run
from measure import Benchmark, Conditions, Figures, MeasurementFailed, Row, Rule
from ordermill.engine import Order, OrderEngine
from stopwatch import Stopwatch

MANY = 100_000
SINGLE = 50_000
THREADS = 64
DRAIN_SECONDS = 600


def make_orders(count: int) -> Iterator[Order]:
    """So many orders, with the content that the raw limit writes too, and ids that no other call gives."""
    amount = Decimal("19.99")
    prefix = secrets.token_hex(4)
    for number in range(1, count + 1):
        yield Order(
            order_id=f"{prefix}-{number:08d}",
            user_id=f"u-{number % 1000}",
            item_ids=("sku-1", "sku-2"),
            total_amount=amount,
        )


def do_nothing(_: Order) -> None:
    """A handler."""


def start_engine(database: Path, **settings: Any) -> OrderEngine:
    """An engine whose backlog takes whatever a benchmark submits."""
    return OrderEngine(database, max_backlog=10_000_000, **{"handler": do_nothing, **settings})


def submit_in_lots(engine: OrderEngine, orders: Iterable[Order], lot: int = raw.LOT) -> None:
    """Submit from one thread, a lot at a time, each acknowledged before the next."""
    rest = iter(orders)
    while some := list(islice(rest, lot)):
        engine.submit_many(some)


def complete_in_lots(database: Path, count: int, lot: int = raw.LOT, clients: int = 1) -> Figures:
    """Submit orders in lots, and wait until all are Completed.

    Args:
        database: its file, new or with orders already.
        count: how many.
        lot: orders in each lot.
        clients: threads that submit, each a share of the orders.
    """
    orders = list(make_orders(count))
    with start_engine(database) as engine, ThreadPoolExecutor(clients) as threads:
        before = engine.metrics().total_orders_processed
        with Stopwatch() as watch:
            shares = [orders[number * count // clients : (number + 1) * count // clients] for number in range(clients)]
            for submitted in [threads.submit(submit_in_lots, engine, share, lot) for share in shares]:
                submitted.result()
            completed = engine.drain(DRAIN_SECONDS).total_orders_processed - before
    if completed != count:
        raise MeasurementFailed(f"{completed} of {count} orders were completed")
    return watch.rate(count)


def measure_lots(conditions: Conditions) -> Figures:
    """Orders in lots, into a new database."""
    return complete_in_lots(conditions.folder / "orders.db", conditions.count(MANY))


def measure_single(conditions: Conditions) -> Figures:
    """Single orders from many threads, each acknowledged before the thread's next."""
    orders = list(make_orders(conditions.count(SINGLE)))
    with (
        start_engine(conditions.folder / "orders.db") as engine,
        ThreadPoolExecutor(THREADS) as threads,
        Stopwatch() as watch,
    ):
        for share in [threads.submit(_submit_each, engine, orders[number::THREADS]) for number in range(THREADS)]:
            share.result()
        completed = engine.drain(DRAIN_SECONDS).total_orders_processed
    if completed != len(orders):
        raise MeasurementFailed(f"{completed} of {len(orders)} orders were completed")
    return watch.rate(completed)


def _submit_each(engine: OrderEngine, orders: list[Order]) -> None:
    for order in orders:
        engine.submit(order)


_LIMIT = "sqlite3.executemany of the same rows and updates, 500 orders a transaction"

BENCHMARKS = (
    Benchmark(
        name="embedded_lots",
        work="100,000 orders by submit_many in lots of 500, until all are Completed",
        against=_LIMIT,
        ours=measure_lots,
        theirs=partial(raw.measure_limit, orders=MANY),
        rows=(Row("1", "completed_per_second", Rule.AT_LEAST, 0.70),),
    ),
    Benchmark(
        name="embedded_single",
        work="50,000 orders by submit from 64 threads, each acknowledged, until all are Completed",
        against=_LIMIT,
        ours=measure_single,
        theirs=partial(raw.measure_limit, orders=SINGLE),
        rows=(Row("2", "completed_per_second", Rule.AT_LEAST, 0.20),),
    ),
)

if __name__ == "__main__":
    run(BENCHMARKS)
