"""The audit log: what people have done, written in the transaction that does it."""

from __future__ import annotations

from collections.abc import Sequence

from peewee import Database

from .domain.act import Act, AuditEntry
from .statements import remove_old, run_for_each, to_sql
from .tables import AuditLogModel

_COLUMNS = (
    AuditLogModel.at,
    AuditLogModel.action,
    AuditLogModel.target,
    AuditLogModel.reason,
    AuditLogModel.orders,
    AuditLogModel.request_id,
    AuditLogModel.acted_by,
)
_WRITE = to_sql(AuditLogModel.insert(dict.fromkeys(_COLUMNS, 0)))


def write_acts(database: Database, acts: Sequence[Act], at_us: int) -> None:
    """Add to the log.

    Args:
        database: in the transaction that does what is told of.
        acts: what was done.
        at_us: when, microseconds since 1970-01-01T00:00:00Z.
    """
    rows = [(at_us, act.action.value, act.target, act.reason, act.orders, *act.cause[:2]) for act in acts]
    run_for_each(database, _WRITE, rows)


def forget(database: Database, before_us: int, limit: int) -> int:
    """Remove entries from before a time, oldest first, in a transaction.

    Args:
        database: a connection that may write.
        before_us: microseconds since 1970-01-01T00:00:00Z.
        limit: how many at the most.

    Returns:
        How many there were.
    """
    oldest = AuditLogModel.select(AuditLogModel.id, AuditLogModel.at).order_by(AuditLogModel.id).limit(limit)
    return remove_old(database, oldest, before_us)


def page(database: Database, *, before: int | None = None, limit: int) -> list[AuditEntry]:
    """Entries of the log, newest first.

    Args:
        database: connected in this thread.
        before: only those with an id below this one, to go on where the last page ended.
        limit: how many at the most.
    """
    query = AuditLogModel.select(AuditLogModel.id, *_COLUMNS).order_by(AuditLogModel.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditLogModel.id < before)
    return [AuditEntry(*row) for row in query.tuples().execute(database)]
