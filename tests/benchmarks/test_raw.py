"""The raw limit writes what the engine would have written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import raw
from ordermill.engine import OrderStatus
from ordermill.store.audit import Audit


def test_the_raw_limit_leaves_a_sound_database(database: Path, look_at: Callable[[Path], Audit]) -> None:
    with closing(raw.open_raw(database)) as connection:
        raw.write(connection, raw.transactions(1_100, lot=500))
        statuses = connection.execute("SELECT status, count(*) FROM orders GROUP BY status").fetchall()

    assert statuses == [(OrderStatus.COMPLETED, 1_100)]
    assert look_at(database) == Audit(orders=1_100, faults=[])


def test_the_raw_limit_writes_a_lot_in_three_transactions() -> None:
    assert len(raw.transactions(1_100, lot=500)) == 3 * 3


def test_the_raw_limit_syncs_each_commit_into_a_log(database: Path) -> None:
    with closing(raw.open_raw(database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
