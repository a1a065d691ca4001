"""How right outlooks are on three days: bursts, a provider that is slow now and then, and mixed priorities.

    python benchmarks/outlook.py [ORDERS]

Orders come as on such a day, and four processors take them by the real queue, over a real database, under a virtual
clock. Each order's outlook is asked for when it is accepted, and compared with what then happened; beside it stands
what shops use otherwise, the backlog divided by the rate of the last minute.
"""

from __future__ import annotations

import heapq
import sys
from collections import deque
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ordermill.engine import ControlSnapshot
from ordermill.engine.outlook import outlook
from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import AGING_SECONDS, Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.outlook import Estimate, Evidence
from ordermill.store.domain.record import OrderRecord, move
from ordermill.store.ledger import Ledger
from ordermill.store.outlooks import evidence, note_and_judge, place
from ordermill.store.sqlite.database import open_writer

SECOND_US = 1_000_000
DAYS = ("bursts", "slow provider", "mixed priorities")
PROCESSORS = 4
ORDERS = 4_000
WARM_UP = 500

_CONTROL = ControlSnapshot(paused=False, paused_until_us=None, reason=None, error=None, processors=PROCESSORS)
_AGING_US = round(AGING_SECONDS * 1e6)


class Result(NamedTuple):
    """How right a day's outlooks were."""

    told: int
    kept: float
    error_seconds: float
    backlog_by_rate_error_seconds: float


class Day:
    """One of the days, lived through order by order."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._random = Random(name)
        self._database = open_writer(path, Durability.NORMAL)
        self._ledger = Ledger(self._database, 10_000)
        self._running: list[tuple[int, int, OrderRecord]] = []
        self._noted: list[Estimate] = []
        self._evidence: tuple[int, Evidence] | None = None
        self._ends: deque[int] = deque()
        self._told: dict[str, tuple[int, int, float]] = {}
        self._over: dict[str, int] = {}
        self._now_us = SECOND_US

    def live_through(self, orders: int) -> Result:
        """Have so many orders come, and all of them done."""
        try:
            for number in range(orders):
                self._go_on_to(self._now_us + round(self._random.expovariate(self._rate(number)) * SECOND_US))
                priority = self._random.choice((2, 4, 4, 4, 9)) if self._name == "mixed priorities" else 4
                order = make_order(f"o-{number}", user_id=f"u-{number}", priority=priority)
                self._ledger.record([order], (), self._now_us)
                self._claim()
                self._ask(order.order_id)
            while self._running:
                self._go_on_to(self._running[0][0])
        finally:
            self._database.close()
        return self._result(orders)

    def _rate(self, number: int) -> float:
        return 30.0 if self._name != "slow provider" and number % 300 < 60 else 2.0

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
                is_slow = self._name == "slow provider" and step.after.sequence % 1_000 > 600
                took = self._random.lognormvariate(0, 0.6) * (1.5 if is_slow else 1)
                ends_us = self._now_us + round(took * SECOND_US)
                heapq.heappush(self._running, (ends_us, step.after.sequence, step.after))

    def _ask(self, order_id: str) -> None:
        now_us = self._now_us
        if self._evidence is None or now_us - self._evidence[0] >= SECOND_US:
            note_and_judge(self._database, self._noted, now_us)
            self._noted = []
            self._evidence = now_us, evidence(self._database, now_us)
        record = queries.find(self._database, order_id)
        assert record is not None
        where = place(self._database, record, _AGING_US)
        told, estimate = outlook(record, where, self._evidence[1], _CONTROL, now_us, record.ready_us)
        if estimate is None or told.expected is None:
            return
        self._noted.append(estimate)
        while self._ends and self._ends[0] < now_us - 60 * SECOND_US:
            self._ends.popleft()
        totals = queries.totals(self._database)
        backlog = sum(totals[status] for status in lifecycle.BACKLOG)
        by_rate = now_us + backlog / max(len(self._ends) / 60, 0.1) * SECOND_US
        self._told[order_id] = told.expected.from_us, told.expected.to_us, by_rate

    def _result(self, orders: int) -> Result:
        asked = [f"o-{number}" for number in range(WARM_UP, orders) if f"o-{number}" in self._told]
        judged = [(*self._told[order_id], self._over[order_id]) for order_id in asked]
        return Result(
            len(judged),
            sum(low <= end <= high for low, high, _, end in judged) / len(judged),
            sum(abs((low + high) / 2 - end) for low, high, _, end in judged) / len(judged) / SECOND_US,
            sum(abs(by_rate - end) for *_, by_rate, end in judged) / len(judged) / SECOND_US,
        )


def main() -> None:
    """Print a line for each day."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS
    print("day | outlooks | 80 % spans that hold | mean error | of backlog / rate | ratio")
    for name in DAYS:
        with TemporaryDirectory() as folder:
            told, kept, error, by_rate = Day(name, Path(folder) / "orders.db").live_through(orders)
        print(f"{name} | {told} | {kept:.1%} | {error:.2f} s | {by_rate:.2f} s | {error / by_rate:.2f}")


if __name__ == "__main__":
    main()
