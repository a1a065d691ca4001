"""Executors of other packages: each has its own ways with what it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable

import loky

from ordermill.engine import Order, OrderEngine, Reject
from ordermill.engine.testing import make_order

StartEngine = Callable[..., OrderEngine]


def last_reason(engine: OrderEngine, order_id: str) -> str:
    return engine.history(order_id)[-1].reason


def test_loky_runs_what_pickle_cannot_take_and_keeps_the_time(start_engine: StartEngine) -> None:
    executor = loky.get_reusable_executor(max_workers=1)
    reason = "of a closure"

    def reject(order: Order) -> None:
        if order.order_id == "slow":
            threading.Event().wait(60)
        raise Reject(reason)

    engine = start_engine(reject, executor=executor, processors=1, max_attempts=1, handler_timeout=0.5)
    engine.submit_many([make_order("slow"), make_order("o-1")])
    engine.drain(timeout=60)
    engine.stop()
    executor.shutdown(wait=True, kill_workers=True)

    again = start_engine()
    assert last_reason(again, "slow") == (
        "TimeoutError: the handler did not return within 0.5 s; failed attempt 1 of 1"
    )
    assert last_reason(again, "o-1") == "rejected: of a closure"
