"""The engine over PostgreSQL: against other queues over the same server, and with a million orders that wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec

import embedded
import postgres_server
import servers
from command import run
from measure import Benchmark, Conditions, Figures, MeasurementFailed, Row, Rule
from ordermill.engine import OrderEngine
from peers import postgres_queues
from stopwatch import Stopwatch

_SINGLE = 20_000
_JOBS = 2_000  # of the peers, which take as long for them
_WAITING = 1_000_000
_CLAIMED = 30_000
_LOT = 5_000
_HANDLER_SECONDS = 0.05
_HANDLED = 4_800
_PROCESSORS = 8
"""Of each engine: 160 orders a second with that handler, so that no machine is in their way."""


def measure_single(conditions: Conditions) -> Figures:
    """Single orders from 64 threads, each acknowledged, until all are Completed by 8 processors."""
    orders = list(embedded.make_orders(conditions.count(_SINGLE)))
    with (
        postgres_server.server() as url,
        OrderEngine(postgres_server.new_database(url), handler=embedded.do_nothing, max_backlog=10_000_000) as engine,
        ThreadPoolExecutor(embedded.THREADS) as clients,
        Stopwatch() as watch,
    ):
        list(clients.map(engine.submit, orders))
        completed = engine.drain(embedded.DRAIN_SECONDS).total_orders_processed
    if completed != len(orders):
        raise MeasurementFailed(f"{completed} of {len(orders)} orders were completed")
    return watch.rate(completed)


def measure_peer(conditions: Conditions, seconds: Callable[[str, int], float]) -> Figures:
    """Single jobs of another queue, until all are done."""
    jobs = conditions.count(_JOBS)
    with postgres_server.server() as url:
        return {"completed_per_second": jobs / seconds(postgres_server.new_database(url), jobs)}


def measure_claims(conditions: Conditions, waiting: int) -> Figures:
    """The first orders of so many that wait: how fast they are claimed and completed."""
    claimed = conditions.count(_CLAIMED)
    with (
        postgres_server.server() as url,
        OrderEngine(postgres_server.new_database(url), handler=embedded.do_nothing, max_backlog=10_000_000) as engine,
    ):
        engine.pause()
        embedded.submit_in_lots(
            engine, embedded.make_orders(claimed + (conditions.count(waiting) if waiting else 0)), _LOT
        )
        engine.resume()
        with Stopwatch() as watch:
            while engine.metrics().total_orders_processed < claimed:
                time.sleep(0.01)
            completed = engine.metrics().total_orders_processed
        engine.pause()
        seconds = watch.seconds
    return {"completed_per_second": completed / seconds}


def measure_engines(conditions: Conditions, engines: int) -> Figures:
    """Orders whose handler waits, through so many servers of ours, each of which is sent its share of them."""
    orders = [
        {"order_id": f"o-{number}", "user_id": f"u-{number % 997}", "item_ids": ["sku-1"], "total_amount": "19.99"}
        for number in range(conditions.count(_HANDLED))
    ]
    with postgres_server.server() as url, ExitStack() as running:
        database = postgres_server.new_database(url)
        options = ("--processors", str(_PROCESSORS))
        ours = [
            running.enter_context(servers.ordermill(database, *options, simulate_seconds=_HANDLER_SECONDS))
            for _ in range(engines)
        ]
        with Stopwatch() as watch:
            for number, server in enumerate(ours):
                server.post_lot(orders[number::engines])
            completed = ours[0].wait_until_completed(at_least=len(orders))
    return {"completed_per_second": completed / watch.seconds}


def _missing_peer(package: str) -> str:
    return postgres_server.missing() or ("" if find_spec(package) else f"{package} is not installed")


_WORK = "20,000 orders by submit from 64 threads over PostgreSQL, each acknowledged, until 8 processors completed all"

BENCHMARKS = (
    Benchmark(
        name="postgres_procrastinate",
        work=_WORK,
        against="Procrastinate over the same server: 2,000 jobs, 64 clients, 8 workers, no-op",
        ours=measure_single,
        theirs=partial(measure_peer, seconds=postgres_queues.procrastinate_seconds),
        rows=(Row("P procrastinate", "completed_per_second", Rule.AT_LEAST, 8),),
        missing=partial(_missing_peer, "procrastinate"),
    ),
    Benchmark(
        name="postgres_dbos",
        work=_WORK,
        against="DBOS over the same server: 2,000 workflows, 64 clients, 8 workers, no-op",
        ours=measure_single,
        theirs=partial(measure_peer, seconds=postgres_queues.dbos_seconds),
        rows=(Row("P dbos", "completed_per_second", Rule.AT_LEAST, 8),),
        missing=partial(_missing_peer, "dbos"),
    ),
    Benchmark(
        name="postgres_backlog",
        work="the first 30,000 of 1,030,000 orders that wait in PostgreSQL, claimed and completed",
        against="30,000 that wait",
        ours=partial(measure_claims, waiting=_WAITING),
        theirs=partial(measure_claims, waiting=0),
        rows=(Row("P backlog", "completed_per_second", Rule.AT_LEAST, 0.8),),
        missing=postgres_server.missing,
    ),
    Benchmark(
        name="postgres_engines",
        work="4,800 orders with a handler of 50 ms through two `ordermill serve` of 8 processors over one PostgreSQL",
        against="the same through one",
        ours=partial(measure_engines, engines=2),
        theirs=partial(measure_engines, engines=1),
        rows=(Row("P engines", "completed_per_second", Rule.AT_LEAST, 1.9),),
        missing=postgres_server.missing,
    ),
)

if __name__ == "__main__":
    run(BENCHMARKS)
