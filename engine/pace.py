"""How slow work is just now: found out while what has become slow is not over yet.

The duration of an attempt is taken as a level, which stays for a while and is another one then, times what varies from
attempt to attempt: a product partition model (Barry, Hartigan: A Bayesian analysis for change point problems, JASA 88,
1993), filtered attempt by attempt (Adams, MacKay: Bayesian online changepoint detection, 2007). With levels on a grid
that is the forward and the backward pass of a hidden Markov chain (Rabiner: A tutorial on hidden Markov models,
Proceedings of the IEEE 77, 1989). Attempts that are not over are censored observations: they take longer than they have
taken so far, and a provider that hangs shows in that before the first slow attempt has ended.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from random import Random
from statistics import fmean, pvariance
from typing import NamedTuple

from ..store.domain.outlook import Attempt

CHANGE_AFTER = 200
"""Attempts, on average, after which the level is drawn anew; mostly it is the same as before then."""

_MOST_FILTERED = 250
_MOST_LEVELS = 40
_LEVELS_A_SPREAD = 3
_SMOOTHED_OVER = 8
_MARGIN = 1.0  # of the logarithm, beyond the levels that were seen
_UNSEEN = 0.1  # of the changes lead to any level, all others to one that was seen
_OUTLIER = 0.01  # as likely at any level, where the most likely duration counts 1
_LEAST_SPREAD = 0.05
_SHORTEST_US = 1_000


class Pace(NamedTuple):
    """How long attempts take. A level is what is typical of its time, in microseconds."""

    levels: Sequence[float]
    now: Sequence[float]
    """How likely each is the present one, added up."""
    anew: Sequence[float]
    """How likely each follows upon a change, added up."""
    relative: Sequence[float]
    """How long attempts took, each as a multiple of its level; in ascending order."""
    orders: Sequence[tuple[float, int]]
    """Of orders that are over, the last attempt's, and how long after the first one it was begun, in microseconds."""
    mean: float
    """Of what is relative."""
    variance: float

    @property
    def attempts_an_order(self) -> float:
        """How many it takes on average."""
        return len(self.relative) / len(self.orders)

    def draw_levels(self, random: Random, draws: int) -> list[tuple[float, float, float]]:
        """So many times: a level of the present, for how many more attempts it stays, and the next one."""
        now = random.choices(self.levels, cum_weights=self.now, k=draws)
        anew = random.choices(self.levels, cum_weights=self.anew, k=draws)
        return [(level, random.expovariate(1 / CHANGE_AFTER), then) for level, then in zip(now, anew, strict=True)]

    def draw_rest(self, random: Random, begun_us: float, level: float) -> float:
        """How long an attempt may still take that was begun so long ago."""
        shorter = bisect_right(self.relative, begun_us / level)
        if shorter == len(self.relative):  # it takes longer than any: as long again, as of a heavy tail
            return begun_us
        return self.relative[random.randrange(shorter, len(self.relative))] * level - begun_us

    def draw_work(self, random: Random, attempts: float, level: float) -> float:
        """How long so many attempts may take, one after another: a gamma distribution of their mean and variance."""
        if attempts <= 0 or not self.variance:
            return attempts * self.mean * level
        shape = attempts * self.mean * self.mean / self.variance
        return random.gammavariate(shape, self.variance / self.mean * level)

    def draw_order(self, random: Random, level: float) -> float:
        """How long an order may take from its first attempt on."""
        relative, before_us = random.choice(self.orders)
        return before_us + relative * level


