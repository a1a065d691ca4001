"""Work in slices: rests while others need the interpreter, and only then."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ordermill.http.framework import slices
from ordermill.http.framework.slices import in_slices


class Clocks:
    """Time as it passes for all, and for one thread; and the rests that it took."""

    def __init__(self) -> None:
        self.now = 0.0
        self.used = 0.0
        self.rests: list[float] = []

    def work(self, seconds: float, waiting: float = 0.0) -> None:
        """Use the processor for so long, and wait for it for so long."""
        self.now += seconds + waiting
        self.used += seconds

    def sleep(self, seconds: float) -> None:
        """Rest."""
        self.now += seconds
        self.rests.append(round(seconds, 9))


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """In the place of the machine's."""
    clocks = Clocks()

    class Time:
        perf_counter = staticmethod(lambda: clocks.now)
        thread_time = staticmethod(lambda: clocks.used)
        sleep = staticmethod(clocks.sleep)

    monkeypatch.setattr(slices, "time", Time)
    return clocks


def work_on(items: Iterable[int], clocks: Clocks, seconds: float, interrupted_at: int = -1) -> list[int]:
    """Do something for each of them."""
    done = []
    for item in items:
        clocks.work(seconds, waiting=0.0005 if item == interrupted_at else 0.0)
        done.append(item)
    return done


def test_the_items_come_as_they_were() -> None:
    assert list(in_slices(iter(range(1_000)), rests=3)) == list(range(1_000))
    assert list(in_slices([], rests=3)) == []


def test_who_is_not_interrupted_does_not_rest(clocks: Clocks) -> None:
    assert work_on(in_slices(range(100), rests=3), clocks, 0.001) == list(range(100))
    assert clocks.rests == []


def test_who_was_interrupted_rests_after_each_slice_for_a_while(clocks: Clocks) -> None:
    work_on(in_slices(range(100), rests=3), clocks, 0.001, interrupted_at=10)
    assert clocks.rests == [0.003] * 20


def test_small_items_are_put_together_to_a_slice(clocks: Clocks) -> None:
    work_on(in_slices(range(1_000), rests=1), clocks, 0.0001, interrupted_at=10)
    assert clocks.rests[:3] == [0.0001, 0.0002, 0.0002]
    assert len(clocks.rests) == 20


def test_a_rest_is_no_longer_than_some_milliseconds(clocks: Clocks) -> None:
    items = in_slices(range(2), rests=3)
    next(items)
    clocks.work(1.0, waiting=1.0)
    next(items)
    assert clocks.rests == [0.005]
