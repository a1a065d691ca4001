"""There are as many processors as there should be, or the engine says why, and tries again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import OrderEngine, OrderStatus
from ordermill.engine.actors.processor import ProcessorActor
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from ordermill.engine.testing import Held, WatchedClock

StartEngine = Callable[..., OrderEngine]
WaitUntil = Callable[[Callable[[], object]], None]


@pytest.fixture
def start_processors(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has so many processors be started from now on, and no thread for any further one."""
    original = ProcessorActor.start

    def limit(most: int) -> None:
        numbers = itertools.count()

        def start(*arguments: Any) -> Any:
            if next(numbers) >= most:
                raise RuntimeError("can't start new thread")
            return original(*arguments)

        monkeypatch.setattr(ProcessorActor, "start", start)

    return limit


def test_an_engine_works_with_the_processors_that_could_be_started_and_says_what_is_missing(
    start_engine: StartEngine, start_processors: Callable[[int], None], clock: WatchedClock, wait_until: WaitUntil
) -> None:
    start_processors(1)

    engine = start_engine(clock=clock, processors=4)

    assert engine.submit(make_order("o-1")).wait(timeout=60) is OrderStatus.COMPLETED
    wait_until(engine.unready_reasons)
    (reason,) = engine.unready_reasons()
    assert reason.endswith(
        "processors cannot work: no thread can be started for more processors: RuntimeError: can't start new thread"
    )


def test_each_processor_tells_what_it_is_up_to_and_since_when(
    start_engine: StartEngine, clock: WatchedClock, held: Held, wait_until: WaitUntil
) -> None:
    engine = start_engine(held, clock=clock, processors=3)
    wait_until(lambda: len(engine.processors()) == 3)
    started_us = clock.now_us()
    clock.advance(5)
    engine.submit(make_order("o-1", user_id="ann"))
    held.begun()
    begun_us = clock.now_us()
    clock.advance(7)

    told = engine.processors()

    (busy,) = [processor for processor in told if processor.order_id is not None]
    assert (busy.order_id, busy.user_id, busy.attempt, busy.since_us) == ("o-1", "ann", 1, begun_us)
    assert [processor.number for processor in told] == [1, 2, 3]
    assert {one.since_us for one in told if one is not busy} == {started_us}
    held.release()
    engine.drain(timeout=30)
    wait_until(lambda: engine.processors()[busy.number - 1].order_id is None)
    ended = engine.processors()[busy.number - 1]
    assert (ended.since_us, ended.attempt, ended.trouble) == (clock.now_us(), None, None)


def test_the_numbers_of_processors_that_end_are_given_again(start_engine: StartEngine, wait_until: WaitUntil) -> None:
    engine = start_engine(processors=4)
    wait_until(lambda: len(engine.processors()) == 4)

    engine.set_processors(2)
    wait_until(lambda: len(engine.processors()) == 2)
    engine.set_processors(5)
    wait_until(lambda: len(engine.processors()) == 5)

    assert [processor.number for processor in engine.processors()] == [1, 2, 3, 4, 5]


def test_what_could_not_be_started_is_tried_again_more_seldom_each_time_until_all_are_there(
    start_engine: StartEngine, start_processors: Callable[[int], None], clock: WatchedClock, held: Held
) -> None:
    start_processors(0)
    engine = start_engine(held, clock=clock, processors=2)
    asked = []
    for _ in range(3):
        asked.append((at_us := clock.next_call()) - clock.now_us())
        clock.advance_to(at_us)
    asked.append((at_us := clock.next_call()) - clock.now_us())
    assert asked == [500_000, 1_000_000, 2_000_000, 4_000_000]

    start_processors(2)
    clock.advance_to(at_us)
    engine.submit_many([make_order("o-1"), make_order("o-2")])

    assert {held.begun(), held.begun()} == {"o-1", "o-2"}
    assert engine.unready_reasons() == ()
    held.release()


def test_a_processor_whose_handler_overruns_its_time_is_replaced_and_comes_back_no_more(
    start_engine: StartEngine, clock: WatchedClock, held: Held, wait_until: WaitUntil
) -> None:
    engine = start_engine(held, clock=clock, processors=1, handler_timeout=60, max_attempts=1, on_interrupted="review")
    engine.submit_many([make_order("o-1"), make_order("o-2")])
    assert held.begun() == "o-1"

    clock.advance_to(clock.next_call(at_least=1))

    assert held.begun() == "o-2"
    assert engine.metrics().abandoned_handlers == 1
    held.release()
    engine.drain(timeout=60)
    wait_until(lambda: engine.metrics().abandoned_handlers == 0)
    assert engine.status("o-1") is OrderStatus.REVIEW
    assert engine.status("o-2") is OrderStatus.COMPLETED
