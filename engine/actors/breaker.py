"""Breaker: notices that attempts fail one after another with one class of error, and whether that is over."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import NamedTuple

from ...store.domain.failure import error_name
from ...store.domain.lifecycle import OrderStatus
from ...store.domain.record import Move

_REJECTED = "rejected"
"""What an order fails with that the handler has rejected: whatever it depends on has answered."""


class Verdict(Enum):
    """What follows from what was recorded."""

    OPEN = auto()
    """So many attempts have failed in a row: nothing more is to be started."""
    CLOSE = auto()
    """One that was tried has succeeded: go on."""


class Tripped(NamedTuple):
    """What the breaker says."""

    verdict: Verdict
    error: str
    """The class of the error; empty for CLOSE."""


class Breaker:
    """A circuit breaker (M. Nygard, "Release It!", 2007) over all attempts of an engine.

    Args:
        failures: how many attempts in a row open it; None for never.
    """

    def __init__(self, failures: int | None) -> None:
        self._failures = failures
        self._error = ""
        self._count = 0
        self._tried_us: int | None = None

    def begin_trial(self, now_us: int) -> None:
        """From this time on, an attempt that begins and succeeds closes it.

        Args:
            now_us: microseconds since 1970-01-01T00:00:00Z.
        """
        self._tried_us = now_us

    def begin_anew(self) -> None:
        """Forget what has failed."""
        self._count = 0
        self._tried_us = None

    def judge(self, moved: Iterable[Move], *, is_open: bool) -> Tripped | None:
        """What follows from these steps, if anything.

        Args:
            moved: what a transaction has recorded.
            is_open: whether nothing is started, since this has said so.
        """
        if self._failures is None and not is_open:
            return None
        for step in moved:
            if step.before.status is not OrderStatus.PROCESSING:
                continue
            error = _error_of(step)
            if is_open:
                if error == "" and self._tried_us is not None and step.before.updated_us >= self._tried_us:
                    return Tripped(Verdict.CLOSE, "")
            elif error == "":
                self._count = 0
            elif error is not None and self._fails(error):
                return Tripped(Verdict.OPEN, error)
        return None

    def _fails(self, error: str) -> bool:
        self._count = self._count + 1 if error == self._error else 1
        self._error = error
        return self._failures is not None and self._count >= self._failures


def _error_of(step: Move) -> str | None:
    """The class of the error of an attempt; empty where there was none; None where there was no attempt."""
    after = step.after
    if after.failures > step.before.failures:
        kind = error_name(after.last_error or "", after.order).kind
        return "" if kind == _REJECTED else kind
    return "" if after.status is OrderStatus.COMPLETED else None
