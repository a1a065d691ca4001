"""Backup: one moment, whatever is written meanwhile."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from peewee import SqliteDatabase

from ordermill.engine import OrderEngine
from ordermill.engine.testing import make_order
from ordermill.store.audit import audit
from ordermill.store.domain.errors import BackupFailed
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite import backup as backup_module
from ordermill.store.sqlite.backup import back_up
from ordermill.store.sqlite.database import open_readers


def test_a_copy_is_of_one_moment_while_orders_are_accepted_between_its_steps(
    start_engine: Callable[..., OrderEngine], database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "_PAGES_A_STEP", 5)
    engine = start_engine()
    engine.submit_many(make_order(f"before-{number}") for number in range(300))
    engine.drain(timeout=60)
    steps = 0

    def submit_another(done: int, total: int) -> None:
        nonlocal steps
        steps += 1
        engine.submit(make_order(f"meanwhile-{steps}"))
        assert done <= total

    readers = open_readers(database, max_connections=1)
    with readers.connection_context():
        back_up(readers, tmp_path / "copy.db", submit_another)
    readers.close_all()

    copies = open_readers(tmp_path / "copy.db", max_connections=1)
    with copies.connection_context():
        found = audit(copies)
    copies.close_all()
    assert steps > 3
    assert found == (300, [])


def test_a_backup_overwrites_nothing(start_engine: Callable[..., OrderEngine], database: Path, tmp_path: Path) -> None:
    start_engine()
    target = tmp_path / "precious.txt"
    target.write_text("precious")
    readers = open_readers(database, max_connections=1)
    with readers.connection_context(), pytest.raises(BackupFailed, match="exists"):
        back_up(readers, target)
    readers.close_all()

    assert target.read_text() == "precious"


def test_a_failed_copy_leaves_nothing_behind(
    start_engine: Callable[..., OrderEngine], database: Path, tmp_path: Path
) -> None:
    start_engine()

    def fail(_done: int, _total: int) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    readers = open_readers(database, max_connections=1)
    with readers.connection_context(), pytest.raises(BackupFailed, match="disk is full"):
        back_up(readers, tmp_path / "copy.db", fail)
    readers.close_all()

    assert not (tmp_path / "copy.db").exists()


INTERRUPTED = """
import sys
from pathlib import Path
from ordermill.store.sqlite import backup
from ordermill.store.sqlite.database import open_readers

backup._PAGES_A_STEP = 5

def tell(done, total):
    print(done, total, flush=True)
    sys.stdin.readline()

readers = open_readers(Path("orders.db"), 1)
with readers.connection_context():
    backup.back_up(readers, Path("copy.db"), tell)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_copy_that_is_interrupted_has_no_name_and_the_next_one_succeeds(
    writer: SqliteDatabase, ledger: Ledger, tmp_path: Path, number: signal.Signals
) -> None:
    ledger.record([make_order(f"o-{number}") for number in range(300)], [], 5)
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        done, total = map(int, process.stdout.readline().split())
        assert 0 < done < total
        process.send_signal(number)
        process.wait(timeout=60)

    assert not (tmp_path / "copy.db").exists()
    back_up(writer, tmp_path / "copy.db")
    assert list(tmp_path.glob("copy.db*")) == [tmp_path / "copy.db"]
    copies = open_readers(tmp_path / "copy.db", 1)
    with copies.connection_context():
        assert audit(copies) == (300, [])
    copies.close_all()


def test_a_file_that_somebody_else_makes_meanwhile_is_not_overwritten(
    writer: SqliteDatabase, ledger: Ledger, tmp_path: Path
) -> None:
    ledger.record([make_order()], [], 5)
    target = tmp_path / "copy.db"

    with pytest.raises(BackupFailed, match="exists already"):
        back_up(writer, target, lambda *_: target.write_text("precious") and None)

    assert target.read_text() == "precious"
    assert not (tmp_path / "copy.db.partial").exists()
