"""What the store's statements say to PostgreSQL."""

from __future__ import annotations

from functools import lru_cache

from ..dialect import Dialect, Fragment

EVENT_LOCKS = 0x4F52 << 48
"""A transaction that writes transitions holds this lock plus the last id that was given before it began."""
_LOCKED = "classid::bigint << 32 | objid::bigint"
_LAST = "CASE WHEN is_called THEN last_value ELSE 0 END"
_DIALECT = Dialect(
    integers=Fragment("(SELECT value::bigint FROM json_array_elements_text({}::json))"),
    texts=Fragment("(SELECT value FROM json_array_elements_text({}::json))"),
    one_of=Fragment("= ANY (ARRAY({}))"),
    greatest="greatest",
    indexed_by=Fragment(""),
    not_indexed="",
    skip_locked=" FOR UPDATE SKIP LOCKED",
    but_keyed=" AND serial_key IS NULL",
    is_rescheduled=", EXISTS (SELECT 1 FROM first_schedules AS first WHERE first.sequence = orders.sequence)",
    integer="bigint",
    now_us="(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
    new_sequences="SELECT nextval('orders_sequence_seq') FROM generate_series(1, ?)",
    for_update=" FOR UPDATE",
    last_sequence=f"SELECT {_LAST} FROM orders_sequence_seq",
    # Not the last number of its sequence: that one may belong to a transaction that is not over yet. Nor the last one
    # that is there, where a transaction is not over that began to take numbers before: it says so by a lock, and the
    # locks are read after the moment that the table is read as of.
    last_transition=(
        "SELECT least(greatest((SELECT max(id) FROM transitions), (SELECT max(id) FROM late_orders), value), "
        f"(SELECT min(({_LOCKED}) - {EVENT_LOCKS}) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        f"AND ({_LOCKED}) BETWEEN {EVENT_LOCKS} AND {EVENT_LOCKS + 2**48 - 1})) "
        "FROM totals WHERE name = 'removed_events_through' AND part = 0"
    ),
    next_event="SELECT nextval('transitions_id_seq')",
    given_numbers=(
        f"SELECT 'orders', {_LAST} FROM orders_sequence_seq UNION ALL "
        f"SELECT 'transitions', {_LAST} FROM transitions_id_seq"
    ),
    damages="SELECT NULL WHERE FALSE",  # the server checks its pages itself whenever it reads one
)


@lru_cache(maxsize=512)
def to_postgres(statement: str) -> str:
    """A statement as PostgreSQL and its driver take it; no statement has a `?` or a `%` that means itself."""
    return _DIALECT.render(statement).replace("?", "%s")
