"""A program that dies at a commit of its choice: `python crash_workload.py DATABASE LOG COMMIT before|after`.

Each acknowledgement is in the log, on disk, before anything else is done.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

from ordermill.engine import Order, OrderEngine, TransitionRefused
from ordermill.engine.testing import make_order

DEAD = 9


class MortalCursor(sqlite3.Cursor):
    """Ends the process just before or just after one of all commits."""

    lock: ClassVar[threading.Lock] = threading.Lock()
    remaining: ClassVar[int]
    dies_before: ClassVar[bool]

    def execute(self, statement: str, *parameters: Any) -> Any:
        """Execute, and die if it is time."""
        if statement != "COMMIT":
            return super().execute(statement, *parameters)
        with self.lock:
            MortalCursor.remaining -= 1
            if self.remaining == 0 and self.dies_before:
                os._exit(DEAD)
            super().execute(statement)
            if self.remaining == 0:
                os._exit(DEAD)
            return self


class MortalConnection(sqlite3.Connection):
    """A connection with such cursors."""

    def cursor(self, factory: Any = None) -> Any:
        """A cursor that may be the last."""
        assert factory is None
        return super().cursor(MortalCursor)


def work(database: str, log: Path) -> None:
    """Submit orders and cancel one; the orders of an earlier life are sent again, as clients do."""
    tried: set[str] = set()
    is_open = threading.Event()

    def handle(order: Order) -> None:
        is_open.wait(60)
        if order.order_id == "flaky" and order.order_id not in tried:
            tried.add(order.order_id)
            raise ValueError("try again")

    with log.open("a") as file, OrderEngine(database, handler=handle, processors=2, retry_seconds=0.0) as engine:

        def note(what: str, *order_ids: str) -> None:
            file.writelines(f"{what} {order_id}\n" for order_id in order_ids)
            file.flush()
            os.fsync(file.fileno())

        def submit(*order_ids: str) -> None:
            receipts = engine.submit_many([make_order(order_id) for order_id in order_ids])
            note("accepted", *(receipt.order_id for receipt in receipts))

        submit("one")
        submit(*(f"many-{number}" for number in range(5)))
        submit("flaky")
        submit("one")
        try:
            engine.cancel("many-4")
            note("cancelled", "many-4")
        except TransitionRefused:
            pass  # cancelled, or worked at, in an earlier life
        is_open.set()
        submit("two", "three", "one")
        engine.drain(timeout=60)


def main() -> None:
    """Live until that commit."""
    database, log, commit, moment = sys.argv[1:]
    MortalCursor.remaining, MortalCursor.dies_before = int(commit), moment == "before"
    connect = sqlite3.connect
    sqlite3.connect = lambda *arguments, **options: connect(*arguments, **options, factory=MortalConnection)  # type: ignore[assignment]
    work(database, Path(log))


if __name__ == "__main__":
    main()
