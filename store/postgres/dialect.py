"""Dialect: from the SQL of the store's statements, which is SQLite's, to PostgreSQL's."""

from __future__ import annotations

import re
from functools import lru_cache

_STATEMENTS = {
    "SELECT seq FROM sqlite_sequence WHERE name = 'orders'": "SELECT coalesce(max(sequence), 0) FROM orders",
    "SELECT seq FROM sqlite_sequence WHERE name = 'transitions'": "SELECT coalesce(max(id), 0) FROM transitions",
}
_REWRITTEN = (
    (re.compile(r" INDEXED BY \w+"), ""),
    (
        re.compile(r"\(SELECT value FROM json_each\(\?\)\)"),
        "(SELECT value::bigint FROM json_array_elements_text(?::json))",
    ),
    (re.compile(r"json_each\(webhooks\.events\)"), "json_array_elements_text(webhooks.events::json)"),
    (re.compile(r"updated_at = max\(updated_at, \?\)"), "updated_at = greatest(updated_at, ?)"),
    # Of several that claim, none waits for another, and each takes others.
    (re.compile(r"(WHERE sequence IN \(SELECT .*? LIMIT \?)\)", re.DOTALL), r"\1 FOR UPDATE SKIP LOCKED)"),
)
_IGNORE = re.compile(r"^\s*INSERT OR IGNORE ")
_QUOTED_OR_MARK = re.compile(r"'[^']*'|\"[^\"]*\"|\?")


@lru_cache(maxsize=512)
def to_postgres(statement: str) -> str:
    """A statement as PostgreSQL and its driver understand it.

    Args:
        statement: SQL as SQLite takes it, a `?` for each parameter.
    """
    if (other := _STATEMENTS.get(statement)) is not None:
        return other
    for pattern, replacement in _REWRITTEN:
        statement = pattern.sub(replacement, statement)
    if _IGNORE.match(statement):
        statement = f"{_IGNORE.sub('INSERT ', statement)} ON CONFLICT DO NOTHING"
    return _QUOTED_OR_MARK.sub(lambda found: "%s" if found[0] == "?" else found[0], statement)
