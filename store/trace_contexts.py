"""Trace contexts of orders: stored beside those that came with one, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

from peewee import Database

from .statements import run_for_each, to_sql
from .tables import TraceContextModel

_WRITE = to_sql(TraceContextModel.insert({TraceContextModel.sequence: 0, TraceContextModel.traceparent: ""}))
_FORGET = to_sql(TraceContextModel.delete().where(TraceContextModel.sequence == 0))


def write(database: Database, sequences: Sequence[int], traceparents: Sequence[str | None]) -> None:
    """Store the contexts of new orders, in the transaction that stores these.

    Args:
        database: in that transaction.
        sequences: of the orders.
        traceparents: the context of each; None where it came with none.
    """
    rows = [(sequence, text) for sequence, text in zip(sequences, traceparents, strict=True) if text is not None]
    if rows:
        run_for_each(database, _WRITE, rows)


def find(database: Database, sequence: int) -> str | None:
    """The context of an order; None where it came with none."""
    query = TraceContextModel.select(TraceContextModel.traceparent).where(TraceContextModel.sequence == sequence)
    found: str | None = query.scalar(database)
    return found


def forget(database: Database, sequences: Sequence[int]) -> None:
    """Remove the contexts of orders that are removed, in the same transaction."""
    run_for_each(database, _FORGET, [(sequence,) for sequence in sequences])
