"""Large tables are as sound as those of the engine, and kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import tables
from ordermill.engine import OrderEngine, OrderStatus
from ordermill.store.audit import Audit
from tables import Table

STATUSES = (OrderStatus.PENDING, OrderStatus.COMPLETED)


@pytest.mark.parametrize("status", STATUSES)
def test_a_table_is_sound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, look_at: Callable[[Path], Audit], status: OrderStatus
) -> None:
    monkeypatch.setattr(tables, "_PAGE", 400)

    path = tables.make(Table(1_000, status), tmp_path)

    assert look_at(path) == Audit(orders=1_000, faults=[])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT status, count(*) FROM orders GROUP BY status").fetchall() == [(status, 1_000)]


def test_an_engine_completes_a_table_of_pending_orders(tmp_path: Path, look_at: Callable[[Path], Audit]) -> None:
    path = tables.make(Table(50, OrderStatus.PENDING), tmp_path)

    with OrderEngine(path, handler=lambda _: None) as engine:
        assert engine.drain(timeout=60).total_orders_processed == 50
        assert engine.status("t-50") is OrderStatus.COMPLETED

    assert look_at(path).faults == []


def test_a_table_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tables.make(Table(100, OrderStatus.COMPLETED), tmp_path)
    made = path.stat().st_ino

    assert tables.make(Table(100, OrderStatus.COMPLETED), tmp_path) == path
    assert path.stat().st_ino == made


def test_a_table_that_has_grown_is_made_anew(tmp_path: Path, look_at: Callable[[Path], Audit]) -> None:
    path = tables.make(Table(100, OrderStatus.COMPLETED), tmp_path)
    larger = tables.make(Table(120, OrderStatus.COMPLETED), tmp_path)
    larger.replace(path)

    tables.make(Table(100, OrderStatus.COMPLETED), tmp_path)

    assert look_at(path) == Audit(orders=100, faults=[])
