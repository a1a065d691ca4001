"""Orders over HTTP, one a request, against what one would write with FastAPI instead."""

from __future__ import annotations

import time
from functools import partial

import servers
from command import run
from load import Wrk, missing_wrk
from measure import Benchmark, Conditions, Figures, Row, Rule

_SECONDS = 10


def post_and_complete(server: servers.Server, connections: int, seconds: int) -> Figures:
    """Post orders, and wait until all that were taken are Completed.

    Args:
        server: without any orders.
        connections: that send, each one order at a time.
        seconds: how long they do.
    """
    return _complete(server, Wrk(f"{server.url}/orders", connections, seconds, "post_orders.lua"))


def post_lots_and_complete(server: servers.Server, connections: int, seconds: int, lot: int) -> Figures:
    """The same, many orders a request.

    Args:
        server: without any orders.
        connections: that send, each one lot at a time.
        seconds: how long they do.
        lot: orders in a request.
    """
    url = f"{server.url}/orders/bulk"
    return _complete(server, Wrk(url, connections, seconds, "bulk_orders.lua", ORDERS_LOT=str(lot)), lot)


def _complete(server: servers.Server, wrk: Wrk, lot: int = 1) -> Figures:
    cpu_before = server.cpu_seconds()
    began = time.perf_counter()
    load = wrk.finish()
    completed = server.wait_until_completed(at_least=load.requests * lot)
    seconds = time.perf_counter() - began
    return {
        "accepted_per_second": load.per_second * lot,
        "p99_ms": load.p99_ms,
        "completed_per_second": completed / seconds,
        "cpu_seconds_per_1000": 1000 * (server.cpu_seconds() - cpu_before) / completed,
    }


def measure_ours(conditions: Conditions, connections: int, options: tuple[str, ...] = ()) -> Figures:
    """A fresh server of ours."""
    with servers.ordermill(conditions.folder / "orders.db", *options) as server:
        return post_and_complete(server, connections, conditions.seconds(_SECONDS))


def measure_peer(conditions: Conditions, connections: int) -> Figures:
    """A fresh peer."""
    with servers.peer(conditions.folder / "peer.db") as server:
        return post_and_complete(server, connections, conditions.seconds(_SECONDS))


def measure_noop(conditions: Conditions, connections: int) -> Figures:
    """A fresh peer that looks at each order, answers, and keeps nothing: all that it accepts is completed at once."""
    with servers.peer(conditions.folder / "peer.db") as server:
        cpu_before = server.cpu_seconds()
        seconds = conditions.seconds(_SECONDS)
        load = Wrk(f"{server.url}/noop", connections, seconds, "post_orders.lua", ORDERS_PATH="/noop").finish()
        return {
            "accepted_per_second": load.per_second,
            "p99_ms": load.p99_ms,
            "completed_per_second": load.per_second,
            "cpu_seconds_per_1000": 1000 * (server.cpu_seconds() - cpu_before) / load.requests,
        }


def _missing() -> str:
    return missing_wrk() or servers.missing_peer()


def _missing_option() -> str:
    return "" if servers.has_option("--http-processes") else "`ordermill serve` has no option --http-processes"


_PEER = "FastAPI, asyncio.Queue and aiosqlite, as durable (peers/fastapi_peer.py)"
_NOOP = "FastAPI that looks at an order and answers, and keeps nothing (/noop of peers/fastapi_peer.py)"

BENCHMARKS = (
    Benchmark(
        name="http_orders",
        work="POST /orders over 64 connections; acknowledged, and until all are Completed",
        against=_PEER,
        ours=partial(measure_ours, connections=64),
        theirs=partial(measure_peer, connections=64),
        rows=(
            Row("3", "accepted_per_second", Rule.AT_LEAST, 1.5),
            Row("5", "completed_per_second", Rule.AT_LEAST, 2.2),
        ),
        missing=_missing,
    ),
    Benchmark(
        name="http_orders_1000",
        work="POST /orders over 1,000 connections, without an error",
        against=_PEER,
        ours=partial(measure_ours, connections=1000),
        theirs=partial(measure_peer, connections=1000),
        rows=(
            Row("4", "accepted_per_second", Rule.AT_LEAST, 1.5),
            Row("4 p99", "p99_ms", Rule.AT_MOST, 1.0),
        ),
        missing=_missing,
    ),
    Benchmark(
        name="http_orders_processes",
        work="POST /orders over 64 connections to `serve --http-processes 2`",
        against=_PEER,
        ours=partial(measure_ours, connections=64, options=("--http-processes", "2")),
        theirs=partial(measure_peer, connections=64),
        rows=(
            Row("F3", "accepted_per_second", Rule.AT_LEAST, 2.0),
            Row("F5", "completed_per_second", Rule.AT_LEAST, 3.0),
        ),
        missing=lambda: _missing() or _missing_option(),
    ),
    Benchmark(
        name="http_orders_noop",
        work="POST /orders over 64 connections, until all are Completed",
        against=_NOOP,
        ours=partial(measure_ours, connections=64),
        theirs=partial(measure_noop, connections=64),
        rows=(
            Row("N5", "completed_per_second", Rule.AT_LEAST, 1.3),
            Row("N5 cpu", "cpu_seconds_per_1000", Rule.AT_MOST, 0.9),
        ),
        missing=_missing,
    ),
    Benchmark(
        name="http_orders_noop_1000",
        work="POST /orders over 1,000 connections, until all are Completed",
        against=_NOOP,
        ours=partial(measure_ours, connections=1000),
        theirs=partial(measure_noop, connections=1000),
        rows=(
            Row("N4", "completed_per_second", Rule.AT_LEAST, 1.3),
            Row("N4 cpu", "cpu_seconds_per_1000", Rule.AT_MOST, 0.9),
            Row("N4 p99", "p99_ms", Rule.AT_MOST, 1.0),
        ),
        missing=_missing,
    ),
    Benchmark(
        name="http_orders_processes_alone",
        work="POST /orders over 64 connections to `serve --http-processes 2`, until all are Completed",
        against="the same with one process",
        ours=partial(measure_ours, connections=64, options=("--http-processes", "2")),
        theirs=partial(measure_ours, connections=64),
        rows=(Row("F", "completed_per_second", Rule.AT_LEAST, 1.0),),
        missing=lambda: missing_wrk() or _missing_option(),
    ),
)

if __name__ == "__main__":
    run(BENCHMARKS)
