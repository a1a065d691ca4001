"""When an order will be over: from what goes before it, and from measured times.

The model is Whitt's (Predicting queueing delays, Management Science 45(6), 1999): with so many orders ahead and so many
processors, an order's turn comes when the processors have done what is left of the orders in hand and the work of those
ahead. How long attempts take just now is what `pace` says. Orders of higher priority that arrive meanwhile are taken to
come as they came lately. What the model cannot know is corrected by `calibration`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from random import Random
from typing import NamedTuple, Self, overload

from ..store.domain.lifecycle import OrderStatus
from ..store.domain.outlook import CONFIDENCE, Estimate, Evidence, Expected, Outlook, Place, Wait, WaitReason
from ..store.domain.record import OrderRecord, not_before_us
from .calibration import Calibration, Span
from .pace import Pace, measure_pace
from .snapshot import ControlSnapshot

LEAST_ATTEMPTS = 20
"""With fewer measured ones nothing is foretold."""

_DRAWS = 400
_MOST_DRAWN_IN_HAND = 30
_MOST_TRIES = 20
_MISSED = 1 - CONFIDENCE
_TURNS = 3


class Basis:
    """What forecasts rest on: worked out once from what was measured, and good for many orders.

    Args:
        evidence: what was measured.
        now_us: when, in microseconds since 1970-01-01T00:00:00Z.
    """

    def __init__(self, evidence: Evidence, now_us: int) -> None:
        self.calibration = Calibration(evidence.judged, evidence.overdue)
        self.accuracy = evidence.accuracy
        self._arrivals = evidence.arrivals
        self._times: dict[int, Sequence[int]] = {}
        self._now_us = now_us
        self.pace = None
        if len(evidence.attempts) >= LEAST_ATTEMPTS:
            in_hand_us = [(since_us, max(0, now_us - since_us)) for since_us in evidence.in_hand_since_us]
            pace = measure_pace(evidence.attempts, in_hand_us)
            self.pace = pace if pace.orders else None

    def overtaking(self, priority: int, us: float, where: float) -> float:
        """How many orders may come within so long that go first although they come later.

        As many as came in a stretch of the past of that length, wherever it began (the block bootstrap of Künsch,
        Annals of Statistics 17, 1989): so that they come in bursts where they did.

        Args:
            priority: of the order that waits.
            us: how long, in microseconds.
            where: the stretch began, from 0, the first that is known, to 1, the last.
        """
        if len(self._arrivals) < LEAST_ATTEMPTS:
            return 0.0
        above = self._above(priority)
        began_us, lasted_us = self._arrivals[-1][0], max(1, self._now_us - self._arrivals[-1][0])
        if us >= lasted_us:
            return len(above) * us / lasted_us
        begin_us = began_us + where * (lasted_us - us)
        return bisect_right(above, begin_us + us) - bisect_right(above, begin_us)

    def _above(self, priority: int) -> Sequence[int]:
        # When orders of higher priority have come.
        if priority not in self._times:
            self._times[priority] = sorted(at_us for at_us, of in self._arrivals if of > priority)
        return self._times[priority]


def outlook(
    record: OrderRecord,
    place: Place,
    basis: Basis,
    control: ControlSnapshot,
    now_us: int,
    ready_us: int | None,
) -> tuple[Outlook, Estimate | None]:
    """What can be said about an order, and what of it is to be judged when the order is over.

    Args:
        record: the order.
        place: where it stands.
        basis: what was measured.
        control: what operators have set.
        now_us: microseconds since 1970-01-01T00:00:00Z.
        ready_us: when the order may be begun, likewise; None where it has not to wait for a time.
    """
    waits = _waits(record, place, control, now_us, ready_us)
    expected = forecast(record, place, basis, control, now_us, ready_us)
    estimate = None if expected is None else expected.estimate(record.sequence, now_us)
    ahead = None if place.ahead_in_line is None else place.ahead_in_line + place.ahead_by_priority
    told = Outlook(
        record.order_id,
        record.status,
        None if ahead is None else ahead + 1,
        waits,
        None if estimate is None else Expected(estimate.from_us, estimate.to_us),
        basis.accuracy,
    )
    return told, estimate


def _waits(
    record: OrderRecord, place: Place, control: ControlSnapshot, now_us: int, ready_us: int | None
) -> tuple[Wait, ...]:
    if record.status is not OrderStatus.PENDING:
        return ()
    waits = []
    if control.paused:
        why = "" if control.reason is None else f": {control.reason}"
        waits.append(Wait(WaitReason.PAUSE, f"the engine is paused{why}", until_us=control.paused_until_us))
    if ready_us is not None and ready_us > now_us:
        if record.failures:
            again = f"failed attempt {record.failures} is tried again later"
            waits.append(Wait(WaitReason.BACKOFF, again, until_us=ready_us))
        else:
            until_us = not_before_us(record.order) or ready_us  # as the client said it
            waits.append(Wait(WaitReason.NOT_BEFORE, "it is not to be begun earlier", until_us=until_us))
    waits += place.obstacles
    if place.ahead_of_key is not None:
        waits.append(Wait(WaitReason.KEY, "orders of the same key run one after another", place.ahead_of_key))
    if place.ahead_by_priority:
        waits.append(
            Wait(WaitReason.PRIORITY, "orders of other priorities or queues go first", place.ahead_by_priority)
        )
    if place.ahead_in_line is not None:
        busy = f"{len(place.in_hand_since_us)} orders are in hand of {control.processors} processors"
        waits.append(Wait(WaitReason.PROCESSORS, busy, place.ahead_in_line + place.ahead_by_priority))
    return tuple(waits)


class Way(NamedTuple):
    """What may become of an order that waits, in microseconds."""

    waits_us: float
    """From now on until its first attempt."""
    takes_us: float
    """From there on."""


class Forecast:
    """When an order will be over. Durations are in microseconds from now on.

    Args:
        draws: what the model says it may take, each as likely as the others; in ascending order.
        calibration: corrects it.
        ways: that were drawn, where it waits and may be begun later than now.
        not_before_us: when it is begun at the earliest on each of them.
    """

    def __init__(
        self, draws: Sequence[float], calibration: Calibration, ways: Sequence[Way] = (), not_before_us: float = 0.0
    ) -> None:
        self._draws = draws
        self._calibration = calibration
        self._ways = ways
        self._not_before_us = not_before_us
        self._span = Span(_at(draws, _MISSED / 2), _at(draws, 1 - _MISSED / 2))

    @classmethod
    def of_ways(cls, ways: Sequence[Way], calibration: Calibration, not_before_us: float) -> Self:
        """That of an order that may go some ways, and is not begun before a time."""
        draws = sorted([max(waits_us, not_before_us) + takes_us for waits_us, takes_us in ways])
        return cls(draws, calibration, ways, not_before_us)

    def not_before(self, us: float) -> Forecast:
        """That of an order that may go the same ways, and is not begun before a time either."""
        return self if us <= self._not_before_us else self.of_ways(self._ways, self._calibration, us)

    def toward(self, other: Forecast, share: float) -> Forecast:
        """That of an order between those of these two, by its share of what is between them.

        What one may take is taken with what the other may take with the same likelihood, so that no more is drawn.
        """
        return Forecast(_Between(self._draws, other._draws, share), self._calibration)

    @cached_property
    def _told_us(self) -> tuple[int, int]:
        return self._calibration.correct(self._span)

    def estimate(self, sequence: int, now_us: int) -> Estimate:
        """The span that it is likely to be over within.

        Args:
            sequence: the order's.
            now_us: microseconds since 1970-01-01T00:00:00Z.
        """
        spans = (*self._span, *self._told_us)
        return Estimate(sequence, now_us, *(now_us + round(us) for us in spans))

    def confidence_in(self, us: float) -> float:
        """How likely it is over after so long at the most."""
        if us <= 0:
            return 0.0
        if not self._calibration.is_known:
            return bisect_right(self._draws, us) / len(self._draws)
        return self._calibration.confidence_in(self._span, us)

    def within(self, confidence: float) -> float | None:
        """After how long it is over with that confidence; None where too little is known for that much."""
        if not self._calibration.is_known:
            return _at(self._draws, confidence)
        return self._calibration.within(self._span, confidence)


def forecast(
    record: OrderRecord,
    place: Place,
    basis: Basis,
    control: ControlSnapshot,
    now_us: int,
    ready_us: int | None,
) -> Forecast | None:
    """When an order will be over; None where too little is known, or where nothing is left to expect.

    Args:
        As `outlook`.
    """
    pace = basis.pace
    if pace is None or place.ahead_of_key is not None:
        return None
    random = Random(record.sequence)
    if record.status is OrderStatus.PROCESSING:
        draws = _draw_rests(pace, max(0, now_us - record.updated_us), random)
    elif record.status is OrderStatus.PENDING:
        if place.obstacles or (control.paused and control.paused_until_us is None):
            return None
        ways = [
            Way(wait_us, pace.draw_order(random, level))
            for wait_us, level in _draw_waits(record, place, basis, pace, control.processors, now_us, random)
        ]
        not_before_us = max(now_us, ready_us or 0, control.paused_until_us or 0)
        return Forecast.of_ways(ways, basis.calibration, not_before_us - now_us)
    else:
        return None
    return Forecast(sorted(draws), basis.calibration)


def _draw_rests(pace: Pace, begun_us: int, random: Random) -> list[float]:
    rests: list[float] = []
    for level, *_ in pace.draw_levels(random, _DRAWS):
        tries = (pace.draw_order(random, level) for _ in range(_MOST_TRIES))
        took_us = next((us for us in tries if us > begun_us), 2 * begun_us)  # as long again, as of a heavy tail
        rests.append(took_us - begun_us)
    return rests


def _draw_waits(
    record: OrderRecord, place: Place, basis: Basis, pace: Pace, processors: int, now_us: int, random: Random
) -> list[tuple[float, float]]:
    # How long it may wait, and the level then.
    levels = pace.draw_levels(random, _DRAWS)
    in_hand = len(place.in_hand_since_us)
    # More than there are processors may be Processing, those that wait for the next free one among them: by Little's
    # law orders leave as fast as that many are done side by side in the times that were measured.
    lanes = max(processors, in_hand)
    ahead = (place.ahead_in_line or 0) + place.ahead_by_priority
    if ahead + in_hand < lanes:
        return [(0.0, level) for level, *_ in levels]
    some = place.in_hand_since_us[:: math.ceil(in_hand / _MOST_DRAWN_IN_HAND) or 1]
    begun_us = [max(0, now_us - since_us) for since_us in some]
    each = in_hand / max(1, len(some))
    attempts = ahead * pace.attempts_an_order
    priority = record.order.priority
    waits = []
    for level, stays_for, then in levels:
        work = each * sum(pace.draw_rest(random, us, level) for us in begun_us)
        work += pace.draw_work(random, min(attempts, stays_for), level)
        work += pace.draw_work(random, max(0.0, attempts - stays_for), then)
        waits_us = wait_us = work / lanes
        where = random.random()
        for _ in range(_TURNS):  # while it waits for those, others come
            overtaking = basis.overtaking(priority, waits_us, where)
            waits_us = wait_us + overtaking * pace.mean * level * pace.attempts_an_order / lanes
        waits.append((waits_us, level if attempts <= stays_for else then))
    return waits


class _Between(Sequence[float]):
    """Between two sequences that are in ascending order, and are of the same length."""

    def __init__(self, these: Sequence[float], those: Sequence[float], share: float) -> None:
        self._these, self._those, self._share = these, those, share

    def __len__(self) -> int:
        return len(self._these)

    @overload
    def __getitem__(self, index: int) -> float: ...

    @overload
    def __getitem__(self, index: slice) -> list[float]: ...

    def __getitem__(self, index: int | slice) -> float | list[float]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        this = self._these[index]
        return this + (self._those[index] - this) * self._share


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