def measure_pace(attempts: Sequence[Attempt], in_hand_us: Sequence[tuple[int, int]]) -> Pace:
    """How slow work is just now, from the latest attempts.

    Args:
        attempts: those that are over, two at least.
        in_hand_us: when those were begun that are not, and how long they have taken so far, in microseconds.
    """
    known = sorted(attempts)
    logs = [_log(of.took_us) for of in known]
    # By the differences of neighbours: a change of the level is in one of them only (von Neumann, Annals of
    # Mathematical Statistics 12, 1941).
    spread = max(_LEAST_SPREAD, math.sqrt(fmean((after - before) ** 2 for before, after in pairwise(logs)) / 2))
    seen = _smoothed(logs)
    latest = known[-_MOST_FILTERED:]
    observed = [(of.began_us, of.took_us, True) for of in latest]
    observed += [(began_us, so_far_us, False) for began_us, so_far_us in in_hand_us[:_MOST_FILTERED]]
    observed.sort()
    grid = _grid(seen, max((_log(us) for _, us, is_over in observed if not is_over), default=seen[-1]), spread)
    anew = _shares(seen, grid)
    now, means = _filter(grid, anew, [(_log(us), is_over) for _, us, is_over in observed], spread)
    levels = [math.exp(mean) for mean, (*_, is_over) in zip(means, observed, strict=True) if is_over]
    relative = [of.took_us / level for of, level in zip(latest, levels, strict=True)]
    return Pace(
        [math.exp(log) for log in grid],
        list(accumulate(now)),
        list(accumulate(anew)),
        sorted(relative),
        [(times, of.before_us) for of, times in zip(latest, relative, strict=True) if of.before_us is not None],
        fmean(relative),
        pvariance(relative),
    )


def _log(us: int) -> float:
    return math.log(max(_SHORTEST_US, us))


def _smoothed(logs: Sequence[float]) -> list[float]:
    over = min(len(logs), _SMOOTHED_OVER)
    sums = list(accumulate(logs, initial=0.0))
    return [(after - before) / over for before, after in zip(sums, sums[over:], strict=False)]


def _grid(seen: Sequence[float], so_far: float, spread: float) -> list[float]:
    low, high, middle = min(seen) - _MARGIN, max(*seen, so_far) + _MARGIN, seen[-1]
    step = max(spread / _LEVELS_A_SPREAD, (high - low) / _MOST_LEVELS)
    return [
        middle + step * at for at in range(-math.ceil((middle - low) / step), math.ceil((high - middle) / step) + 1)
    ]


def _shares(seen: Sequence[float], grid: Sequence[float]) -> list[float]:
    # How likely each level follows upon a change: by how often it was seen.
    shares = [_UNSEEN / len(grid)] * len(grid)
    step = grid[1] - grid[0]
    for log in seen:
        shares[round((log - grid[0]) / step)] += (1 - _UNSEEN) / len(seen)
    return shares


def _filter(
    grid: Sequence[float], anew: Sequence[float], observed: Sequence[tuple[float, bool]], spread: float
) -> tuple[list[float], list[float]]:
    # How likely each level is the present one; and the mean level at each observation, by all of them.
    changed = [share / CHANGE_AFTER for share in anew]
    stays = 1 - 1 / CHANGE_AFTER
    filtered: list[list[float]] = []
    before = list(anew)
    for log, is_over in observed:
        likely = _likely(grid, log, spread, is_over=is_over)
        weights = [(was * stays + new) * of for was, new, of in zip(before, changed, likely, strict=True)]
        total = sum(weights)
        before = [weight / total for weight in weights]
        filtered.append(before)
    later = before
    means = [_mean(later, grid)]
    for was in reversed(filtered[:-1]):
        ratios = [after / (share * stays + new) for after, share, new in zip(later, was, changed, strict=True)]
        by_change = sum(new * ratio for new, ratio in zip(changed, ratios, strict=True))
        later = [share * (stays * ratio + by_change) for share, ratio in zip(was, ratios, strict=True)]
        means.append(_mean(later, grid))
    return before, means[::-1]


def _mean(shares: Sequence[float], grid: Sequence[float]) -> float:
    return sum(share * level for share, level in zip(shares, grid, strict=True))


def _likely(grid: Sequence[float], log: float, spread: float, *, is_over: bool) -> list[float]:
    if is_over:
        return [_OUTLIER + math.exp(-(((log - level) / spread) ** 2) / 2) for level in grid]
    scale = 1 / (spread * math.sqrt(2))
    return [_OUTLIER + math.erfc((log - level) * scale) / 2 for level in grid]
