"""Recovery: settles, before anything else runs, the orders that were in hand when an engine died."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ..store import queries
from ..store.domain.lifecycle import OrderStatus
from ..store.domain.record import Attempt, OrderRecord
from ..store.ledger import Ledger
from ..store.statements import Database
from ..store.writer import Writer
from .actors.context import EngineContext
from .actors.transition_log import log_transitions
from .execution.begun import Begun, Progress
from .execution.handler import MAX_RETRY_AFTER
from .execution.retry import put_back
from .execution.unknown_outcome import settle
from .logger import EngineLogger

_BATCH = 1000
_INTERRUPTED = "the engine died while the order was in hand"
_UNBEGUN = "the engine died before the order was begun"
_LEFT = "the engine stopped before the handler returned"

_log = EngineLogger("ordermill.engine.recovery")


class Recovered(NamedTuple):
    """What recovery did with the orders that were Processing.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     engine.recovered
        Recovered(returned=0, completed=0, failed=0, parked=0)
    """

    returned: int = 0
    """Back to Pending, to be handled again."""
    completed: int = 0
    """Completed, since a probe found their effect done."""
    failed: int = 0
    """Failed, since that was their last attempt."""
    parked: int = 0
    """In Review, for an operator to settle."""


def recover(database: Writer, context: EngineContext, begun: Begun) -> Recovered:
    """Move every Processing order on that no living engine has, and see to it that every Pending one gets its turn.

    The suspects of a crash go into the context.

    Args:
        database: a connection that may write.
        context: the settings, the time, and whom to ask about effects.
        begun: what the last engine had begun.

    Raises:
        StoreUnavailable: the database did not take a write; what was recorded before stays.
    """
    config = context.config
    ledger = Ledger(
        database, key_policy=config.key_policy, serial_users=config.serial_users, weights=config.user_weights
    )
    _let_wait_no_longer(ledger, context)
    crash = _Crash.of(_if_of_this_past(begun, database), queries.attempts_in_hand(database))
    count: Counter[OrderStatus] = Counter()
    while records := queries.left_behind(database, _BATCH):
        replies = [context.prober.ask(record.order) if crash.has_begun(record) else None for record in records]
        effects = [None if reply is None else reply.get() for reply in replies]
        now = context.now()
        moves = [
            put_back(record, now, _UNBEGUN)
            if effect is None
            else settle(record, effect, now, crash.reason, context.config, pays=record.attempt in crash.payers)
            for record, effect in zip(records, effects, strict=True)
        ]
        recorded = ledger.record((), moves, now.at_us)
        log_transitions(recorded, ())
        count.update(step.after.status for step in recorded.moved)  # another engine may have settled the others
    ledger.let_go_held()
    context.suspects.update(attempt.sequence for attempt in crash.suspects)
    return Recovered(
        returned=count[OrderStatus.PENDING],
        completed=count[OrderStatus.COMPLETED],
        failed=count[OrderStatus.FAILED],
        parked=count[OrderStatus.REVIEW],
    )


class _Crash(NamedTuple):
    """What can be said about the end of an engine."""

    begun: Begun
    reason: str
    suspects: frozenset[Attempt]
    """Any of these may have killed the process."""
    payers: frozenset[Attempt]
    """This one did, as far as can be known, or these."""

    @classmethod
    def of(cls, begun: Begun, in_hand: list[Attempt]) -> _Crash:
        if not begun.has_crashed:
            return cls(begun, _LEFT, frozenset(), frozenset())
        known = {} if begun.attempts is None else begun.attempts
        otherwise = Progress.RUNS if begun.attempts is None else None
        progress = {attempt: known.get(attempt, otherwise) for attempt in in_hand}
        alone = frozenset(attempt for attempt, found in progress.items() if found is Progress.RUNS_ALONE)
        running = alone.union(attempt for attempt, found in progress.items() if found is Progress.RUNS)
        # One that runs alone may take long; then others run beside it, and it is the suspect still.
        payers = alone or (running if len(running) == 1 else frozenset())
        return cls(begun, _INTERRUPTED, running, payers)

    def has_begun(self, record: OrderRecord) -> bool:
        return self.begun.attempts is None or record.attempt in self.begun.attempts


def _if_of_this_past(begun: Begun, database: Database) -> Begun:
    # Where a backup was put back, the file may know of orders that the database has never seen, and knows no others.
    newest = max((attempt.sequence for attempt in begun.attempts or ()), default=0)
    return begun._replace(attempts=None) if newest > queries.last_sequence(database) else begun


def _let_wait_no_longer(ledger: Ledger, context: EngineContext) -> None:
    longest_seconds = max(context.config.retry_max_seconds, MAX_RETRY_AFTER)
    clamped = ledger.clamp_ready_times(context.queue_clock.now_us(), round(longest_seconds * 1e6))
    if clamped:
        _log.warning("%d orders were to wait for a time that lies too far ahead: they are processed now", clamped)
