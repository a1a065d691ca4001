"""A million Pending orders cost no memory to speak of: the database is the queue."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ordermill import sql

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Server

ORDERS = 1_000_000
LIMIT_MEBIBYTES = 200
INSERT = f"""
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    {sql.read("schema.sql")}
    BEGIN;
    WITH RECURSIVE numbers (number) AS (
      SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {ORDERS}
    )
    INSERT INTO orders
      (sequence, order_id, user_id, item_ids, total_cents, status, attempts, failures, created_at, updated_at, ready_at,
       rank)
      SELECT number, 'o-' || number, 'u-' || number % 1000, '["sku-1","sku-2"]', 1999, 'Pending', 0, 0,
        1767225600000000 + number, 1767225600000000 + number, 1767225600000000 + number, number / 1000 << 20
      FROM numbers;
    INSERT INTO transitions (sequence, order_id, from_status, to_status, at, attempt, reason)
      SELECT sequence, order_id, NULL, 'Pending', created_at, 0, 'accepted' FROM orders ORDER BY sequence;
    UPDATE totals SET value = {ORDERS} WHERE name = 'Pending';
    COMMIT;
"""


@pytest.fixture
def million(database: Path) -> Iterator[None]:
    """A database of a million Pending orders, removed in the end."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.executescript(INSERT)
    yield
    for file in database.parent.glob(f"{database.name}*"):
        file.unlink()


def peak_mebibytes(server: Server) -> float:
    """The most memory that the process has had."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(kibibytes) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.usefixtures("million")
def test_a_million_pending_orders_fit_into_200_mib(start_server: Callable[..., Server]) -> None:
    server = start_server("--simulate-seconds", "1", "--processors", "200")
    at_start = peak_mebibytes(server)
    assert server.get("/metrics")["orders_by_status"]["Pending"] > ORDERS - 1_000

    server.get("/orders/o-600?wait=30")

    metrics = server.get("/metrics")
    at_work = peak_mebibytes(server)
    done = metrics["total_orders_processed"]
    print(f"peak memory: {at_start:.0f} MiB when ready, {at_work:.0f} MiB after {done} orders")
    assert done > 400
    assert sum(metrics["orders_by_status"].values()) == ORDERS
    assert at_start < LIMIT_MEBIBYTES
    assert at_work < LIMIT_MEBIBYTES
    server.kill()
