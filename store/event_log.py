"""The log of all transitions, read in the order of recording. Only one connection writes: no id appears late."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from operator import attrgetter
from typing import Any

import msgspec
from peewee import Database

from .domain.event import EVERYTHING, Event, EventFilter, EventPage
from .domain.metrics import REMOVED_EVENTS_THROUGH
from .domain.record import rfc3339
from .rows import STATUSES
from .statements import run

_SPAN = 10_000
"""Ids that are looked through in one read, however few of them are wanted: nobody holds the database up for long."""

_NEXT = """
    SELECT min(id) FROM (
      SELECT min(id) AS id FROM transitions WHERE id > ? UNION ALL SELECT min(id) FROM late_orders WHERE id > ?) AS next
"""
_REMOVED_THROUGH = f"SELECT value FROM totals WHERE name = '{REMOVED_EVENTS_THROUGH}'"
_HIGHEST_OF = """
    SELECT max(id) FROM (
      SELECT id FROM transitions WHERE sequence IN {integers:?}
      UNION ALL SELECT id FROM late_orders WHERE sequence IN {integers:?}) AS removed
"""
_REMOVE_THROUGH = f"UPDATE totals SET value = {{greatest}}(value, ?) WHERE name = '{REMOVED_EVENTS_THROUGH}'"


def last_id(database: Database) -> int:
    """The id of the newest transition, be it removed meanwhile; 0 before the first."""
    row = run(database, "{last_transition}").fetchone()
    return 0 if row is None else int(row[0] or 0)


def page(database: Database, after: int, limit: int, wanted: EventFilter = EVERYTHING) -> EventPage:
    """What comes next in the log.

    Args:
        database: connected in this thread.
        after: only what has a higher id.
        limit: how many at the most.
        wanted: only these.
    """
    last = last_id(database)
    through, events = max(after, last), []
    begin = None if last <= after else run(database, _NEXT, (after, after)).fetchone()[0]
    if begin is not None:
        if wanted.order_id is None:
            through = min(last, begin - 1 + _SPAN)
        given = [value for value in (wanted.order_id, wanted.user_id, wanted.status) if value is not None]
        rows = run(database, _select(*(value is not None for value in wanted)), (after, through, *given, limit))
        events = [_event_of(row) for row in rows.fetchall()]
        if wanted.status is None:
            events = sorted([*events, *_late(database, after, through, limit, wanted)], key=attrgetter("id"))[:limit]
        if len(events) == limit:
            through = events[-1].id
    # Last of all: what was removed before the rows were read is told.
    (removed_through,) = run(database, _REMOVED_THROUGH).fetchone()
    return EventPage(events, through, through >= last, removed_through)


def note_removal(database: Database, sequences: Collection[int]) -> None:
    """Write down how far the log has lost transitions, so that nobody takes what is left for all there was.

    Args:
        database: in the transaction that removes orders, before their transitions are gone.
        sequences: those of the orders.
    """
    (highest,) = run(database, _HIGHEST_OF, 2 * (msgspec.json.encode(list(sequences)).decode(),)).fetchone()
    run(database, _REMOVE_THROUGH, (highest or 0,))


def _late(database: Database, after: int, through: int, limit: int, wanted: EventFilter) -> list[Event]:
    given = [value for value in (wanted.order_id, wanted.user_id) if value is not None]
    statement = _select_late(wanted.user_id is not None, wanted.order_id is not None)
    return [
        Event(
            event_id,
            order_id,
            user_id,
            STATUSES[status],
            STATUSES[status],
            at_us,
            attempt,
            f"late: it was to be completed by {rfc3339(by_us)}",
            is_late=True,
        )
        for event_id, order_id, user_id, status, at_us, attempt, by_us in run(
            database, statement, (after, through, *given, limit)
        ).fetchall()
    ]


@cache
def _select_late(of_user: bool, of_order: bool) -> str:
    conditions = ["l.id > ?", "l.id <= ?"]
    if of_order:
        conditions.append("o.order_id = ?")
    if of_user:
        conditions.append("o.user_id = ?")
    return (
        "SELECT l.id, o.order_id, o.user_id, l.status, l.at, l.attempt, l.complete_by "
        f"FROM late_orders l JOIN orders o ON o.sequence = l.sequence WHERE {' AND '.join(conditions)} "
        "ORDER BY l.id LIMIT ?"
    )


@cache
def _select(of_user: bool, of_status: bool, of_order: bool) -> str:
    conditions = ["o.sequence = t.sequence", "t.id > ?", "t.id <= ?"]
    if of_order:
        conditions.append("t.sequence = (SELECT sequence FROM orders WHERE order_id = ?)")
    if of_user:
        conditions.append("o.user_id = ?")
    if of_status:
        conditions.append("t.to_status = ?")
    # CROSS: the log is gone through, and never a user's whole history.
    return (
        "SELECT t.id, t.order_id, o.user_id, t.from_status, t.to_status, t.at, t.attempt, t.reason "
        f"FROM transitions t CROSS JOIN orders o WHERE {' AND '.join(conditions)} "
        "ORDER BY t.id LIMIT ?"
    )


def _event_of(row: Any) -> Event:
    event_id, order_id, user_id, source, target, *more = row
    return Event(event_id, order_id, user_id, None if source is None else STATUSES[source], STATUSES[target], *more)
