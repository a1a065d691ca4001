"""Orders over HTTP, a thousand a request, against one a request."""

from __future__ import annotations

from functools import partial

import servers
from command import run
from http_orders import measure_ours, post_lots_and_complete
from load import missing_wrk
from measure import Benchmark, Conditions, Figures, Row, Rule

_CONNECTIONS = 4
_LOT = 1000
_SECONDS = 10


def measure_lots(conditions: Conditions) -> Figures:
    """A fresh server, and lots of a thousand lines."""
    with servers.ordermill(conditions.folder / "orders.db") as server:
        return post_lots_and_complete(server, _CONNECTIONS, conditions.seconds(_SECONDS), _LOT)


BENCHMARKS = (
    Benchmark(
        name="http_bulk",
        work="POST /orders/bulk of 1,000 lines of NDJSON over 4 connections, until all are Completed",
        against="our own POST /orders over 64 connections, until all are Completed",
        ours=measure_lots,
        theirs=partial(measure_ours, connections=64),
        rows=(Row("6", "completed_per_second", Rule.AT_LEAST, 6.0),),
        missing=missing_wrk,
    ),
)

if __name__ == "__main__":
    run(BENCHMARKS)
