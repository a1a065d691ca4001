"""How estimates are corrected by how right the latest ones were: conformal prediction.

How long the latest orders took is told by where that lies in the span that the model gave for each, by its logarithm
(scores that are weighted locally: Lei, G'Sell, Rinaldo, Tibshirani, Wasserman: Distribution-free predictive inference
for regression, JASA 113, 2018). Of all spans that hold as many of these as they say, the shortest is told. How many
that have to be is adapted to how often spans were right (Gibbs, Candès: Adaptive conformal inference under distribution
shift, NeurIPS 2021); a span that has passed without its order being over was not. So they hold as often as they say
even where the model is off. How likely an order is over by a time is told in the same way: by how many of the latest
ones were over as early (Vovk, Shen, Manokhin, Xie: Nonparametric predictive distributions based on conformal
prediction, Machine Learning 108, 2019).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from ..store.domain.outlook import CONFIDENCE, Judged

LEAST_JUDGED = 30
"""With fewer judged estimates the model is not corrected."""

_MISSED = 1 - CONFIDENCE
_STEP = 0.02
_LEAST_MISSED, _MOST_MISSED = 0.02, 0.5
_SHORTEST_US = 1_000
_LONGEST_US = 100 * 365 * 86_400_000_000
_LEAST_SPREAD = 0.02
_DIGITS = 2  # of a spread, where the shortest span is sought
_TAIL = NormalDist().inv_cdf(1 - _MISSED / 2)


class Span(NamedTuple):
    """When an order will be over: between the first and the last tenth of what may be, in microseconds from now on."""

    low_us: float
    high_us: float

    @property
    def scale(self) -> tuple[float, float]:
        """Its middle and its standard deviation, as of a normal distribution of the logarithm."""
        low, high = (math.log(max(_SHORTEST_US, us)) for us in self)
        return (low + high) / 2, max(_LEAST_SPREAD, (high - low) / 2 / _TAIL)


class Calibration:
    """Corrects what the model says.

    Args:
        judged: the latest estimates whose orders are over, oldest first.
        overdue: how many others have passed already without that.
    """

    def __init__(self, judged: Sequence[Judged], overdue: int = 0) -> None:
        self._scores = sorted(map(_score, judged)) if len(judged) >= LEAST_JUDGED else ()
        missed = _MISSED
        were_missed = [not estimate.from_us <= ended_us <= estimate.to_us for estimate, ended_us in judged]
        for is_missed in (*were_missed, *[True] * overdue):
            missed = min(_MOST_MISSED, max(_LEAST_MISSED, missed + _STEP * (_MISSED - is_missed)))
        self._shortest: dict[float, tuple[float, float]] = {}
        self._held = min(len(self._scores), math.ceil((len(self._scores) + 1) * (1 - missed)))

    @property
    def is_known(self) -> bool:
        """Whether enough estimates were judged."""
        return bool(self._scores)

    def correct(self, span: Span) -> tuple[int, int]:
        """Move the ends of a span so that it holds as often as it says."""
        if not self._scores:
            return round(span.low_us), round(max(_SHORTEST_US, span.high_us))
        scale = span.scale
        low, high = self._shortest_that_holds(round(scale[1], _DIGITS))
        return round(_duration(scale, low)), round(_duration(scale, high))

    def _shortest_that_holds(self, spread: float) -> tuple[float, float]:
        # Between which scores; how long it is as a whole makes no difference to which is the shortest.
        if spread not in self._shortest:
            spans = zip(self._scores, self._scores[self._held - 1 :], strict=False)
            self._shortest[spread] = min(spans, key=lambda of: _log_length(spread * of[0], spread * of[1]))
        return self._shortest[spread]

    def confidence_in(self, span: Span, us: float) -> float:
        """How likely an order with that span is over after so many microseconds, more than 0, at the most."""
        middle, spread = span.scale
        return bisect_right(self._scores, (math.log(us) - middle) / spread) / (len(self._scores) + 1)

    def within(self, span: Span, confidence: float) -> float | None:
        """After how many microseconds it is over with that confidence; None where too little is known for so much."""
        index = max(0, math.ceil(confidence * (len(self._scores) + 1)) - 1)
        return _duration(span.scale, self._scores[index]) if index < len(self._scores) else None


def _log_length(log_low: float, log_high: float) -> float:
    # The logarithm of exp(log_high) - exp(log_low), which may be more than a float holds.
    share = math.exp(log_low - log_high)
    return log_high + math.log1p(-share) if share < 1 else -math.inf


def _score(judged: Judged) -> float:
    # Where in its span the end of the order was.
    estimate, ended_us = judged
    given_us = estimate.given_us
    middle, spread = Span(estimate.model_from_us - given_us, estimate.model_to_us - given_us).scale
    return (math.log(max(_SHORTEST_US, ended_us - given_us)) - middle) / spread


def _duration(scale: tuple[float, float], score: float) -> float:
    middle, spread = scale
    return math.exp(min(math.log(_LONGEST_US), max(math.log(_SHORTEST_US), middle + spread * score)))
