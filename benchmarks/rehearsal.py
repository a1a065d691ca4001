"""How right rehearsals are: engines with a backlog, and what was foretold of it; and how long a million orders take.

    python benchmarks/rehearsal.py [ORDERS]

Each engine is given a backlog, paused, is asked when it will be empty once somebody resumes, and then drained.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ordermill.engine import Order, OrderEngine
from ordermill.engine.testing import make_order

WARM_UP = 400
ORDERS = 1_500
MILLION = 1_000_000
_LOT = 10_000


class Setting(NamedTuple):
    """An engine and its work."""

    name: str
    draw: Callable[[Random], float]
    """Gives how long the handler takes, in seconds."""
    failing: float = 0.0
    """The share of attempts that fail."""
    before: int = 8
    """Processors while it is measured."""
    after: int = 8
    """Processors while the backlog is worked off."""


SETTINGS = (
    Setting("20 ms each", lambda _: 0.02),
    Setting("10 to 60 ms", lambda random: random.uniform(0.01, 0.06)),
    Setting("lognormal, 30 ms", lambda random: random.lognormvariate(-3.5, 0.8)),
    Setting("one in ten fails", lambda random: random.uniform(0.01, 0.04), failing=0.1),
    Setting("twice the processors", lambda random: random.uniform(0.02, 0.05), after=16),
    Setting("half the processors", lambda random: random.uniform(0.02, 0.05), after=4),
    Setting("5 ms each", lambda _: 0.005),
)


def compare(setting: Setting, orders: int) -> tuple[float, float]:
    """When the backlog of an engine was to be empty, and when it was, in seconds."""
    random = Random(setting.name)

    def handle(_: Order) -> None:
        time.sleep(setting.draw(random))
        if random.random() < setting.failing:
            raise RuntimeError("the provider is down")

    settings = {"retry_seconds": 0.1, "retry_max_seconds": 0.5}
    with (
        TemporaryDirectory() as folder,
        OrderEngine(Path(folder) / "orders.db", handler=handle, processors=setting.before, **settings) as engine,
    ):
        engine.submit_many([make_order(f"w-{number}", user_id=f"u-{number % 9}") for number in range(WARM_UP)])
        engine.drain()
        engine.pause()
        engine.submit_many([make_order(f"o-{number}", user_id=f"u-{number % 9}") for number in range(orders)])
        told = engine.rehearse(processors=setting.after, arrivals=0).empty_seconds
        assert told is not None
        engine.set_processors(setting.after)
        began = time.monotonic()
        engine.resume()
        engine.drain()
        return told.expected, time.monotonic() - began


def a_million(limits: str | None = None) -> float:
    """How long a rehearsal of a million orders takes, in seconds.

    Args:
        limits: those on the work.
    """
    with (
        TemporaryDirectory() as folder,
        OrderEngine(
            Path(folder) / "orders.db",
            handler=lambda _: time.sleep(0.02),
            max_backlog=2 * MILLION,
            durability="normal",
            limits=limits,
        ) as engine,
    ):
        engine.submit_many([make_order(f"w-{number}") for number in range(WARM_UP)])
        engine.drain()
        engine.pause()
        for begin in range(0, MILLION, _LOT):
            lot = range(begin, begin + _LOT)
            engine.submit_many([make_order(f"o-{number}", user_id=f"u-{number % 100_000}") for number in lot])
        began = time.monotonic()
        told = engine.rehearse(arrivals=0)
        assert told.backlog == MILLION
        print(f"{told.runs} runs")
        return time.monotonic() - began


def main() -> None:
    """Print a line for each setting, and how far the rehearsals were off."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS
    print("engine | foretold | what happened | off by")
    errors = []
    for setting in SETTINGS:
        foretold, happened = compare(setting, orders)
        errors.append(abs(foretold - happened) / happened)
        print(f"{setting.name} | {foretold:.2f} s | {happened:.2f} s | {errors[-1]:.1%}")
    print(f"median | | | {median(errors):.1%}")
    print(f"a million orders | {a_million():.1f} s")
    print(f"a million orders, each user at a limit | {a_million('user=1'):.1f} s")


if __name__ == "__main__":
    main()
