"""Lateness: has the recorder look for late orders as soon as there may be one."""

from __future__ import annotations

from collections.abc import Callable

from ..clock import Timer
from .context import EngineContext
from .messages import DeadlineCome

_LONGEST_SLEEP_US = 60_000_000
"""The machine's clock may be set meanwhile, and these times are its own."""


class Lateness:
    """One timer, for the next of the times that orders are to be completed by.

    Args:
        context: the engine's clock.
        tell_after: tells the recorder a message after some seconds.
    """

    def __init__(self, context: EngineContext, tell_after: Callable[[float, object], Timer]) -> None:
        self._clock = context.clock
        self._tell_after = tell_after
        self._timer: Timer | None = None
        self._next_us: int | None = None

    def note(self, message: DeadlineCome) -> None:  # noqa: ARG002  # it says no more
        """The timer has gone off."""
        self._timer = self._next_us = None

    def has_come(self, next_us: int | None) -> bool:
        """Whether orders are to be looked at whose time has come, the next one being this."""
        return next_us is not None and next_us < self._clock.now_us()

    def wake_later(self, next_us: int | None) -> None:
        """Have the recorder woken up when that time has come."""
        if next_us == self._next_us:
            return
        if self._timer is not None:
            self._clock.cancel(self._timer)
        self._timer, self._next_us = None, next_us
        if next_us is not None:
            wait_us = max(0, next_us + 1 - self._clock.now_us())
            self._timer = self._tell_after(min(wait_us, _LONGEST_SLEEP_US) / 1e6, DeadlineCome())
