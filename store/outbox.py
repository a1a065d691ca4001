"""The outbox: events for webhooks, written in the transaction of the steps that they tell of, and how they are sent."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

import msgspec
from peewee import Database

from .domain.lifecycle import Edge
from .domain.order_fields import order_fields
from .domain.outcome import Acceptance, Outcome
from .domain.record import Move, OrderRecord
from .domain.webhook import EVENT_OF_EDGE, DueDelivery, Target, Tried, WebhookEvent, is_told
from .statements import run, run_for_each

KEPT_US = 7 * 24 * 3600 * 1_000_000
"""How long an event stays after it was delivered or given up, in microseconds."""
_FORGOTTEN_AT_ONCE = 100
_LONGEST_DELAY_US = 48 * 3600 * 1_000_000

# The step is in the history by now, and perhaps the next one as well: an order may be claimed at once.
_WRITE = """
INSERT INTO outbox (event_id, sequence, order_id, type, at, subject, number)
SELECT event_id, sequence, order_id, type, at, subject, (
  SELECT count(*) FROM transitions step WHERE step.sequence = new.sequence AND step.id <= (
    SELECT max(id) FROM transitions last WHERE last.sequence = new.sequence
      AND last.to_status = new.to_status AND last.attempt = new.attempt))
FROM (SELECT ? AS event_id, ? AS sequence, ? AS order_id, ? AS type, ? AS at, ? AS subject, ? AS to_status,
  ? AS attempt) AS new
"""
_LAST_EVENT = "SELECT coalesce(max(id), 0) FROM outbox"
_IS_FREE = """
NOT EXISTS (SELECT 1 FROM deliveries earlier
  WHERE earlier.webhook = w.id AND earlier.sequence = o.sequence AND earlier.ended_at IS NULL)
"""
_ADDRESS = f"""
INSERT INTO deliveries (webhook, event, sequence, attempts, created_at, due_at, is_delivered)
SELECT w.id, o.id, o.sequence, 0, ?, CASE WHEN {_IS_FREE} THEN ? END, 0
FROM outbox o CROSS JOIN webhooks w
WHERE o.id > ? AND w.disabled_at IS NULL AND w.deleted_at IS NULL
  AND o.type IN {{texts:w.events}}
ORDER BY o.id
"""
_WANTED = """
SELECT events FROM webhooks WHERE disabled_at IS NULL AND deleted_at IS NULL
"""
_TARGETS = """
SELECT id, webhook_id, url, secret, CASE WHEN old_secret_until > ? THEN old_secret END
FROM webhooks WHERE disabled_at IS NULL AND deleted_at IS NULL ORDER BY id
"""
_DUE = """
SELECT d.id, d.attempts, o.event_id, o.type, o.at, o.number, o.subject, t.traceparent
FROM deliveries d JOIN outbox o ON o.id = d.event LEFT JOIN trace_contexts t ON t.sequence = o.sequence
WHERE d.webhook = ? AND d.due_at <= ? ORDER BY d.due_at, d.id LIMIT ?
"""
_FIRST_DUE = """
    SELECT webhook_id, (SELECT min(due_at) FROM deliveries WHERE webhook = webhooks.id AND due_at IS NOT NULL)
    FROM webhooks WHERE deleted_at IS NULL AND disabled_at IS NULL
"""
_NEXT_DUE = "SELECT min(due_at) FROM deliveries WHERE webhook = ? AND due_at > ?"
_NOTE_ATTEMPT = """
INSERT INTO delivery_attempts (delivery, number, at, status, error, answer, latency)
SELECT id, ?, ?, ?, ?, ?, ? FROM deliveries WHERE id = ? AND ended_at IS NULL
ON CONFLICT DO NOTHING
"""
_NOTE_STATE = """
UPDATE deliveries SET attempts = ?, due_at = ?, ended_at = ?, is_delivered = ? WHERE id = ? AND ended_at IS NULL
"""
# Of the same order, the next one may go now.
_LET_NEXT_GO = """
UPDATE deliveries SET due_at = ? WHERE due_at IS NULL AND id = (
  SELECT min(next.id) FROM deliveries done JOIN deliveries next
    ON next.webhook = done.webhook AND next.sequence = done.sequence AND next.ended_at IS NULL
  WHERE done.id = ? AND done.sequence > 0)
