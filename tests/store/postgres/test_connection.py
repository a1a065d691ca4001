"""The connection that writes to a PostgreSQL server."""

from __future__ import annotations

from contextlib import closing

from ordermill.store.connect import connect
from ordermill.store.domain.durability import Durability
from ordermill.store.queries import IS_IN_LINE
from ordermill.store.statements import run


def test_a_claim_reads_the_front_of_the_queue_where_the_server_knows_nothing_of_the_backlog(postgres_url: str) -> None:
    insert = """
        INSERT INTO orders (order_id, user_id, item_ids, total_cents, status, attempts, failures, created_at,
          updated_at, ready_at, rank)
        SELECT 'o-' || number, 'u-1', '["sku-1"]', 1, 'Pending', 0, 0, 1, 1, 1, 1024 * number
        FROM generate_series(1, 3000) AS number
    """
    claim = f"""
        SELECT sequence FROM orders WHERE rank >= 0 AND rank < 1000000000 AND {IS_IN_LINE}
        ORDER BY rank, sequence LIMIT 1000 FOR UPDATE SKIP LOCKED
    """
    with closing(connect(postgres_url).open_writer(Durability.FULL)) as database:
        run(database, "ALTER TABLE orders SET (autovacuum_enabled = off)")  # which would tell it
        run(database, insert)
        plan = [line for (line,) in run(database, f"EXPLAIN {claim}").fetchall()]

    assert any("Index Scan using orders_in_line" in line for line in plan), plan
    assert not any("->  Sort" in line or "Bitmap" in line or "Seq Scan" in line for line in plan), plan
