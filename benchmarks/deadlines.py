"""What it costs to say of a new order, before it is accepted, how likely it is completed by its time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from msgspec.structs import replace

import dispatch
import embedded
import servers
from command import run
from load import Wrk, missing_wrk
from measure import Benchmark, Conditions, Figures, MeasurementFailed, Row, Rule
from ordermill.engine import Order
from stopwatch import Stopwatch

_SECONDS = 5
_CONNECTIONS = 64
_MANY = 100_000
_MEASURED_BEFORE = 500
_HOUR_SECONDS = 3600.0
_BY = (datetime.now(UTC) + timedelta(days=1)).isoformat()
_IN_TIME = f',"complete_by":"{_BY}"'
_FIELDS = ',"priority":4,"queue":"mail","key":"n-%d"'
_LIMITED: Mapping[str, str] = {"limits": dispatch.LIMITS}
_PLAIN: Mapping[str, str] = {}


def post_into_backlog(
    conditions: Conditions, backlog: int, more: str = "", settings: Mapping[str, str] = _PLAIN
) -> Figures:
    """The processor time of a server for orders that are posted while others wait, and none is begun.

    Args:
        conditions: where.
        backlog: how many wait when the first is posted, at full size.
        more: further fields of the orders, as JSON with a comma in front.
        settings: of the engine. With limits, those who wait say all that an order may say.
    """
    database = conditions.folder / "orders.db"
    waiting = dispatch.make_orders if settings else embedded.make_orders
    _prepare(database, waiting(conditions.count(backlog)), settings)
    options = [f"--{name}={value}" for name, value in settings.items()]
    with servers.ordermill(database, *options) as server:
        cpu_before = server.cpu_seconds()
        seconds = conditions.seconds(_SECONDS)
        load = Wrk(f"{server.url}/orders", _CONNECTIONS, seconds, "post_orders.lua", ORDERS_MORE=more).finish()
        return {
            "accepted_per_second": load.per_second,
            "p99_ms": load.p99_ms,
            "cpu_seconds_per_1000_accepted": 1000 * (server.cpu_seconds() - cpu_before) / load.requests,
        }


def complete_lots(conditions: Conditions, *, in_time: bool) -> Figures:
    """The processor time of orders in lots, from submit_many until all are Completed, behind a backlog of as many.

    Args:
        conditions: where.
        in_time: whether they are to be completed by a time.
    """
    database = conditions.folder / "orders.db"
    count = conditions.count(_MANY)
    _prepare(database, embedded.make_orders(count), _PLAIN)
    by = datetime.now(UTC) + timedelta(days=1) if in_time else None
    orders = [replace(order, complete_by=by) for order in embedded.make_orders(count)]
    with embedded.start_engine(database) as engine:
        with Stopwatch() as accepting:
            embedded.submit_in_lots(engine, orders)
        with Stopwatch() as working:
            engine.resume()
            completed = engine.drain(embedded.DRAIN_SECONDS).total_orders_processed
    if completed != _MEASURED_BEFORE + 2 * count:
        raise MeasurementFailed(f"{completed} of {_MEASURED_BEFORE + 2 * count} orders were completed")
    return {
        "cpu_seconds_per_1000_accepted": 1000 * accepting.cpu_seconds / count,
        "cpu_seconds_per_1000": 1000 * (accepting.cpu_seconds + working.cpu_seconds / 2) / count,
    }


def _prepare(database: Path, waiting: Iterable[Order], settings: Mapping[str, str]) -> None:
    # Enough is measured for forecasts, and no order is begun for so long that nothing else is.
    with embedded.start_engine(database, **settings) as engine:
        embedded.submit_in_lots(engine, embedded.make_orders(_MEASURED_BEFORE))
        engine.drain(embedded.DRAIN_SECONDS)
        engine.pause(seconds=_HOUR_SECONDS, reason="measuring")
        embedded.submit_in_lots(engine, waiting)


def _posting(row: str, backlog: int, fields: str = "", settings: Mapping[str, str] = _PLAIN) -> Benchmark:
    return Benchmark(
        name=f"deadlines_{row.removeprefix('C ').replace(' ', '_')}",
        work=f"POST /orders with complete_by over 64 connections, while {backlog:,} orders wait",
        against="the same without complete_by",
        ours=partial(post_into_backlog, backlog=backlog, more=fields + _IN_TIME, settings=settings),
        theirs=partial(post_into_backlog, backlog=backlog, more=fields, settings=settings),
        rows=(Row(row, "cpu_seconds_per_1000_accepted", Rule.AT_MOST, 1.5),),
        missing=missing_wrk,
    )


BENCHMARKS = (
    _posting("C 0", 0),
    _posting("C 1000", 1_000),
    _posting("C 100000", _MANY),
    _posting("C all in use", _MANY, _FIELDS, _LIMITED),
    Benchmark(
        name="deadlines_lots",
        work="100,000 orders with complete_by by submit_many in lots of 500 behind as many, until all are Completed",
        against="the same without complete_by",
        ours=partial(complete_lots, in_time=True),
        theirs=partial(complete_lots, in_time=False),
        rows=(Row("C lots", "cpu_seconds_per_1000", Rule.AT_MOST, 1.5),),
    ),
)

if __name__ == "__main__":
    run(BENCHMARKS)
