"""Maintenance: what the recorder does between transactions. Removes old orders, bounds the log, looks at the files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ...store.domain.errors import StoreUnavailable
from ...store.domain.idempotency_key import LIFETIME_US
from ...store.domain.outcome import Recorded
from ...store.retention import Pruned, prune, prune_acts
from ...store.writer import Writer
from ..clock import Timer
from ..logger import EngineLogger
from .context import EngineContext
from .messages import BoundLog, CheckFiles, PruneOrders

_PRUNE_EVERY_SECONDS = 10.0
_BOUND_LOG_AGAIN_SECONDS = 10.0
_STEPS_BETWEEN_LOOKS = 500
_CHECK_FILES_EVERY_SECONDS = 1.0
_PRUNED_AT_ONCE = 200


class Maintenance:
    """Does what keeps a database small and sound, and has the recorder told when it is due again.

    Args:
        context: the engine's settings and clock.
        database: the connection that writes.
        tell: tells the recorder a message.
        tell_after: likewise, after some seconds.
        log: for what goes wrong.
    """

    def __init__(
        self,
        context: EngineContext,
        database: Writer,
        tell: Callable[[object], None],
        tell_after: Callable[[float, object], Timer],
        log: EngineLogger,
    ) -> None:
        self._context = context
        self._tell = tell
        self._tell_after = tell_after
        self._log = log
        self._will_prune = False
        self._will_bound_log = False
        self._steps = _STEPS_BETWEEN_LOOKS  # that were recorded since the log was looked at
        self.use(database)

    def use(self, database: Writer) -> None:
        """From now on, this connection is the one that writes."""
        self._database = database
        self._context.database = database

    def note(self, message: PruneOrders | BoundLog | CheckFiles) -> None:
        """The recorder was told that something is due."""
        match message:
            case PruneOrders():
                self._will_prune = False
            case BoundLog():
                self._will_bound_log = False
            case CheckFiles():
                self._tell_after(_CHECK_FILES_EVERY_SECONDS, message)

    def finds_fault(self) -> bool:
        """Whether the connection stores nothing any more: a file is not in its place, or the server has gone."""
        return self._database.find_fault() is not None

    def count_steps(self, recorded: Recorded) -> None:
        """The log has grown by what a transaction recorded."""
        self._steps += recorded.taken.total()

    def bound_log(self, *, again: bool) -> None:
        """Begin the write-ahead log anew if it has grown too large.

        It is not looked at each time: that lets go of the interpreter's lock, just when those have been woken up who
        waited for a commit.

        Args:
            again: as for `Writer.keep_log_bounded`.
        """
        if not again and self._steps < _STEPS_BETWEEN_LOOKS:
            return
        self._steps = 0
        try:
            is_too_large = self._database.keep_log_bounded(again=again)
        except StoreUnavailable as error:
            self._log.log_seldom(logging.WARNING, "the write-ahead log was not begun anew: %s", error)
            is_too_large = True
        if is_too_large and not self._will_bound_log:
            self._will_bound_log = True
            self._tell_after(_BOUND_LOG_AGAIN_SECONDS, BoundLog())

    def prune(self) -> Counter[str]:
        """Remove some of the orders that are old enough, and of what people did so long ago.

        Returns:
            What that added to each of the running totals.

        Raises:
            StoreUnavailable: nobody knows what was removed.
        """
        config, now = self._context.config, self._context.clock.now_us()
        if config.retain_seconds is None:
            return Counter()
        before_us = now - round(config.retain_seconds * 1e6)
        removed, pruned = 0, Pruned(0, Counter())
        try:
            pruned = prune(
                self._database,
                before_us,
                _PRUNED_AT_ONCE,
                None if config.export_path is None else Path(config.export_path),
                now - LIFETIME_US,
            )
            removed = pruned.orders + prune_acts(self._database, before_us, _PRUNED_AT_ONCE)
        finally:
            if removed:
                # What waits in the mailbox meanwhile comes first.
                self._will_prune = True
                self._tell(PruneOrders())
            else:
                self.prune_later()
        return pruned.changes

    def prune_later(self) -> None:
        """Have orders removed in a while, if they are not to be removed by then anyway."""
        if not self._will_prune:
            self._will_prune = True
            self._tell_after(_PRUNE_EVERY_SECONDS, PruneOrders())
