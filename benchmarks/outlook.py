"""How right outlooks are on five days, and how well deadlines are kept.

    python benchmarks/outlook.py [ORDERS [SEEDS]]

Orders come as on such a day, and four processors take them by the real queue, over a real database, under a virtual
clock. Each order's outlook is asked for when it is accepted, and compared with what then happened. Beside it stands
what shops use otherwise, the backlog divided by the rate: all orders that are not over, itself among them, by how many
were over in the last minute, and in the last five. Half of the orders are to be completed by
a time: it is compared how often that was kept with how likely it was said to be.

Then twice as many orders come as can be carried, each to be completed by a time: as plain FIFO takes them, and where
those are refused that are less likely than 0.9 to be in time.
"""

from __future__ import annotations

import heapq
import sys
from collections import deque
from itertools import takewhile
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ordermill.engine import ControlSnapshot, Order
from ordermill.engine.outlook import Basis, forecast, outlook
from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.attempts import LatestAttempts
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import AGING_SECONDS, Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.outlook import Estimate
from ordermill.store.domain.record import OrderRecord, complete_by_us, move, new_record, utc
from ordermill.store.ledger import Ledger
from ordermill.store.outlooks import LATEST_ATTEMPTS, evidence, note_and_judge
from ordermill.store.places import Entrance, place
from ordermill.store.sqlite.database import open_writer

SECOND_US = 1_000_000
DAYS = ("bursts", "slow provider", "slow provider, backlog", "mixed priorities", "very slow provider")
OVERLOAD = "twice the load"
PROCESSORS = 4
ORDERS = 4_000
SEEDS = 5
WARM_UP = 500
CONFIDENCE = 0.9
SLOW = {"slow provider": (600, 1.5), "slow provider, backlog": (600, 2.0), "very slow provider": (850, 3.0)}
"""From which order of each thousand on the provider is slow, and how many times as long it takes then.

With four processors, 1.2 s an order and two orders a second, 1.67 times as long can be carried without a backlog.
"""
_WINDOWS_SECONDS = 60, 300

_CONTROL = ControlSnapshot(paused=False, paused_until_us=None, reason=None, error=None, processors=PROCESSORS)
_AGING_US = round(AGING_SECONDS * 1e6)


class Result(NamedTuple):
    """How right a day's outlooks were, and how many of its deadlines were kept."""

    told: int
    kept: float
    error_seconds: float
    backlog_by_rate_error_seconds: tuple[float, ...]
    """By the rate of each window."""
    promised: int
    """Orders that were said to be in time with a probability of 0.9 at least."""
    promises_kept: float
    in_time: float
    """Of all orders that were to be completed by a time, those refused among them."""


