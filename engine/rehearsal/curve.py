"""Curve: how a number goes, over a time that nobody knows beforehand, in bounded memory."""

from __future__ import annotations

_MOST = 512
_FINEST_US = 1_000


class Curve:
    """Values at even distances of time. Whenever there are too many, every other one goes.

    Args:
        begin_us: when it begins.
    """

    def __init__(self, begin_us: int) -> None:
        self._begin_us = begin_us
        self._width_us = _FINEST_US
        self._values: list[int] = []
        self.next_us = begin_us
        """When the next value is to be noted."""

    def note(self, value: int, until_us: int) -> None:
        """The number was this until a time, which is not before `next_us`."""
        while self.next_us <= until_us:
            self._values.append(value)
            if len(self._values) == _MOST:
                del self._values[1::2]
                self._width_us *= 2
            self.next_us = self._begin_us + len(self._values) * self._width_us

    def at(self, us: int, after: int) -> int:
        """The number at a time.

        Args:
            us: from the beginning, in microseconds.
            after: what it is after the last value.
        """
        index = us // self._width_us
        return self._values[index] if index < len(self._values) else after
