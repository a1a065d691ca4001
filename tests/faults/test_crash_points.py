"""The process dies just before or just after a commit, any of them, and again while it recovers."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ordermill.engine import OrderEngine
from ordermill.store.audit import audit
from ordermill.store.sqlite import database as store

WORKLOAD = Path(__file__).with_name("crash_workload.py")
SURVIVED, DEAD = 0, 9


class Life:
    """A database, and what its clients were told."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.database = folder / "orders.db"
        self._log = folder / "acknowledged.txt"

    def run(self, commit: int, moment: str) -> int:
        """Run the workload until that commit; the exit code tells whether there was one."""
        command = [sys.executable, str(WORKLOAD), str(self.database), str(self._log), str(commit), moment]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode in {SURVIVED, DEAD}, ended.stderr
        return ended.returncode

    def in_hand(self) -> int:
        """How many orders are Processing."""
        with closing(sqlite3.connect(self.database)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM orders WHERE status = 'Processing'").fetchone()
        return int(count)

    def check(self) -> None:
        """Start it again: all that was acknowledged is there, and ends as it has to."""
        with OrderEngine(self.database, handler=lambda _: None) as engine:
            engine.drain(timeout=30)
        readers = store.open_readers(self.database, max_connections=1)
        try:
            with readers.connection_context():
                assert audit(readers).faults == []
        finally:
            readers.close_all()
        with closing(sqlite3.connect(self.database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            statuses = dict(connection.execute("SELECT order_id, status FROM orders"))
        lines = [line.split() for line in self._log.read_text().splitlines()]
        accepted = {order_id for what, order_id in lines if what == "accepted"}
        cancelled = {order_id for what, order_id in lines if what == "cancelled"}
        assert accepted <= statuses.keys()
        # A cancellation may be on disk although nobody lived to tell.
        ends = {
            order_id: {"Completed", "Cancelled"} if order_id == "many-4" else {"Completed"} for order_id in statuses
        }
        ends |= {order_id: {"Cancelled"} for order_id in cancelled}
        assert {order_id: status for order_id, status in statuses.items() if status not in ends[order_id]} == {}


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_death_at_any_commit_loses_nothing_that_was_acknowledged(tmp_path: Path, moment: str) -> None:
    for commit in itertools.count(1):
        life = Life(tmp_path / str(commit))
        code = life.run(commit, moment)
        life.check()
        if code == SURVIVED:
            assert commit > 4
            return


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_deaths_during_recovery_lose_nothing_either(tmp_path: Path, moment: str) -> None:
    # Which commit leaves something in hand depends on what came together into one.
    for commit in itertools.count(1):
        life = Life(tmp_path / str(commit))
        assert life.run(commit, "after") == DEAD
        if life.in_hand():
            break
    for _ in range(3):
        assert life.run(1, moment) == DEAD
    life.check()