class Day:
    """One of the days, lived through order by order.

    Args:
        name: which.
        path: of a new database.
        seed: another one gives another such day.
        least: how likely an order has to be in time, so that it is accepted.
    """

    def __init__(self, name: str, path: Path, seed: int = 0, least: float = 0.0) -> None:
        self._name = name
        self._least = least
        self._random = Random(f"{name} {seed}")
        self._database = open_writer(path, Durability.NORMAL)
        self._ledger = Ledger(self._database, 10_000)
        self._running: list[tuple[int, int, OrderRecord]] = []
        self._noted: list[Estimate] = []
        self._entrance = Entrance(_AGING_US)
        self._latest = LatestAttempts(LATEST_ATTEMPTS)
        self._basis: tuple[int, Basis] | None = None
        self._ends: deque[int] = deque()
        self._told: dict[str, tuple[int, int, list[float]]] = {}
        self._deadlines: dict[str, tuple[int, float | None]] = {}
        self._over: dict[str, int] = {}
        self._now_us = SECOND_US

    def live_through(self, orders: int) -> Result:
        """Have so many orders come, and all of them done that are accepted."""
        try:
            for number in range(orders):
                self._go_on_to(self._now_us + round(self._random.expovariate(self._rate(number)) * SECOND_US))
                order = self._order(number)
                if self._is_taken(order):
                    self._ledger.record([order], (), self._now_us)
                    self._claim()
                    self._ask(order.order_id)
            while self._running:
                self._go_on_to(self._running[0][0])
        finally:
            self._database.close()
        return self._result(orders)

    def _rate(self, number: int) -> float:
        if self._name == OVERLOAD:
            return 2 * PROCESSORS / 1.2  # an order takes 1.2 s on average
        return 30.0 if self._name not in SLOW and number % 300 < 60 else 2.0

    def _order(self, number: int) -> Order:
        priority = self._random.choice((2, 4, 4, 4, 9)) if self._name == "mixed priorities" else 4
        has_deadline = self._random.random() < 0.5 or self._name == OVERLOAD
        by_us = self._now_us + round(self._random.uniform(1, 60) * SECOND_US)
        by = utc(by_us) if has_deadline else None
        return make_order(f"o-{number}", user_id=f"u-{number}", priority=priority, complete_by=by)

    def _is_taken(self, order: Order) -> bool:
        by_us = complete_by_us(order)
        if by_us is None:
            return True
        (where,) = self._entrance.places(self._database, [order], self._now_us)
        expected = None
        if where is not None:
            record = new_record(order, 0, self._now_us, self._now_us)
            expected = forecast(record, where, self._measured(), _CONTROL, self._now_us, None)
        confidence = None if expected is None else expected.confidence_in(by_us - self._now_us)
        self._deadlines[order.order_id] = by_us, confidence
        return confidence is None or confidence >= self._least

    def _go_on_to(self, at_us: int) -> None:
        while self._running and self._running[0][0] <= at_us:
            self._now_us, _, record = heapq.heappop(self._running)
            self._ledger.record((), [move(record, lifecycle.COMPLETE, self._now_us)], self._now_us)
            self._over[record.order_id] = self._now_us
            self._ends.append(self._now_us)
            self._claim()
        self._now_us = at_us

    def _claim(self) -> None:
        room = PROCESSORS - len(self._running)
        if room > 0:
            claim = Claim(room, self._now_us, aging_us=_AGING_US)
            taken = self._ledger.record((), (), self._now_us, ready_us=self._now_us, claim=claim).moved
            for step in taken:
                begin, factor = SLOW.get(self._name, (1_000, 1.0))
                took = self._random.lognormvariate(0, 0.6) * (factor if step.after.sequence % 1_000 > begin else 1)
                ends_us = self._now_us + round(took * SECOND_US)
                heapq.heappush(self._running, (ends_us, step.after.sequence, step.after))

    def _measured(self) -> Basis:
        now_us = self._now_us
        if self._basis is None or now_us - self._basis[0] >= SECOND_US:
            note_and_judge(self._database, self._noted, now_us)
            self._noted = []
            self._basis = now_us, Basis(evidence(self._database, self._latest, now_us), now_us)
        return self._basis[1]

    def _ask(self, order_id: str) -> None:
        now_us = self._now_us
        measured = self._measured()
        record = queries.find(self._database, order_id)
        assert record is not None
        where = place(self._database, record, _AGING_US)
        told, estimate = outlook(record, where, measured, _CONTROL, now_us, record.ready_us)
        if estimate is None or told.expected is None:
            return
        self._noted.append(estimate)
        while self._ends and self._ends[0] < now_us - max(_WINDOWS_SECONDS) * SECOND_US:
            self._ends.popleft()
        totals = queries.totals(self._database)
        backlog = sum(totals[status] for status in lifecycle.BACKLOG)
        by_rates = [now_us + backlog / self._rate_of(seconds) * SECOND_US for seconds in _WINDOWS_SECONDS]
        self._told[order_id] = told.expected.from_us, told.expected.to_us, by_rates

    def _rate_of(self, seconds: int) -> float:
        since_us = max(0, self._now_us - seconds * SECOND_US)
        ended = sum(1 for _ in takewhile(lambda end_us: end_us >= since_us, reversed(self._ends)))
        return max(ended / (self._now_us - since_us) * SECOND_US, 0.1)

    def _result(self, orders: int) -> Result:
        asked = [f"o-{number}" for number in range(WARM_UP, orders)]
        judged = [(*self._told[order_id], self._over[order_id]) for order_id in asked if order_id in self._told]
        deadlines = [(order_id, *self._deadlines[order_id]) for order_id in asked if order_id in self._deadlines]
        in_time = {order_id: self._over.get(order_id, by_us + 1) <= by_us for order_id, by_us, _ in deadlines}
        promised = [order_id for order_id, _, confidence in deadlines if (confidence or 0) >= CONFIDENCE]
        return Result(
            len(judged),
            sum(low <= end <= high for low, high, _, end in judged) / len(judged),
            sum(abs((low + high) / 2 - end) for low, high, _, end in judged) / len(judged) / SECOND_US,
            tuple(
                sum(abs(by_rates[at] - end) for *_, by_rates, end in judged) / len(judged) / SECOND_US
                for at in range(len(_WINDOWS_SECONDS))
            ),
            len(promised),
            sum(map(in_time.__getitem__, promised)) / max(1, len(promised)),
            sum(in_time.values()) / max(1, len(in_time)),
        )


def main() -> None:
    """Print a line for each day and seed."""
    orders, seeds = (int(given) for given in (*sys.argv[1:], *map(str, (ORDERS, SEEDS)[len(sys.argv) - 1 :])))
    rates = " | ".join(f"of backlog / rate of {seconds} s | ratio" for seconds in _WINDOWS_SECONDS)
    print(f"day | outlooks | 80 % spans that hold | mean error | {rates} | promised >= 0.9 | kept")
    for name in DAYS:
        for seed in range(seeds):
            of = _live_through(name, orders, seed)
            errors = " | ".join(f"{by:.2f} s | {of.error_seconds / by:.2f}" for by in of.backlog_by_rate_error_seconds)
            told = f"{name} {seed} | {of.told} | {of.kept:.1%} | {of.error_seconds:.2f} s | {errors}"
            print(f"{told} | {of.promised} | {of.promises_kept:.1%}", flush=True)
    print(f"{OVERLOAD} | in time by FIFO | where only what is likely with {CONFIDENCE} is accepted | kept of these")
    for seed in range(seeds):
        plain, chosen = (_live_through(OVERLOAD, orders, seed, least) for least in (0.0, CONFIDENCE))
        print(f"{seed} | {plain.in_time:.1%} | {chosen.in_time:.1%} | {chosen.promises_kept:.1%}")


def _live_through(name: str, orders: int, seed: int, least: float = 0.0) -> Result:
    with TemporaryDirectory() as folder:
        return Day(name, Path(folder) / "orders.db", seed, least).live_through(orders)


if __name__ == "__main__":
    main()
