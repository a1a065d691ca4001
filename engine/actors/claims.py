"""Claims: the orders that are recorded as Processing, from the claim to the end of the handler."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple

from ...store.domain.record import OrderRecord
from ..execution.begun import BegunFile


class Hand:
    """What one processor has in hand. The processor and the pool both see it."""

    __slots__ = ("began_us", "idle_us", "is_abandoned", "note", "number", "record", "trouble")

    def __init__(self, number: int = 1, idle_us: int = 0) -> None:
        self.number = number
        """What people call the processor."""
        self.idle_us = idle_us
        """When the last order left it, or it was started, on the monotonic clock, in microseconds."""
        self.trouble: str | None = None
        """Why it cannot put any order through the handler, in words for people; None while it can."""
        self.record: OrderRecord | None = None
        """The order whose handler runs or is about to; None between two."""
        self.began_us: int | None = None
        """Since when, on the monotonic clock, in microseconds; None where none runs, or is not known to."""
        self.note: int | None = None
        """Where it is noted that the handler may have begun."""
        self.is_abandoned = False
        """Whether it gets no more orders, since its handler has overrun its time."""


class Ended(NamedTuple):
    """The handlers that have ended since somebody last asked."""

    orders: int
    seconds: float
    """What they took, all together."""


class Claims:
    """The claimed orders that no processor has begun, for whoever is idle. Several threads use it.

    Args:
        monotonic_us: the time, in microseconds.
        begun: where what is begun is noted; None where that is not possible.
        runs_low: called by whoever takes an order and leaves less than `low_water`, once until more are put.
    """

    def __init__(self, monotonic_us: Callable[[], int], begun: BegunFile | None, runs_low: Callable[[], None]) -> None:
        self._monotonic_us = monotonic_us
        self._begun = begun
        self._runs_low = runs_low
        self._lock = threading.Lock()
        self._waiting: deque[tuple[OrderRecord, int]] = deque()
        self._ended = 0
        self._ended_us = 0
        self._has_told = False
        self.low_water = 0
        """How many orders should be there at least."""
        self.alone: int | None = None
        """The sequence of the order that runs alone, since it is suspected to kill the process."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, records: Iterable[OrderRecord]) -> None:
        """Have these begun by whoever is idle, in this sequence."""
        now = self._monotonic_us()
        with self._lock:
            self._waiting.extend((record, now) for record in records)
            self._has_told = False

    def take(self, hand: Hand, *, begins: bool = True) -> OrderRecord | None:
        """The next order for a processor, whose handler for the last one has ended; None where there is none.

        Args:
            hand: of the processor.
            begins: whether the handler begins now; otherwise `begin` is called when it does.
        """
        now = self._monotonic_us()
        with self._lock:
            if hand.record is not None:
                self._end(hand, now)
            if hand.is_abandoned or not self._waiting:
                return None
            record, _ = self._waiting[0]
            hand.record, hand.began_us, hand.note = record, None, None
            if begins:
                self._begin(hand, record)
                hand.began_us = now
            self._waiting.popleft()
            tells = not self._has_told and len(self._waiting) < self.low_water
            self._has_told |= tells
        if tells:
            self._runs_low()
        return record

    def begin(self, hand: Hand, record: OrderRecord, *, is_observed: bool) -> None:
        """The handler for an order begins; nothing happens where the order is not in hand any more.

        Args:
            hand: of the processor.
            record: the order.
            is_observed: whether it begins now; otherwise it may begin, unobserved, at any time from now on.
        """
        now = self._monotonic_us()
        with self._lock:
            if hand.record is record:
                self._begin(hand, record)
                hand.began_us = now if is_observed else None

    def put_down(self, hand: Hand) -> None:
        """The handler of a processor has ended, and it gets no order for now."""
        now = self._monotonic_us()
        with self._lock:
            if hand.record is not None:
                self._end(hand, now)

    def take_back(self) -> list[OrderRecord]:
        """All orders that are not begun, which no processor will get any more; in their sequence."""
        with self._lock:
            return self._drop(0)

    def take_back_late(self, before_us: int, hands: Iterable[Hand]) -> list[OrderRecord]:
        """The orders that nobody is about to begin, if one of them was put before a time; in their sequence.

        Those that were put later are among them: they must not overtake it.

        Args:
            before_us: that time, on the monotonic clock.
            hands: of the processors that are at work; each one between two orders is about to begin one.
        """
        with self._lock:
            first = self._free(hands)
            is_late = first < len(self._waiting) and self._waiting[first][1] <= before_us
            return self._drop(first) if is_late else []

    def release(self, sequence: int) -> OrderRecord | None:
        """Take one order back; None where it is begun, or not here at all."""
        with self._lock:
            for place, (record, _) in enumerate(self._waiting):
                if record.sequence == sequence:
                    del self._waiting[place]
                    return record
        return None

    def has(self, sequence: int, hands: Iterable[Hand]) -> bool:
        """Whether an order waits here, or is in one of these hands."""
        with self._lock:
            in_hand = (hand.record for hand in hands)
            waiting = (record for record, _ in self._waiting)
            return any(record is not None and record.sequence == sequence for record in chain(in_hand, waiting))

    def unattended_us(self, hands: Iterable[Hand]) -> int | None:
        """When the first order was put that nobody is about to begin, on the monotonic clock; None without any.

        Args:
            hands: as for `take_back_late`.
        """
        with self._lock:
            first = self._free(hands)
            return self._waiting[first][1] if first < len(self._waiting) else None

    def abandon(self, hand: Hand, record: OrderRecord | None) -> bool:
        """Give a processor no more orders.

        Args:
            hand: of the processor.
            record: the order that it must have in hand still; None for none in particular.

        Returns:
            Whether it had; otherwise nothing has changed.
        """
        with self._lock:
            if record is not None and hand.record is not record:
                return False
            hand.is_abandoned = True
            return True

    def ended(self) -> Ended:
        """The handlers that have ended since this was last asked."""
        with self._lock:
            ended = Ended(self._ended, self._ended_us / 1e6)
            self._ended = self._ended_us = 0
        return ended

    def _free(self, hands: Iterable[Hand]) -> int:
        return sum(hand.record is None for hand in hands)

    def _drop(self, first: int) -> list[OrderRecord]:
        return [self._waiting.pop()[0] for _ in range(len(self._waiting) - first)][::-1]

    def _begin(self, hand: Hand, record: OrderRecord) -> None:
        if self._begun is not None and hand.note is None:
            hand.note = self._begun.begin(record, alone=record.sequence == self.alone)

    def _end(self, hand: Hand, now: int) -> None:
        if not hand.is_abandoned:
            if self._begun is not None:
                self._begun.end(hand.note)
            if hand.began_us is not None:
                self._ended += 1
                self._ended_us += now - hand.began_us
        hand.record = hand.began_us = None
        hand.idle_us = now
