"""Backup: one moment, whatever is written meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ordermill.engine import OrderEngine
from ordermill.engine.testing import make_order
from ordermill.store import backup as backup_module
from ordermill.store.audit import audit
from ordermill.store.backup import back_up
from ordermill.store.database import open_readers
from ordermill.store.errors import BackupFailed


def test_a_copy_is_of_one_moment_while_orders_are_accepted_between_its_steps(
    start_engine: Callable[..., OrderEngine], database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "_PAGES_A_STEP", 5)
    engine = start_engine()
    engine.submit_many(make_order(f"before-{number}") for number in range(300))
    engine.drain(timeout=10)
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
