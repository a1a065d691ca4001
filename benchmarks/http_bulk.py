"""Orders over HTTP, a thousand a request: against the same lots in process, and against one order a request."""

from __future__ import annotations

from functools import partial

import servers
from command import run
from embedded import complete_in_lots
from http_orders import measure_ours, post_lots_and_complete
from load import missing_wrk
from measure import Benchmark, Conditions, Figures, Row, Rule

_CONNECTIONS = 4
_LOT = 1000
_SECONDS = 10
_ORDERS = 200_000
"""In process: about what is posted in the time."""


def measure_lots(conditions: Conditions) -> Figures:
    """A fresh server, and lots of a thousand lines."""
    with servers.ordermill(conditions.folder / "orders.db") as server:
        return post_lots_and_complete(server, _CONNECTIONS, conditions.seconds(_SECONDS), _LOT)


def measure_lots_in_process(conditions: Conditions) -> Figures:
    """The same lots from as many threads, without HTTP."""
    return complete_in_lots(conditions.folder / "orders.db", conditions.count(_ORDERS), _LOT, _CONNECTIONS)


_WORK = "POST /orders/bulk of 1,000 lines of NDJSON over 4 connections, until all are Completed"

BENCHMARKS = (
    Benchmark(
        name="http_bulk",
        work=_WORK,
        against="submit_many of 1,000 orders from 4 threads in process, until all are Completed",
        ours=measure_lots,
        theirs=measure_lots_in_process,
        rows=(
            Row("6", "completed_per_second", Rule.AT_LEAST, 0.8),
            Row("6 cpu", "cpu_seconds_per_1000", Rule.AT_MOST, 1.25),
        ),
        missing=missing_wrk,
    ),
    Benchmark(
        name="http_bulk_single",
        work=_WORK,
        against="our own POST /orders over 64 connections, until all are Completed",
        ours=measure_lots,
        theirs=partial(measure_ours, connections=64),
        rows=(
            Row("6 single", "completed_per_second", Rule.AT_LEAST, 1.2),
            Row("6 single cpu", "cpu_seconds_per_1000", Rule.AT_MOST, 0.6),
        ),
        missing=missing_wrk,
    ),
)

if __name__ == "__main__":
    run(BENCHMARKS)