"""
_DISABLE = """
UPDATE webhooks SET disabled_at = ?, disabled_reason = ?
WHERE disabled_at IS NULL AND id = (SELECT webhook FROM deliveries WHERE id = ?)
"""
_OLD = "SELECT id, event FROM deliveries WHERE ended_at < ? ORDER BY ended_at LIMIT ?"
_CLAMP = "UPDATE deliveries SET due_at = ? WHERE due_at > ?"

_encode = msgspec.json.Encoder().encode


def new_event_id() -> str:
    """A name for an event, which no other event has, of whatever database."""
    return f"evt_{secrets.token_hex(12)}"


class Outbox:
    """Writes events for those who are to be told. While there is no webhook, that costs nothing.

    Args:
        database: a connection that may write; `load` is called when its webhooks have changed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wanted: frozenset[str] = frozenset()
        self._told: dict[Edge, WebhookEvent] = {}
        self.load()

    def load(self) -> None:
        """Find out again which events anybody is to be told of."""
        self._wanted = frozenset(
            event for (events,) in run(self._database, _WANTED).fetchall() for event in msgspec.json.decode(events)
        )
        self._told = {edge: event for edge, event in EVENT_OF_EDGE.items() if event in self._wanted}

    def write(
        self,
        acceptances: Sequence[Acceptance],
        moved: Sequence[Move],
        now_us: int,
        late: Sequence[OrderRecord] = (),
        at_us: int = 0,
    ) -> bool:
        """Write down what has happened, in the transaction that it happens in, after its steps.

        Args:
            acceptances: what became of new orders.
            moved: the steps that were taken.
            now_us: when it is to be sent: the queue's time, microseconds since 1970-01-01T00:00:00Z.
            late: the orders that were found late.
            at_us: when these were, likewise.

        Returns:
            Whether anybody is to be told of any of it.
        """
        if not self._wanted:
            return False
        rows = [
            (
                new_event_id(),
                record.sequence,
                record.order_id,
                event.value,
                at_us if event is WebhookEvent.LATE else record.updated_us,
                _encode(order_fields(record)).decode(),
                record.status.value,
                record.attempts,
            )
            for event, record in self._events(acceptances, moved, late)
        ]
        if rows:
            ((last,),) = run(self._database, _LAST_EVENT).fetchall()
            run_for_each(self._database, _WRITE, rows)
            run(self._database, _ADDRESS, (now_us, now_us, last))
        return bool(rows)

    def _events(
        self, acceptances: Sequence[Acceptance], moved: Sequence[Move], late: Sequence[OrderRecord]
    ) -> Iterator[tuple[WebhookEvent, OrderRecord]]:
        if WebhookEvent.ACCEPTED in self._wanted:
            for outcome, record in acceptances:
                if outcome is Outcome.ACCEPTED:
                    yield WebhookEvent.ACCEPTED, record
        told = self._told
        for step in moved:
            if (event := told.get(step.edge)) is not None and is_told(step):
                yield event, step.after
        if WebhookEvent.LATE in self._wanted:
            for record in late:
                yield WebhookEvent.LATE, record


def targets(database: Database, now_us: int) -> list[Target]:
    """Where events are sent at present, with what requests there are signed with."""
    return [
        Target(number, webhook_id, url, tuple(secret for secret in keys if secret is not None))
        for number, webhook_id, url, *keys in run(database, _TARGETS, (now_us,)).fetchall()
    ]


def due(database: Database, webhook: int, now_us: int, limit: int) -> list[DueDelivery]:
    """What is to be sent to a webhook now, what has been due longest first.

    Args:
        database: connected in this thread.
        webhook: its number.
        now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.
        limit: how many at the most.
    """
    return [DueDelivery(*row) for row in run(database, _DUE, (webhook, now_us, limit)).fetchall()]


def next_due_us(database: Database, webhook: int, now_us: int) -> int | None:
    """When something is to be sent there next, after `now_us`; None where nothing is."""
    found: int | None = run(database, _NEXT_DUE, (webhook, now_us)).fetchone()[0]
    return found


def first_due_us(database: Database) -> dict[str, int | None]:
    """When the next event of each webhook that is sent to is due, by its id, in microseconds since 1970-01-01."""
    return dict(run(database, _FIRST_DUE).fetchall())


def note_tries(database: Database, tries: Sequence[Tried], now_us: int) -> bool:
    """Write down how attempts went, in a transaction, and forget some of what has been over for long.

    Args:
        database: a connection that may write.
        tries: how they went.
        now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.

    Returns:
        Whether a webhook was disabled.
    """
    for tried in tries:
        attempt = tried.attempt
        run(
            database,
            _NOTE_ATTEMPT,
            (
                *(tried.number, attempt.at_us, attempt.status, attempt.error, attempt.answer, attempt.latency_us),
                tried.delivery,
            ),
        )
        ended_us = now_us if tried.due_us is None else None
        run(
            database,
            _NOTE_STATE,
            (tried.number, tried.due_us, ended_us, int(tried.is_delivered), tried.delivery),
        )
        if ended_us is not None:
            run(database, _LET_NEXT_GO, (now_us, tried.delivery))
        if tried.is_gone:
            run(database, _DISABLE, (now_us, "the receiver answered 410: it wants nothing more", tried.delivery))
    old = run(database, _OLD, (now_us - KEPT_US, _FORGOTTEN_AT_ONCE + len(tries))).fetchall()
    forget(database, old)
    return any(tried.is_gone for tried in tries)


def forget(database: Database, deliveries: Sequence[tuple[int, int]]) -> None:
    """Remove deliveries, each given with its event, and what nobody else has of them."""
    if deliveries:
        run_for_each(database, "DELETE FROM delivery_attempts WHERE delivery = ?", [(d,) for d, _ in deliveries])
        run_for_each(database, "DELETE FROM deliveries WHERE id = ?", [(d,) for d, _ in deliveries])
        unused = "DELETE FROM outbox WHERE id = ? AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event = outbox.id)"
        run_for_each(database, unused, [(event,) for event in {event for _, event in deliveries}])


def clamp_due_times(database: Database, now_us: int) -> None:
    """Let nothing wait longer than any delay explains: the clock was ahead when it began to. In a transaction."""
    run(database, _CLAMP, (now_us, now_us + _LONGEST_DELAY_US))
