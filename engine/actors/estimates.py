"""Estimates: what clients were told of when orders will be over is noted and judged between two transactions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from ...store.domain.errors import StoreUnavailable
from ...store.domain.outlook import Estimate
from ...store.outlooks import MAX_OPEN, accuracy, note_and_judge
from ...store.writer import Writer
from ..clock import Timer
from ..logger import EngineLogger
from .context import EngineContext
from .messages import JudgeEstimates, NoteEstimates

_JUDGE_EVERY_SECONDS = 1.0

_log = EngineLogger("ordermill.engine.estimates")


class Estimates:
    """Notes what was told, a second's worth at a time, and judges it once the orders are over.

    Args:
        context: the engine's clock.
        database: the connection that writes.
        tell_after: tells the recorder a message after some seconds.
    """

    def __init__(self, context: EngineContext, database: Writer, tell_after: Callable[[float, object], Timer]) -> None:
        self._context = context
        self._tell_after = tell_after
        self._noted: list[Estimate] = []
        self._is_due = False
        self._will_judge = False
        self.use(database)

    def use(self, database: Writer) -> None:
        """From now on, this connection is the one that writes."""
        self._database = database

    def note(self, message: NoteEstimates | JudgeEstimates) -> None:
        """The recorder was told this."""
        if isinstance(message, JudgeEstimates):
            self._will_judge, self._is_due = False, True
            return
        self._noted += message.estimates[: MAX_OPEN - len(self._noted)]
        self._judge_later()

    def work(self) -> None:
        """Do it, if it is due."""
        if not self._is_due:
            return
        self._is_due = False
        noted, self._noted = self._noted, []
        try:
            now_us = self._context.clock.now_us()
            waiting = note_and_judge(self._database, noted, now_us)
            self._context.accuracy = self._database.read(partial(accuracy, now_us=now_us))
        except StoreUnavailable as error:  # what is not noted is not judged
            _log.log_seldom(logging.ERROR, "what was told of when orders will be over was not noted: %s", error)
            waiting = 1
        if waiting:
            self._judge_later()

    def _judge_later(self) -> None:
        if not self._will_judge:
            self._will_judge = True
            self._tell_after(_JUDGE_EVERY_SECONDS, JudgeEstimates())
