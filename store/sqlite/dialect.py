"""What the store's statements say to SQLite."""

from __future__ import annotations

from functools import lru_cache

from ..dialect import Dialect, Fragment

_DIALECT = Dialect(
    integers=Fragment("(SELECT value FROM json_each({}))"),
    texts=Fragment("(SELECT value FROM json_each({}))"),
    one_of=Fragment("IN ({})"),
    greatest="max",
    indexed_by=Fragment(" INDEXED BY {}"),
    not_indexed="+",
    skip_locked="",  # one connection writes
    but_keyed="",
    is_rescheduled="",
    integer="INTEGER",
    now_us="CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    new_sequences="SELECT NULL WHERE FALSE",
    for_update="",
    last_sequence="SELECT seq FROM sqlite_sequence WHERE name = 'orders'",
    last_transition="SELECT seq FROM sqlite_sequence WHERE name = 'transitions'",  # which a removal does not set back
    next_event="UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'transitions' RETURNING seq",
    given_numbers="SELECT name, seq FROM sqlite_sequence",
    damages="PRAGMA integrity_check(20)",
)

to_sqlite = lru_cache(maxsize=512)(_DIALECT.render)
"""A statement as SQLite takes it."""
