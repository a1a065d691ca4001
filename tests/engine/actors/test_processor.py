"""What the handler does to an order: done, tried again, or Failed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from ordermill.engine import Order, OrderEngine, OrderStatus, Reject, TransitionRefused
from ordermill.engine.actors import processor as processors
from ordermill.engine.testing import START_US, make_order
from ordermill.store.domain.record import utc

if TYPE_CHECKING:
    from ordermill.engine.testing import Held, WatchedClock

StartEngine = Callable[..., OrderEngine]


class Unreadable(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise ValueError("broken")


class Mute(Exception):
    """An error whose text is none."""

    def __str__(self) -> str:
        return None  # type: ignore[return-value]


class Rude(Exception):
    """An error that wants to end the program when it is read."""

    def __str__(self) -> NoReturn:
        raise SystemExit(1)


def raising(error: BaseException) -> Callable[[Order], None]:
    def handler(_: Order) -> None:
        raise error

    return handler


def test_an_order_is_completed_when_the_handler_returns_whatever_it_returns(start_engine: StartEngine) -> None:
    engine = start_engine(lambda _: False)

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.history("o-1")[-1].reason == "the handler returned"


def test_the_handler_gets_the_order_that_was_submitted(start_engine: StartEngine) -> None:
    handled: list[Order] = []
    engine = start_engine(handled.append)
    order = make_order(item_ids=("b", "a", "b"))

    engine.submit(order).wait(timeout=60)

    assert handled == [order]


def test_a_failed_attempt_is_repeated_with_growing_delays_until_the_order_fails(
    start_engine: StartEngine, clock: WatchedClock, assert_sound: Callable[[], None]
) -> None:
    attempts: list[int] = []

    def fail(_: Order) -> None:
        attempts.append(clock.now_us())
        raise ConnectionError(f"no answer {len(attempts)}")

    engine = start_engine(fail, clock=clock, max_attempts=4, retry_seconds=10, retry_max_seconds=15)
    receipt = engine.submit(make_order())
    for number, longest in enumerate((10, 15, 15), 1):
        again_at = clock.next_call(at_least=1)
        record = engine.order("o-1")
        assert (record.status, record.attempts, record.failures) == (OrderStatus.PENDING, number, number)
        assert record.ready_us == again_at
        delay = (again_at - clock.now_us()) / 1e6
        assert longest / 2 <= delay <= longest
        assert engine.history("o-1")[-1].reason == (
            f"ConnectionError: no answer {number}; tried again in {delay:.1f} s"
        )
        clock.advance_to(again_at - 1)
        clock.advance_to(again_at)

    assert receipt.wait(timeout=60) is OrderStatus.FAILED
    assert len(attempts) == 4
    assert engine.history("o-1")[-1].reason == "ConnectionError: no answer 4; failed attempt 4 of 4"
    assert engine.order("o-1").failures == 4
    engine.stop()
    assert_sound()


def test_an_order_is_not_begun_before_the_time_that_it_says(start_engine: StartEngine, clock: WatchedClock) -> None:
    begun: list[tuple[str, int]] = []
    engine = start_engine(lambda order: begun.append((order.order_id, clock.now_us())), clock=clock)

    late = engine.submit(make_order("late", not_before=utc(START_US + 10_000_000), priority=9))
    engine.submit(make_order("other")).wait(timeout=30)
    assert clock.next_call(at_least=1, timeout=30) == START_US + 10_000_000
    clock.advance_to(START_US + 9_999_999)
    engine.submit(make_order("another")).wait(timeout=30)
    assert engine.order("late").ready_us == START_US + 10_000_000
    clock.advance_to(START_US + 10_000_000)

    assert late.wait(timeout=30) is OrderStatus.COMPLETED
    assert begun[-1] == ("late", START_US + 10_000_000)


def test_a_time_that_is_further_away_than_a_timer_goes_is_waited_for_too(start_engine: StartEngine) -> None:
    engine = start_engine(lambda _: None)
    engine.submit(make_order("one-day", not_before=datetime(9998, 12, 31, tzinfo=UTC)))

    engine.submit(make_order("other")).wait(timeout=30)

    assert engine.status("one-day") is OrderStatus.PENDING
    assert engine.cancel("one-day").status is OrderStatus.CANCELLED


def test_an_operator_cannot_hurry_an_order_that_waits_for_its_time(start_engine: StartEngine) -> None:
    engine = start_engine(lambda _: None)
    engine.submit(make_order("later", not_before=datetime(9998, 12, 31, tzinfo=UTC)))

    with pytest.raises(TransitionRefused):
        engine.retry("later")

    engine.cancel("later")


def test_what_has_a_higher_priority_is_handled_first(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1)
    engine.submit(make_order("first"))
    held.begun()

    receipts = engine.submit_many([make_order(f"p-{priority}", priority=priority) for priority in (0, 4, 9)])
    held.release()

    for receipt in receipts:
        receipt.wait(timeout=30)
    assert [held.begun() for _ in receipts] == ["p-9", "p-4", "p-0"]


def test_an_order_is_not_tried_before_its_time(start_engine: StartEngine, clock: WatchedClock) -> None:
    attempts: list[int] = []

    def fail_once(order: Order) -> None:
        if order.order_id == "bad":
            attempts.append(clock.now_us())
            if len(attempts) == 1:
                raise ConnectionError

    engine = start_engine(fail_once, clock=clock, retry_seconds=10)
    receipt = engine.submit(make_order("bad"))
    again_at = clock.next_call(at_least=1)

    clock.advance_to(again_at - 1)
    engine.submit(make_order("other")).wait(timeout=60)
    assert engine.status("bad") is OrderStatus.PENDING
    clock.advance_to(again_at)

    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
    assert attempts == [START_US, again_at]


def test_an_order_that_waits_to_be_tried_again_outlives_the_engine(
    start_engine: StartEngine, clock: WatchedClock
) -> None:
    engine = start_engine(raising(ConnectionError("no answer")), clock=clock, retry_seconds=10)
    engine.submit(make_order())
    again_at = clock.next_call(at_least=1)
    engine.stop()

    early = start_engine(clock=clock)
    assert early.order("o-1").ready_us == clock.next_call(at_least=1) == again_at
    early.stop()
    clock.advance_to(again_at)
    late = start_engine(clock=clock)

    assert late.wait("o-1", timeout=60) is OrderStatus.COMPLETED
    assert (late.order("o-1").attempts, late.order("o-1").failures) == (2, 1)
    assert late.recovered.returned == 0


def test_a_retry_may_follow_at_once(start_engine: StartEngine) -> None:
    engine = start_engine(raising(ConnectionError("no answer")), retry_seconds=0, max_attempts=3)

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.FAILED
    assert engine.order("o-1").attempts == 3


def test_a_rejected_order_fails_at_once(start_engine: StartEngine) -> None:
    engine = start_engine(raising(Reject("the card was declined")))

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.FAILED

    assert (engine.order("o-1").attempts, engine.order("o-1").failures) == (1, 1)
    assert engine.history("o-1")[-1].reason == "rejected: the card was declined"


@pytest.mark.parametrize("reason", [ValueError("no stock"), None, 7, ["a"], Unreadable()], ids=repr)
def test_a_rejection_fails_the_order_whatever_its_reason_is(start_engine: StartEngine, reason: Any) -> None:
    engine = start_engine(raising(Reject(reason)))

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.FAILED

    assert engine.history("o-1")[-1].reason.startswith("rejected: ")
    assert engine.metrics().incidents == 0


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (MemoryError(), "MemoryError"),
        (GeneratorExit(), "GeneratorExit"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (ExceptionGroup("several", [ValueError("a")]), "ExceptionGroup: several (1 sub-exception)"),
        (Unreadable(), "Unreadable: (an error without a readable text)"),
        (Mute(), "Mute: (an error without a readable text)"),
        (Rude(), "Rude: (an error without a readable text)"),
        (ValueError("a\x00b\n\u20ac"), "ValueError: a\\x00b\\n\u20ac"),
        (ValueError("lone \ud800"), "ValueError: lone ?"),
        (ValueError("x" * 1000), "ValueError: " + "x" * 487 + "…"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_the_handler_raises_is_a_failed_attempt(
    start_engine: StartEngine, assert_sound: Callable[[], None], error: BaseException, text: str
) -> None:
    engine = start_engine(raising(error), processors=1, max_attempts=1)

    receipts = engine.submit_many([make_order("a"), make_order("b")])

    assert [receipt.wait(timeout=60) for receipt in receipts] == [OrderStatus.FAILED] * 2
    assert engine.history("a")[-1].reason == f"{text}; failed attempt 1 of 1"
    assert engine.metrics().incidents == 0
    assert engine.unready_reasons() == ()
    engine.stop()
    assert_sound()


def test_an_unexpected_error_about_a_result_leaves_no_order_in_hand(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError("unexpected")

    monkeypatch.setattr(processors, "after_failure", fail)
    engine = start_engine(raising(ValueError("bad")), processors=1)

    receipt = engine.submit(make_order())

    assert receipt.wait(timeout=60) is OrderStatus.FAILED
    assert engine.metrics().incidents == 1
