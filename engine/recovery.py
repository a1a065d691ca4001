"""Recovery: settles, before anything else runs, the orders that were in hand when an engine died."""

from __future__ import annotations

from typing import NamedTuple

from peewee import Database

from ..store import lifecycle, queries
from ..store.ledger import Ledger
from ..store.lifecycle import OrderStatus
from ..store.record import Move, OrderRecord, move
from .clock import Clock
from .config import EngineConfig, OnInterrupted
from .processor import after_failure

_BATCH = 1000
_INTERRUPTED = "the engine died while the order was in hand"


class Recovered(NamedTuple):
    """What recovery did with the orders that were Processing."""

    returned: int = 0
    """Back to Pending, to be handled again."""
    failed: int = 0
    """Failed, since that was their last attempt."""
    parked: int = 0
    """In Review, for an operator to settle."""


def recover(database: Database, config: EngineConfig, clock: Clock) -> Recovered:
    """Move every Processing order on. No engine may be running over the database.

    Args:
        database: a connection that may write.
        config: says whether orders are tried again or parked.
        clock: for the time of the steps.

    Raises:
        StoreUnavailable: the database did not take a write; what was recorded before stays.
    """
    ledger = Ledger(database)
    count = dict.fromkeys((OrderStatus.PENDING, OrderStatus.FAILED, OrderStatus.REVIEW), 0)
    while records := queries.processing(database, _BATCH):
        now = clock.now_us()
        moves = [_settle(record, now, config) for record in records]
        ledger.record((), moves, now)
        for step in moves:
            count[step.after.status] += 1
    return Recovered(count[OrderStatus.PENDING], count[OrderStatus.FAILED], count[OrderStatus.REVIEW])


def _settle(record: OrderRecord, now_us: int, config: EngineConfig) -> Move:
    if config.on_interrupted is OnInterrupted.REVIEW:
        return move(record, lifecycle.PARK, now_us, failed=True)
    # A crash counts as a failed attempt, or an order that kills the process would do so for ever.
    return after_failure(record, now_us, _INTERRUPTED, config, at_once=True)
