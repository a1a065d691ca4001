"""Errors that may come again and again: the first ones are logged, and then how many there were."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_PERIOD_SECONDS = 10.0
_PER_PERIOD = 5


class BoundedLog:
    """Logs a few errors in ten seconds, however many there are.

    Args:
        log: where they go.
        now: seconds that only rise.
    """

    def __init__(self, log: logging.Logger, now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._now = now
        self._period_ends = 0.0
        self._logged = 0
        self._left_out = 0

    def error(self, message: str, error: BaseException | None) -> None:
        """Log an error, unless there were too many of late.

        Args:
            message: where it came up.
            error: it, if there is one.
        """
        now = self._now()
        if now >= self._period_ends:
            if self._left_out:
                self._log.error("%d more errors were left out of the log", self._left_out)
            self._period_ends, self._logged, self._left_out = now + _PERIOD_SECONDS, 0, 0
        if self._logged == _PER_PERIOD:
            self._left_out += 1
            return
        self._logged += 1
        self._log.error("%s", message, exc_info=error)
