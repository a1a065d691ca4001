"""Engines that nobody stops: when the program ends, or when nothing refers to them any more."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from ordermill.engine import OrderEngine
from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.connect import connect

PROGRAM = """
import sys, threading
from ordermill.engine import OrderEngine
from ordermill.engine.testing import make_order

begun = threading.Semaphore(0)

def handler(order):
    begun.release()
    threading.Event().wait(0.05)

engine = OrderEngine(sys.argv[1], handler=handler, processors=2)
engine.start()
engine.submit_many(make_order(f"o-{number}") for number in range(50))
begun.acquire()
"""


def test_a_program_that_ends_without_a_stop_leaves_nothing_in_hand(database: Path) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, str(database)], check=True, timeout=30)

    readers = connect(database).open_readers(max_connections=1)
    with readers.connection_context():
        totals = queries.totals(readers)
        found = audit(readers)
    readers.close_all()
    assert found == (50, [])
    assert totals["Processing"] == 0
    assert totals["Completed"] > 0


def test_an_engine_that_nothing_refers_to_is_stopped(database: Path, collect: Callable[[], None]) -> None:
    engine = OrderEngine(database, handler=lambda _: None)
    engine.start()
    engine.submit(make_order("o-1")).wait(timeout=60)
    del engine
    collect()
    for thread in threading.enumerate():
        if thread.name.startswith("_StopActor"):
            thread.join(timeout=60)

    with OrderEngine(database) as successor:
        assert successor.metrics().total_orders_processed == 1
