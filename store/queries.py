"""Every read of the database. Each function is given the database, connected in the calling thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from peewee import SQL, Database, ModelSelect, fn

from .domain import lifecycle
from .domain.engine_state import LIVING
from .domain.lifecycle import OrderStatus
from .domain.metrics import (
    LATE_ORDERS,
    PROCESSING_MICROSECONDS,
    PRUNED_COMPLETED,
    PRUNED_PROCESSING_MICROSECONDS,
    PRUNED_TIMED_ORDERS,
    REMOVED_EVENTS_THROUGH,
    TIMED_ORDERS,
)
from .domain.record import Attempt, HistoryPage, OrderRecord, Transition
from .rows import FOR_KEY, ORDER_COLUMNS, TRANSITION_COLUMNS, order_of, transition_of
from .statements import run, to_sql
from .tables import EngineModel, OrderModel, SecretModel, TotalModel, TransitionModel

_FIND = to_sql(OrderModel.select(*ORDER_COLUMNS).where(OrderModel.order_id == ""))
_STORED = to_sql(OrderModel.select(OrderModel.order_id).where(OrderModel.order_id.in_(SQL("{texts:?}"))))
_IS_PROCESSING = OrderModel.status == OrderStatus.PROCESSING.value
_OVER_AMONG = to_sql(
    OrderModel.select(OrderModel.order_id).where(
        OrderModel.order_id.in_(SQL("{texts:?}")) & SQL("status <> 'Pending' AND status <> 'Processing'")
    )
)
# The index by user is in eras, which are followed one after another. Their sequence is that of the orders.
_ERA = "t1.sequence >> 14"
_IN_ANY_ERA = SQL(f"""{_ERA} {{one_of:
    WITH RECURSIVE eras (era) AS (
      SELECT max(sequence) >> 14 FROM orders
      UNION ALL SELECT era - 1 FROM eras WHERE era > (SELECT min(sequence) >> 14 FROM orders))
    SELECT era FROM eras}}""")
_NEWEST_ERA_FIRST = SQL(f"{_ERA} DESC")
# The conditions of partial indexes have to be met word for word.
_PENDING_BY_USER = SQL("orders AS t1{indexed_by:orders_pending_by_user}")
_IS_PENDING = SQL("t1.status = 'Pending'")
_ORDERS_BY_STATUS = SQL("orders AS t1{indexed_by:orders_by_status}")
_IS_OVER_OTHERWISE = SQL("t1.status <> 'Pending' AND t1.status <> 'Processing' AND t1.status <> 'Completed'")
_IS_TERMINAL = SQL("t1.status <> 'Pending' AND t1.status <> 'Processing' AND t1.status <> 'Review'")


def is_of_key(key: str, orders: str = "orders") -> str:
    """The condition of a key's orders that are neither Completed nor Cancelled, word for word that of their index; with
    one status besides, it is one look at that.

    Args:
        key: what the key is, in SQL.
        orders: the name of the table in the statement.
    """
    return (
        f"{orders}.serial_key = {key} AND {orders}.serial_key IS NOT NULL"
        f" AND {orders}.status <> 'Completed' AND {orders}.status <> 'Cancelled'"
    )


# A Failed order may be what others of its key wait for.
_IS_NOT_WAITED_FOR = SQL(f"""NOT (t1.status = 'Failed' AND t1.serial_key IS NOT NULL AND EXISTS (
    SELECT 1 FROM orders AS t2 WHERE {is_of_key("t1.serial_key", "t2")} AND t2.status = 'Pending'))""")
_OVER = (
    to_sql(
        OrderModel.select(*ORDER_COLUMNS)
        .from_(SQL("orders AS t1{indexed_by:orders_over}"))
        .where(_IS_TERMINAL & _IS_NOT_WAITED_FOR & OrderModel.keyed_at.is_null() & (OrderModel.updated_at < 0))
        .order_by(OrderModel.updated_at)
        .limit(1)
    )
    + "{skip_locked}"
)
_OVER_WITH_KEY = (
    to_sql(
        OrderModel.select(*ORDER_COLUMNS)
        .from_(SQL("orders AS t1{indexed_by:orders_over_with_key}"))
        .where(
            _IS_TERMINAL
            & _IS_NOT_WAITED_FOR
            & OrderModel.keyed_at.is_null(False)
            & (OrderModel.updated_at < 0)
            & (OrderModel.keyed_at < 0)
        )
        .order_by(OrderModel.updated_at)
        .limit(1)
    )
    + "{skip_locked}"
)
_OLDEST = "SELECT " + ", ".join(
    len(OrderStatus) * ["(SELECT created_at FROM orders WHERE status = ? ORDER BY sequence LIMIT 1)"]
)
IS_IN_LINE = "rank IS NOT NULL AND ready_at IS NOT NULL AND parked IS NULL"
AMONG = "{integers:?}"
_NUMBERED = to_sql(OrderModel.select(*ORDER_COLUMNS).where(OrderModel.sequence.in_(SQL(AMONG))))
_FIRST_IN_LINE = (
    f"SELECT sequence FROM orders WHERE {IS_IN_LINE} AND sequence NOT IN {AMONG} ORDER BY rank, sequence LIMIT 1"
)
_FIRST_READY = f"""
    SELECT sequence FROM orders
    WHERE sequence IN {AMONG} AND ready_at IS NOT NULL AND (rank IS NOT NULL OR ready_at <= ?)
      AND coalesce(parked, '') <> '{FOR_KEY}'
    ORDER BY priority DESC, rank, sequence LIMIT 1
