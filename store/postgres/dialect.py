"""What the store's statements say to PostgreSQL."""

from __future__ import annotations

from functools import lru_cache

from ..dialect import Dialect, Fragment

_LAST = "CASE WHEN is_called THEN last_value ELSE 0 END"
_DIALECT = Dialect(
    integers=Fragment("(SELECT value::bigint FROM json_array_elements_text({}::json))"),
    texts=Fragment("(SELECT value FROM json_array_elements_text({}::json))"),
    greatest="greatest",
    indexed_by=Fragment(""),
    not_indexed="",
    skip_locked=" FOR UPDATE SKIP LOCKED",
    for_update=" FOR UPDATE",
    last_sequence=f"SELECT {_LAST} FROM orders_sequence_seq",
    # Not the last number of its sequence: that one may belong to a transaction that is not over yet.
    last_transition=(
        "SELECT greatest((SELECT max(id) FROM transitions), (SELECT max(id) FROM late_orders), value) FROM totals "
        "WHERE name = 'removed_events_through'"
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
