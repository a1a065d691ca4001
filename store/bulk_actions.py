"""Bulk actions in the database: what they match, where they are, and what their next orders are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from peewee import Database

from . import search
from .audit_log import write_acts
from .domain.act import Act, Action
from .domain.bulk_action import ActionProgress, ActionState, BulkAction, BulkRequest
from .domain.lifecycle import OrderStatus
from .domain.order_filter import OrderFilter, OrderPage
from .domain.record import Cause
from .statements import insert_one, remove_old, run, to_sql, write_transaction
from .tables import BulkActionModel
from .translation import translated_errors

EXAMPLES = 10
"""Orders that a preview shows."""

_COLUMNS = (
    BulkActionModel.id,
    BulkActionModel.action,
    BulkActionModel.filters,
    BulkActionModel.settled,
    BulkActionModel.reason,
    BulkActionModel.request_id,
    BulkActionModel.acted_by,
    BulkActionModel.state,
    BulkActionModel.matched,
    BulkActionModel.moved,
    BulkActionModel.refused,
    BulkActionModel.before,
    BulkActionModel.created_at,
    BulkActionModel.ended_at,
)
_ADVANCE = to_sql(
    BulkActionModel.update(
        {
            BulkActionModel.moved: BulkActionModel.moved + 0,
            BulkActionModel.refused: BulkActionModel.refused + 0,
            BulkActionModel.before: 0,
        }
    ).where(BulkActionModel.id == 0)
)

_STATE = "SELECT state FROM bulk_actions WHERE id = ?{for_update}"


def next_orders(
    database: Database, request: BulkRequest, *, before: int | None, limit: int, scanned: int = search.SCANNED
) -> OrderPage:
    """The next orders that a bulk action is for, newest first.

    Args:
        database: connected in this thread.
        request: what is to be done, and to which orders.
        before: only those with a sequence below this one; None begins with the newest.
        limit: how many at the most.
        scanned: how many are looked at for it.
    """
    return search.page(
        database,
        request.wanted,
        before=before,
        limit=limit,
        scanned=scanned,
        among=request.statuses,
        has_failed=request.action is Action.RETRY,
    )


def count_orders(database: Database, request: BulkRequest, before: int | None) -> tuple[int, int | None]:
    """How many orders a bulk action is for, of some; and the sequence below which to go on, None at the end.

    Args:
        database: connected in this thread.
        request: what is to be done, and to which orders.
        before: only those with a sequence below this one; None begins with the newest.
    """
    return search.count(
        database,
        request.wanted,
        before=before,
        among=request.statuses,
        has_failed=request.action is Action.RETRY,
    )


def sequences(database: Database, request: BulkRequest) -> Iterator[int]:
    """The sequences of all orders that a bulk action is for, in any sequence.

    Args:
        database: connected in this thread.
        request: what is to be done, and to which orders.
    """
    has_failed = request.action is Action.RETRY
    return search.sequences(database, request.wanted, among=request.statuses, has_failed=has_failed)


def find(database: Database, action_id: int) -> BulkAction | None:
    """The bulk action of that number, or None."""
    query = BulkActionModel.select(*_COLUMNS).where(BulkActionModel.id == action_id)
    return next((_action_of(row) for row in query.tuples().execute(database)), None)


def page(database: Database, *, before: int | None = None, limit: int) -> list[BulkAction]:
    """Bulk actions, newest first.

    Args:
        database: connected in this thread.
        before: only those with an id below this one, to go on where the last page ended.
        limit: how many at the most.
    """
    query = BulkActionModel.select(*_COLUMNS).order_by(BulkActionModel.id.desc()).limit(limit)
    if before is not None:
        query = query.where(BulkActionModel.id < before)
    return [_action_of(row) for row in query.tuples().execute(database)]


def forget(database: Database, before_us: int, limit: int) -> int:
    """Remove bulk actions that were over before a time, oldest first, in a transaction.

    Args:
        database: a connection that may write.
        before_us: microseconds since 1970-01-01T00:00:00Z.
        limit: how many at the most.

    Returns:
        How many there were.
    """
    oldest = (
        BulkActionModel.select(BulkActionModel.id, BulkActionModel.ended_at)
        .where(BulkActionModel.state != ActionState.RUNNING.value)
        .order_by(BulkActionModel.id)
        .limit(limit)
    )
    return remove_old(database, oldest, before_us)


def first_running(database: Database) -> BulkAction | None:
    """The oldest bulk action that is not over, or None."""
    query = (
        BulkActionModel.select(*_COLUMNS)
        .where(BulkActionModel.state == ActionState.RUNNING.value)
        .order_by(BulkActionModel.id)
        .limit(1)
    )
    return next((_action_of(row) for row in query.tuples().execute(database)), None)


def start(
    database: Database, request: BulkRequest, reason: str | None, cause: Cause, matched: int, before: int, at_us: int
) -> BulkAction:
    """Write down a bulk action, which is to be carried out from now on.

    Args:
        database: a connection that may write.
        request: what is to be done, and to which orders.
        reason: why.
        cause: who wants it.
        matched: how many orders it is for.
        before: it is for orders below this sequence.
        at_us: when, microseconds since 1970-01-01T00:00:00Z.

    Raises:
        StoreUnavailable: the database did not take it.
    """
    row = {
        BulkActionModel.action: request.action.value,
        BulkActionModel.filters: msgspec.json.encode(request.wanted).decode(),
        BulkActionModel.settled: None if request.settled is None else request.settled.value,
        BulkActionModel.reason: reason,
        BulkActionModel.request_id: cause.request_id,
        BulkActionModel.acted_by: cause.acted_by,
        BulkActionModel.state: ActionState.RUNNING.value,
        BulkActionModel.matched: matched,
        BulkActionModel.moved: 0,
        BulkActionModel.refused: 0,
        BulkActionModel.before: before,
        BulkActionModel.created_at: at_us,
        BulkActionModel.ended_at: None,
    }
    with translated_errors(), write_transaction(database):
        action_id = insert_one(database, BulkActionModel.insert(row), BulkActionModel.id)
        target = f"action {action_id}: {request.told}"
        write_acts(database, (Act(request.action, target, reason, None, cause),), at_us)
    return BulkAction(action_id, request, reason, cause, ActionState.RUNNING, matched, 0, 0, before, at_us, None)


def is_running(database: Database, action_id: int) -> bool:
    """Whether a bulk action is to be carried on; that stays so until the end of the transaction."""
    found = run(database, _STATE, (action_id,)).fetchone()
    return found is not None and found[0] == ActionState.RUNNING


def advance(database: Database, progress: ActionProgress, moved: int, refused: int, at_us: int) -> None:
    """Note how far a bulk action is, in the transaction that moves its orders.

    Args:
        database: in that transaction.
        progress: where it goes on.
        moved: how many orders the transaction has moved.
        refused: how many it has not, since they had moved on.
        at_us: when, microseconds since 1970-01-01T00:00:00Z.
    """
    values = (moved, progress.refused + refused, progress.before, progress.action_id)
    run(database, _ADVANCE, values)
    if progress.is_last:
        _end(database, progress.action_id, ActionState.DONE, None, None, at_us)


def stop(database: Database, action_id: int, reason: str | None, cause: Cause, at_us: int) -> None:
    """Carry a bulk action out no further; nothing happens where it is over.

    Args:
        database: a connection that may write.
        action_id: which one.
        reason: why.
        cause: who wants it.
        at_us: when, microseconds since 1970-01-01T00:00:00Z.

    Raises:
        StoreUnavailable: the database did not take it.
    """
    with translated_errors(), write_transaction(database):
        _end(database, action_id, ActionState.STOPPED, reason, cause, at_us)


def _end(
    database: Database, action_id: int, state: ActionState, reason: str | None, cause: Cause | None, at_us: int
) -> None:
    if not is_running(database, action_id) or (action := find(database, action_id)) is None:
        return
    change = {BulkActionModel.state: state.value, BulkActionModel.ended_at: at_us}
    BulkActionModel.update(change).where(BulkActionModel.id == action_id).execute(database)
    act = Act(action.request.action, f"action {action_id} is {state}", reason, action.moved, cause or action.cause)
    write_acts(database, (act,), at_us)


def _action_of(row: Any) -> BulkAction:
    action_id, action, filters, settled, reason, request_id, acted_by, state, *more = row
    wanted = msgspec.json.decode(filters, type=OrderFilter)
    request = BulkRequest(Action(action), wanted, None if settled is None else OrderStatus(settled))
    return BulkAction(action_id, request, reason, Cause(request_id, acted_by), ActionState(state), *more)
