"""When an order will be over: from what goes before it, from measured times, and from how right that was lately.

The model is Whitt's (Predicting queueing delays, Management Science 45(6), 1999): with so many orders ahead and so many
processors, an order's turn comes when the processors have done what is left of the orders in hand and the work of those
ahead. Times of attempts are drawn from the latest measured ones, sums of many by the central limit theorem. Orders of
higher priority that will arrive meanwhile take their share of the processors.

What the model cannot know is corrected by conformal prediction. How long the latest orders took is told by where that
lies in the span that the model gave for each, by its logarithm (scores that are weighted locally: Lei, G'Sell,
Rinaldo, Tibshirani, Wasserman: Distribution-free predictive inference for regression, JASA 113, 2018). Of all spans
that hold as many of these as they say, the shortest is told. How many that have to be is adapted to how often spans
were right (Gibbs, Candès: Adaptive conformal inference under distribution shift, NeurIPS 2021). So they hold as often
as they say even where the model is off. How likely an order is over by a time is told in the same way: by how many of
the latest ones were over as early (Vovk, Shen, Manokhin, Xie: Nonparametric predictive distributions based on
conformal prediction, Machine Learning 108, 2019).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from random import Random
from statistics import NormalDist, fmean, pstdev
from typing import NamedTuple

from ..store.domain.lifecycle import OrderStatus
from ..store.domain.outlook import CONFIDENCE, Estimate, Evidence, Expected, Judged, Outlook, Place, Wait, WaitReason
from ..store.domain.record import OrderRecord
from .snapshot import ControlSnapshot

LEAST_ATTEMPTS = 20
"""With fewer measured ones nothing is foretold."""
LEAST_JUDGED = 30
"""With fewer judged estimates the model is not corrected."""

_DRAWS = 400
_DRAWN_ONE_BY_ONE = 30
_MISSED = 1 - CONFIDENCE
_STEP = 0.02  # of the adaptive conformal inference
_LEAST_MISSED, _MOST_MISSED = 0.02, 0.5
_MOST_OVERTAKEN = 0.95
_SHORTEST_US = 1_000
_LONGEST_US = 100 * 365 * 86_400_000_000
_LEAST_SPREAD = 0.02
_TAIL = NormalDist().inv_cdf(1 - _MISSED / 2)


def outlook(
    record: OrderRecord,
    place: Place,
    evidence: Evidence,
    control: ControlSnapshot,
    now_us: int,
    ready_us: int | None,
) -> tuple[Outlook, Estimate | None]:
    """What can be said about an order, and what of it is to be judged when the order is over.

    Args:
        record: the order.
        place: where it stands.
        evidence: what was measured.
        control: what operators have set.
        now_us: microseconds since 1970-01-01T00:00:00Z.
        ready_us: when the order may be begun, likewise; None where it has not to wait for a time.
    """
    waits = _waits(record, place, control, now_us, ready_us)
    expected = forecast(record, place, evidence, control, now_us, ready_us)
    estimate = None if expected is None else expected.estimate(record.sequence, now_us)
    ahead = None if place.ahead_in_line is None else place.ahead_in_line + place.ahead_by_priority
    told = Outlook(
        record.order_id,
        record.status,
        None if ahead is None else ahead + 1,
        waits,
        None if estimate is None else Expected(estimate.from_us, estimate.to_us),
        evidence.accuracy,
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
            waits.append(Wait(WaitReason.NOT_BEFORE, "it is not to be begun earlier", until_us=ready_us))
    waits += place.obstacles
    if place.ahead_of_key is not None:
        waits.append(Wait(WaitReason.KEY, "orders of the same key run one after another", place.ahead_of_key))
    if place.ahead_by_priority:
        waits.append(Wait(WaitReason.PRIORITY, "orders of other priorities go first", place.ahead_by_priority))
    if place.ahead_in_line is not None:
        busy = f"{len(place.in_hand_since_us)} orders are in hand of {control.processors} processors"
        waits.append(Wait(WaitReason.PROCESSORS, busy, place.ahead_in_line + place.ahead_by_priority))
    return tuple(waits)


class Forecast(NamedTuple):
    """When an order will be over. Durations are in microseconds from now on."""

    draws: Sequence[float]
    """What the model says it may take, each as likely as the others; in ascending order."""
    judged: Sequence[Judged]
    """The latest estimates whose orders are over, oldest first."""

    @property
    def _span_us(self) -> tuple[float, float]:
        return _at(self.draws, _MISSED / 2), _at(self.draws, 1 - _MISSED / 2)

    def estimate(self, sequence: int, now_us: int) -> Estimate:
        """The span that it is likely to be over within.

        Args:
            sequence: the order's.
            now_us: microseconds since 1970-01-01T00:00:00Z.
        """
        spans = (*self._span_us, *calibrated(*self._span_us, self.judged))
        return Estimate(sequence, now_us, *(now_us + round(us) for us in spans))

    def confidence_in(self, us: float) -> float:
        """How likely it is over after so long at the most."""
        if us <= 0:
            return 0.0
        if len(self.judged) < LEAST_JUDGED:
            return bisect_right(self.draws, us) / len(self.draws)
        middle, spread = _scale(*self._span_us)
        scores = _scores(self.judged)
        return bisect_right(scores, (math.log(us) - middle) / spread) / (len(scores) + 1)

    def within(self, confidence: float) -> float | None:
        """After how long it is over with that confidence; None where too little is known for that much."""
        if len(self.judged) < LEAST_JUDGED:
            return _at(self.draws, confidence)
        scores = _scores(self.judged)
        index = max(0, math.ceil(confidence * (len(scores) + 1)) - 1)
        return _duration(_scale(*self._span_us), scores[index]) if index < len(scores) else None


def forecast(
    record: OrderRecord,
    place: Place,
    evidence: Evidence,
    control: ControlSnapshot,
    now_us: int,
    ready_us: int | None,
) -> Forecast | None:
    """When an order will be over; None where too little is known, or where nothing is left to expect.

    Args:
        As `outlook`.
    """
    if len(evidence.attempts_us) < LEAST_ATTEMPTS or not evidence.ended or place.ahead_of_key is not None:
        return None
    random = Random(record.sequence)
    if record.status is OrderStatus.PROCESSING:
        begun_us = now_us - record.updated_us
        left = [took_us - begun_us for took_us in evidence.orders_us if took_us > begun_us]
        draws: list[float] = [*sorted(left)] or [begun_us]  # longer than any: as long again, as of a heavy tail
    elif record.status is OrderStatus.PENDING:
        if place.obstacles or (control.paused and control.paused_until_us is None):
            return None
        not_before_us = max(now_us, ready_us or 0, control.paused_until_us or 0)
        draws = sorted(
            max(wait_us, not_before_us - now_us) + random.choice(evidence.orders_us)
            for wait_us in _draw_waits(record, place, evidence, control.processors, now_us, random)
        )
    else:
        return None
    return Forecast(draws, evidence.judged)


def _draw_waits(
    record: OrderRecord, place: Place, evidence: Evidence, processors: int, now_us: int, random: Random
) -> list[float]:
    attempts = evidence.attempts_us
    # More than there are processors may be Processing, those that wait for the next free one among them: by Little's
    # law orders leave as fast as that many are done side by side in the times that were measured.
    lanes = max(processors, len(place.in_hand_since_us))
    ahead = (place.ahead_in_line or 0) + place.ahead_by_priority
    if ahead + len(place.in_hand_since_us) < lanes:
        return [0.0] * _DRAWS
    mean, spread = fmean(attempts), pstdev(attempts)
    left = [_left(attempts, now_us - since_us) for since_us in place.in_hand_since_us]
    tries = ahead * len(attempts) / evidence.ended
    share = 1 - min(_MOST_OVERTAKEN, _rate_above(record.order.priority, evidence, now_us) * mean / lanes)
    waits = []
    for _ in range(_DRAWS):
        work = float(sum(random.choice(rest) for rest in left))
        if tries <= _DRAWN_ONE_BY_ONE:
            work += sum(random.choices(attempts, k=round(tries)))
        else:
            likely_mean = random.gauss(mean, spread / math.sqrt(len(attempts)))
            work += max(0.0, random.gauss(tries * likely_mean, math.sqrt(tries) * spread))
        waits.append(work / lanes / share)
    return waits


def _left(attempts: Sequence[int], begun_us: int) -> Sequence[int]:
    return [took_us - begun_us for took_us in attempts if took_us > begun_us] or (max(0, begun_us),)


def _rate_above(priority: int, evidence: Evidence, now_us: int) -> float:
    # Orders a microsecond that will go first although they come later.
    if len(evidence.arrivals) < LEAST_ATTEMPTS:
        return 0.0
    above = sum(of > priority for _, of in evidence.arrivals)
    return above / max(1, now_us - evidence.arrivals[-1][0])


def calibrated(low_us: float, high_us: float, judged: Sequence[Judged]) -> tuple[int, int]:
    """Move the ends of a span so that it holds as often as it says.

    Args:
        low_us: where it begins by the model, from now on, in microseconds.
        high_us: where it ends, likewise.
        judged: the latest estimates whose orders are over, oldest first.

    Returns:
        The ends as they are to be told.
    """
    if len(judged) < LEAST_JUDGED:
        return round(low_us), round(max(_SHORTEST_US, high_us))
    missed = _MISSED
    for estimate, ended_us in judged:
        is_missed = not estimate.from_us <= ended_us <= estimate.to_us
        missed = min(_MOST_MISSED, max(_LEAST_MISSED, missed + _STEP * (_MISSED - is_missed)))
    scores, scale = _scores(judged), _scale(low_us, high_us)
    held = min(len(scores), math.ceil((len(scores) + 1) * (1 - missed)))
    durations = [_duration(scale, score) for score in scores]
    low, high = min(zip(durations, durations[held - 1 :], strict=False), key=lambda span: span[1] - span[0])
    return round(low), round(high)


def _scores(judged: Sequence[Judged]) -> list[float]:
    # Where in its span the end of each order was, in ascending order.
    scores = []
    for estimate, ended_us in judged:
        given_us = estimate.given_us
        middle, spread = _scale(estimate.model_from_us - given_us, estimate.model_to_us - given_us)
        scores.append((math.log(max(_SHORTEST_US, ended_us - given_us)) - middle) / spread)
    return sorted(scores)


def _scale(low_us: float, high_us: float) -> tuple[float, float]:
    # The middle of a span and its standard deviation, as of a normal distribution of the logarithm.
    low, high = math.log(max(_SHORTEST_US, low_us)), math.log(max(_SHORTEST_US, high_us))
    return (low + high) / 2, max(_LEAST_SPREAD, (high - low) / 2 / _TAIL)


def _duration(scale: tuple[float, float], score: float) -> float:
    middle, spread = scale
    return math.exp(min(math.log(_LONGEST_US), max(math.log(_SHORTEST_US), middle + spread * score)))


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
