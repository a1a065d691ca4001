"""Membership: the engine among others over the same database. Keeps its lease, and finds those that lost theirs.

With a database that one engine has for itself there is nothing to keep.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ...store import engines
from ...store.domain.record import Attempt, OrderRecord
from ...store.queries import left_behind
from ...store.translation import translated_errors
from ...store.writer import Writer
from ..clock import SystemClock, Timer
from ..logger import EngineLogger
from ..process_identity import has_ended, process_identity
from .context import EngineContext
from .messages import GiveHint, LeaseOver, LookAround, OrdersLeft

_LOOK_SECONDS = (0.2, 0.3)
"""How often an engine looks what the others have done, at random, so that they do not all look at once."""
_RENEWALS = 5
"""How often a lease is renewed in its time."""
_HINTS_APART_US = 50_000
_SETTLED_AT_ONCE = 1_000
_LOOK_FOR_LEFT_SECONDS = 0.5

_log = EngineLogger("ordermill.engine.membership")


class Membership:
    """Knows whether the engine may act, and whether it leads. Used by the recorder.

    It goes by the machine's monotonic clock, whatever clock the engine has: a lease is the database's time.

    Args:
        context: the engine's settings, and what all its actors are to know.
        database: the connection that writes.
        tell: tells the recorder a message.
        tell_pool: likewise the pool.
    """

    def __init__(
        self,
        context: EngineContext,
        database: Writer,
        tell: Callable[[object], None],
        tell_pool: Callable[[object], None],
    ) -> None:
        self._context = context
        self._tell = tell
        self._tell_pool = tell_pool
        self._lease_us = round(context.config.lease_seconds * 1e6)
        self._clock = SystemClock()
        self._expiry: Timer | None = None
        self._look: Timer | None = None
        self._hint: Timer | None = None
        self._hinted_us = 0
        self._renewed_us = self._looked_us = self._clock.monotonic_us()
        self._settling: set[Attempt] = set()
        self._is_leaving = False
        self.use(database)
        if database.is_shared:
            self._note_renewal(self._renewed_us)
            self.look_later()

    def use(self, database: Writer) -> None:
        """From now on, this connection is the one that writes.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        self._database = database
        if database.is_shared:
            with translated_errors():
                database.act_as(self._context.engine_id, self._context.config.lease_seconds)

    def close(self) -> None:
        """Say that the engine is over, and that nobody has to wait for its lease."""
        self._clock.close()
        if not self._database.is_closed():
            with translated_errors():
                engines.leave(self._database, self._context.engine_id)

    def note_stop(self) -> None:
        """The engine begins to stop."""
        self._is_leaving = True

    def look_later(self) -> None:
        """Have the recorder look around in a moment."""
        if self._look is not None:
            self._clock.cancel(self._look)
        self._look = self._clock.call_after(random.uniform(*_LOOK_SECONDS), lambda: self._tell(LookAround()))

    def hint(self) -> bool:
        """Tell other engines that there is something new; where they were told just now, a moment later.

        Returns:
            Whether they were told.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        now_us = self._clock.monotonic_us()
        if (left_us := self._hinted_us + _HINTS_APART_US - now_us) > 0:
            if self._hint is None:
                self._hint = self._clock.call_after(left_us / 1e6, lambda: self._tell(GiveHint()))
            return False
        self._hint, self._hinted_us = None, now_us
        self._database.hint()
        return True

    def keep(self) -> bool:
        """Renew the lease, if it is time; join anew where the engine has lost it.

        Returns:
            Whether it has joined anew.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        now_us = self._clock.monotonic_us()
        if self._context.has_authority and now_us - self._renewed_us < self._lease_us // _RENEWALS:
            return False
        with translated_errors():
            if self._context.has_authority and self._renew():
                self._note_renewal(now_us)
                return False
            self._join_anew()
        return True

    def lose(self) -> None:
        """The database does not take the engine for alive any more: it claims nothing, and lets go of what it has."""
        if self._context.has_authority:
            self._context.has_authority = self._context.leads = False
            self._tell_pool(LeaseOver())

    def look(self) -> None:
        """Take those for dead who are, find out who leads, and settle what nobody has in hand if this engine does.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        with translated_errors():
            own = self._context.engine_id
            declare_dead(self._database, own)
            found = engines.living(self._database)
        self._context.leads = bool(found) and found[0].id == own
        self._context.is_alone = len(found) <= 1
        now_us = self._clock.monotonic_us()
        if self._context.leads and now_us - self._looked_us >= _LOOK_FOR_LEFT_SECONDS * 1e6:
            self._looked_us = now_us
            self._settle()

    def _settle(self) -> None:
        left: list[OrderRecord] = self._database.read(lambda database: left_behind(database, _SETTLED_AT_ONCE))
        new = [record for record in left if record.attempt not in self._settling]
        self._settling = {record.attempt for record in left}
        if new:
            self._tell_pool(OrdersLeft(new))

    def _renew(self) -> bool:
        context = self._context
        state = "stopping" if self._is_leaving else "running"
        return engines.renew(self._database, context.engine_id, self._lease_us, state, context.processors)

    def _join_anew(self) -> None:
        context, before = self._context, self._context.engine_id
        self.lose()
        began_us = self._clock.monotonic_us()
        engines.leave(self._database, before)
        number = engines.join(
            self._database, context.clock.now_us(), process_identity(), context.processors, self._lease_us
        )
        context.engine_id = number
        self.use(self._database)
        context.has_authority = True
        self._settling.clear()
        self._note_renewal(began_us)
        _log.warning("engine %d had lost its lease, and has joined anew as engine %d", before, number)

    def _note_renewal(self, renewed_us: int) -> None:
        self._renewed_us = renewed_us
        if self._expiry is not None:
            self._clock.cancel(self._expiry)
        left_us = renewed_us + self._lease_us - self._clock.monotonic_us()
        self._expiry = self._clock.call_after(max(0.0, left_us / 1e6), self.lose)


def declare_dead(database: Writer, own: int | None = None) -> None:
    """Declare those engines lost whose lease is over, or whose process has ended on this machine.

    Args:
        database: a connection that may write.
        own: the engine that asks, which is alive; None where it has not joined yet.

    Raises:
        peewee.DatabaseError: the database did not answer.
    """
    for other in engines.living(database):
        is_dead = other.id != own and (other.is_over or has_ended(other.process))
        if is_dead and engines.declare_lost(database, other.id, is_known=not other.is_over):
            _log.warning("engine %d is lost: its orders are settled as after a crash", other.id)