"""
_NEXT_READY = "SELECT min(ready_at) FROM orders WHERE rank IS NULL AND ready_at IS NOT NULL"


def stored(database: Database, order_ids: Sequence[str]) -> set[str]:
    """Which of these ids are taken."""
    rows = run(database, _STORED, (as_json(order_ids),)).fetchall()
    return {order_id for (order_id,) in rows}


def find(database: Database, order_id: str) -> OrderRecord | None:
    """The order of that id, or None."""
    row = run(database, _FIND, (order_id,)).fetchone()
    return None if row is None else order_of(row)


def history(database: Database, order_id: str) -> tuple[Transition, ...]:
    """All transitions of an order, oldest first; empty where there is no such order."""
    steps = _steps_of(order_id, *TRANSITION_COLUMNS).order_by(TransitionModel.id)
    return tuple(map(transition_of, steps.tuples().execute(database)))


def history_page(database: Database, order_id: str, after: int | None = None, *, limit: int) -> HistoryPage:
    """Some of the transitions of an order, oldest first; none where there is no such order.

    Args:
        database: connected in this thread.
        order_id: the order.
        after: where the page begins: the `after` of the last page.
        limit: how many at the most.
    """
    # Attempts rise with the steps, and lead the index of an order's steps: so a page reads no more than it shows.
    attempt, number = TransitionModel.attempt, TransitionModel.id
    steps = _steps_of(order_id, number, *TRANSITION_COLUMNS).order_by(attempt, number).limit(limit + 1)
    if after is not None:
        last = TransitionModel.alias("last")
        its_attempt = last.select(last.attempt).where((last.id == after) & (last.order_id == order_id))
        steps = steps.where((attempt >= fn.COALESCE(its_attempt, 0)) & (number > after))
    rows = list(steps.tuples().execute(database))
    shown = rows[:limit]
    return HistoryPage([transition_of(row) for _, *row in shown], shown[-1][0] if len(rows) > limit else None)


def newest_steps(database: Database, order_id: str, *, limit: int) -> list[Transition]:
    """The last transitions of an order, newest first; none where there is no such order.

    Args:
        database: connected in this thread.
        order_id: the order.
        limit: how many at the most.
    """
    steps = _steps_of(order_id, *TRANSITION_COLUMNS).limit(limit)
    steps = steps.order_by(TransitionModel.attempt.desc(), TransitionModel.id.desc())
    return list(map(transition_of, steps.tuples().execute(database)))


def _steps_of(order_id: str, *columns: Any) -> ModelSelect[TransitionModel]:
    order = OrderModel.select(OrderModel.sequence).where(OrderModel.order_id == order_id)
    return TransitionModel.select(*columns).where(TransitionModel.sequence == order)


def page(
    database: Database,
    *,
    status: OrderStatus | None = None,
    user_id: str | None = None,
    before: int | None = None,
    limit: int,
) -> list[OrderRecord]:
    """Orders, newest first.

    Args:
        database: connected in this thread.
        status: only these.
        user_id: only this user's.
        before: only those with a sequence below this one, to go on where the last page ended.
        limit: how many at the most.
    """
    query = listing(status, user_id).limit(limit)
    if before is not None:
        query = query.where(OrderModel.sequence < before)
    return [order_of(row) for row in query.tuples().execute(database)]


def listing(status: OrderStatus | None, user_id: str | None) -> ModelSelect[OrderModel]:
    """The query for orders, newest first, in the sequence of the index of the status, the user or both.

    Args:
        status: only these.
        user_id: only this user's.
    """
    query = OrderModel.select(*ORDER_COLUMNS).order_by(OrderModel.sequence.desc())
    if user_id is not None:
        query = query.where(OrderModel.user_id == user_id)
    if status is None or not is_indexed(status, user_id):
        if user_id is not None:
            query = query.where(_IN_ANY_ERA).order_by(_NEWEST_ERA_FIRST, OrderModel.sequence.desc())
        return query if status is None else query.where(has_status(status))
    query = query.where(OrderModel.status == status.value)
    if user_id is not None:
        # A user may have many orders, and few in this status: there is an index for it.
        if status is OrderStatus.PENDING:
            query = query.from_(_PENDING_BY_USER).where(_IS_PENDING)
        elif status is OrderStatus.PROCESSING:
            query = query.from_(_ORDERS_BY_STATUS)  # of all users, but never more than what is in hand
        else:
            query = query.where(_IS_OVER_OTHERWISE)
    return query


def is_indexed(status: OrderStatus, user_id: str | None) -> bool:
    """Whether an index leads to the orders in a status, or to those of one user.

    Not to the Completed ones of a user: most orders are, and an entry for each, on a page that lies apart from those of
    other users, would cost as much as a fifth of all that is written for an order.

    Args:
        status: it.
        user_id: whose orders; None for everybody's.
    """
    return user_id is None or status is not OrderStatus.COMPLETED


def has_status(status: OrderStatus) -> SQL:
    """The condition that an order is in a status, looked up in the order itself."""
    return SQL("{not_indexed}t1.status = ?", (status.value,))


def numbered(database: Database, sequences: Collection[int]) -> list[OrderRecord]:
    """The orders of these sequences, as far as they are there; in no particular sequence."""
    return [order_of(row) for row in run(database, _NUMBERED, (as_json(sequences),)).fetchall()]


def first_in_line(database: Database, but_not: Collection[int] = ()) -> int | None:
    """The sequence of the first Pending order of some line; None where none may be processed.

    Args:
        database: connected in this thread.
        but_not: sequences that are passed over.
    """
    row = run(database, _FIRST_IN_LINE, (as_json(but_not),)).fetchone()
    return None if row is None else int(row[0])


def first_ready(database: Database, sequences: Collection[int], now_us: int) -> int | None:
    """The sequence of the first of these orders that is Pending and may be processed; None where none may.

    Args:
        database: connected in this thread.
        sequences: of these orders.
        now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.
    """
    row = run(database, _FIRST_READY, (as_json(sequences), now_us)).fetchone()
    return None if row is None else int(row[0])


def next_ready_us(database: Database) -> int | None:
    """When the first Pending order is ready of those that wait for their time; None where none does.

    Returns:
        On the queue's clock, microseconds since 1970-01-01T00:00:00Z.
    """
    (earliest,) = run(database, _NEXT_READY).fetchone()
    return None if earliest is None else int(earliest)


def as_json(values: Collection[int] | Collection[str]) -> str:
    """Sequences as a parameter of `AMONG`, or texts as one of `{texts:?}`."""
    return msgspec.json.encode(list(values)).decode()


def attempts_in_hand(database: Database, owner: int | None = None) -> list[Attempt]:
    """The attempts of orders that are Processing, oldest first.

    Args:
        database: connected in this thread.
        owner: the run of an engine that has them; None for those that no living one has, which are all with SQLite.
    """
    query = (
        OrderModel.select(OrderModel.sequence, OrderModel.attempts)
        .where(_is_left() if owner is None else _IS_PROCESSING & (OrderModel.owner == owner))
        .order_by(OrderModel.sequence)
    )
    return [Attempt(*row) for row in query.tuples().execute(database)]


def left_behind(database: Database, limit: int) -> list[OrderRecord]:
    """Orders that are Processing and that no living engine has, oldest first: what was in hand at a crash."""
    query = OrderModel.select(*ORDER_COLUMNS).where(_is_left()).order_by(OrderModel.sequence).limit(limit)
    return [order_of(row) for row in query.tuples().execute(database)]


def _is_left() -> Any:
    owner = EngineModel.select(SQL("1")).where((EngineModel.id == OrderModel.owner) & EngineModel.state.in_(LIVING))
    return _IS_PROCESSING & ~fn.EXISTS(owner)


def over_among(database: Database, order_ids: Sequence[str]) -> list[str]:
    """Which of these orders are neither Pending nor Processing."""
    rows = run(database, _OVER_AMONG, (as_json(order_ids),)).fetchall()
    return [order_id for (order_id,) in rows]


def over(database: Database, before_us: int, keyed_before_us: int, limit: int) -> list[OrderRecord]:
    """Terminal orders that changed last before a time, the oldest first; until the end of the transaction they stay so.

    Args:
        database: in a transaction that writes.
        before_us: that time, microseconds since 1970-01-01T00:00:00Z.
        keyed_before_us: a further one for orders that an idempotency key came with, which neither changed nor came with
            one since.
        limit: how many at the most.
    """
    rows = run(database, _OVER, (before_us, limit)).fetchall()
    rows += run(
        database, _OVER_WITH_KEY, (min(before_us, keyed_before_us), keyed_before_us, limit - len(rows))
    ).fetchall()
    return [order_of(row) for row in rows]


def backlog_by_user(database: Database) -> Counter[str]:
    """How many unfinished orders each user has. Reads the whole backlog."""
    backlog = [status.value for status in lifecycle.BACKLOG]
    counts = (
        OrderModel.select(OrderModel.user_id, fn.COUNT(SQL("*")))
        .where(OrderModel.status.in_(backlog))
        .group_by(OrderModel.user_id)
    )
    return Counter(dict(counts.tuples().execute(database)))


def last_sequence(database: Database) -> int:
    """The highest sequence that was ever given to an order, one that is gone among them; 0 before the first."""
    row = run(database, "{last_sequence}").fetchone()
    return 0 if row is None else int(row[0])


def last_transition_us(database: Database) -> int:
    """The latest time among the newest transitions, microseconds since 1970-01-01T00:00:00Z; 0 before the first."""
    # Batches are recorded in order, and times differ by moments within one: the newest thousand hold the latest.
    newest = TransitionModel.select(TransitionModel.at).order_by(TransitionModel.id.desc()).limit(1000)
    return max((at for (at,) in newest.tuples().execute(database)), default=0)


def oldest_us(database: Database) -> dict[OrderStatus, int | None]:
    """When the oldest order in each status was accepted, microseconds since 1970-01-01T00:00:00Z; None without one."""
    row = run(database, _OLDEST, tuple(status.value for status in OrderStatus)).fetchone()
    return dict(zip(OrderStatus, row, strict=True))


def session_secret(database: Database) -> bytes:
    """What the sessions of the pages are signed with."""
    ((value,),) = SecretModel.select(SecretModel.value).where(SecretModel.name == "sessions").tuples().execute(database)
    return bytes(value)


def totals(database: Database) -> Counter[str]:
    """The running counts, by their names in `totals`."""
    values = TotalModel.select(TotalModel.name, fn.SUM(TotalModel.value)).group_by(TotalModel.name)
    return Counter({name: int(value) for name, value in values.tuples().execute(database)})


def recount(database: Database) -> Counter[str]:
    """The same counts, taken anew from `orders` and `transitions`. Reads both tables whole."""
    counts = Counter({status.value: 0 for status in OrderStatus})
    by_status = OrderModel.select(OrderModel.status, fn.COUNT(SQL("*"))).group_by(OrderModel.status)
    counts.update(dict(by_status.tuples().execute(database)))
    started, completed = TransitionModel.alias(), TransitionModel.alias()
    durations = (
        completed.select(fn.COUNT(SQL("*")), fn.SUM(completed.at - started.at))
        .join(started, on=(started.sequence == completed.sequence) & (started.attempt == completed.attempt))
        .where(
            (completed.from_status == lifecycle.COMPLETE.source)
            & (completed.to_status == lifecycle.COMPLETE.target)
            & (started.to_status == lifecycle.ASSIGN.target)
        )
    )
    ((count, microseconds),) = durations.tuples().execute(database)
    pruned = totals(database)
    for name in (
        *(PRUNED_COMPLETED, PRUNED_TIMED_ORDERS, PRUNED_PROCESSING_MICROSECONDS),
        *(LATE_ORDERS, REMOVED_EVENTS_THROUGH),
    ):
        counts[name] = pruned[name]  # what is gone cannot be counted again
    counts[TIMED_ORDERS] = count + pruned[PRUNED_TIMED_ORDERS]
    counts[PROCESSING_MICROSECONDS] = int(microseconds or 0) + pruned[PRUNED_PROCESSING_MICROSECONDS]
    return counts
