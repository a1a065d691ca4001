"""All benchmarks: `python benchmarks/run.py --help`."""

from __future__ import annotations

import backlog_size
import deadlines
import dispatch
import embedded
import executors
import http_bulk
import http_orders
import postgres
import table_size
import telemetry
import watchers
from command import run

BENCHMARKS = (
    *embedded.BENCHMARKS,
    *dispatch.BENCHMARKS,
    *deadlines.BENCHMARKS,
    *http_orders.BENCHMARKS,
    *http_bulk.BENCHMARKS,
    *table_size.BENCHMARKS,
    *backlog_size.BENCHMARKS,
    *executors.BENCHMARKS,
    *postgres.BENCHMARKS,
    *watchers.BENCHMARKS,
    *telemetry.BENCHMARKS,
)

if __name__ == "__main__":
    run(BENCHMARKS)
