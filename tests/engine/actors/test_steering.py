"""A pause, its end, and the number of processors: recorded first, obeyed afterwards, and written down."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import ControlSnapshot, InvalidArgument, Order, OrderEngine, OrderStatus, StoreUnavailable
from ordermill.engine.actors import steering
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from tests.engine.conftest import Held, HeldLedger, WatchedClock

StartEngine = Callable[..., OrderEngine]


def test_a_paused_engine_takes_orders_and_starts_none(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held)

    paused = engine.pause(reason="the provider is down")
    engine.submit_many(make_order(f"o-{number}") for number in range(10))

    assert (paused.paused, paused.paused_until, paused.reason) == (True, None, "the provider is down")
    assert engine.control() == paused
    assert engine.metrics().paused
    assert engine.unready_reasons() == ()
    (warning,) = engine.warnings()
    assert warning == "paused until somebody resumes, so orders are taken and none is started: the provider is down"
    assert engine.metrics().orders_by_status[OrderStatus.PENDING] == 10
    assert not held.has_begun_more()


def test_a_resumed_engine_goes_on_where_it_was(start_engine: StartEngine) -> None:
    engine = start_engine()
    engine.pause()
    receipt = engine.submit(make_order())

    control = engine.resume()

    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
    assert (control.paused, control.reason) == (False, None)
    assert engine.warnings() == ()


def test_a_handler_that_runs_goes_on_in_a_pause(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1)
    first, second = engine.submit_many([make_order("o-1"), make_order("o-2")])
    assert held.begun() == "o-1"

    engine.pause()
    held.release()

    assert first.wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.status(second.order_id) is OrderStatus.PENDING
    assert not held.has_begun_more()


def test_what_was_claimed_ahead_goes_back_in_a_pause(start_engine: StartEngine, held: Held) -> None:
    def handle(order: Order) -> None:
        if order.order_id == "slow":
            held(order)

    engine = start_engine(handle, processors=1)
    for number in range(300):  # the engine learns that the handler is quick
        engine.submit(make_order(f"quick-{number}"))
    engine.submit_many([make_order("slow"), *(make_order(f"o-{number}") for number in range(50))])
    held.begun()

    engine.pause()
    held.release()
    engine.wait("slow", timeout=60)

    counts = engine.metrics().orders_by_status
    assert (counts[OrderStatus.PENDING], counts[OrderStatus.PROCESSING]) == (50, 0)
    engine.resume()
    assert engine.drain(timeout=60).orders_by_status[OrderStatus.COMPLETED] == 351


def test_what_is_assigned_when_the_pause_comes_has_begun_or_goes_back(
    start_engine: StartEngine, held: Held, ledger: HeldLedger
) -> None:
    engine = start_engine(held, processors=2)
    ledger.hold(lambda orders, _: bool(orders))
    submitted = engine.begin_submit([make_order("o-1"), make_order("o-2")])
    ledger.wait_until_held()
    paused = engine.begin_pause()

    ledger.release()
    submitted.get(timeout=60)

    assert paused.get(timeout=60).paused
    engine.resume()
    assert {held.begun(), held.begun()} == {"o-1", "o-2"}


def test_a_pause_survives_a_restart(start_engine: StartEngine, held: Held) -> None:
    first = start_engine(held)
    first.pause(reason="night")
    first.set_processors(3)
    first.stop()

    second = start_engine(held)
    second.submit(make_order())

    assert second.control() == set_control(paused=True, reason="night", processors=3)
    assert not held.has_begun_more()
    second.resume()
    assert held.begun() == "o-1"


def set_control(**fields: Any) -> ControlSnapshot:
    """What is set, but for these fields."""
    return ControlSnapshot(**({"paused_until_us": None, "reason": None, "error": None} | fields))


def test_a_pause_for_some_time_ends_by_itself(start_engine: StartEngine, held: Held, clock: WatchedClock) -> None:
    engine = start_engine(held, clock=clock)
    control = engine.pause(60, "until the provider is back")
    engine.submit(make_order())
    assert control.paused_until_us == clock.now_us() + 60_000_000

    clock.advance(59)
    assert engine.control().paused
    clock.advance(1)

    assert held.begun() == "o-1"
    assert not engine.control().paused
    entry, _ = engine.audit()
    assert (entry.action, entry.reason, entry.acted_by) == ("resume", "the time of the pause is over", None)


def test_a_pause_whose_time_ended_while_no_engine_ran_is_over(
    start_engine: StartEngine, held: Held, clock: WatchedClock
) -> None:
    first = start_engine(clock=clock)
    first.pause(60)
    first.submit(make_order())
    first.stop()
    clock.advance(61)

    second = start_engine(held, clock=clock)

    assert held.begun() == "o-1"
    assert not second.control().paused


def test_a_pause_outlasts_a_restart_by_what_is_left_of_it(
    start_engine: StartEngine, held: Held, clock: WatchedClock
) -> None:
    first = start_engine(clock=clock)
    first.pause(60)
    first.submit(make_order())
    first.stop()
    clock.advance(20)
    second = start_engine(held, clock=clock)
    assert second.control().paused

    clock.advance(40)

    assert held.begun() == "o-1"


def test_a_later_pause_takes_the_place_of_one_that_would_have_ended(
    start_engine: StartEngine, clock: WatchedClock
) -> None:
    engine = start_engine(clock=clock)
    engine.pause(60)

    engine.pause()
    clock.advance(100)

    assert engine.control().paused


def test_a_stop_of_a_paused_engine_loses_nothing(start_engine: StartEngine, assert_sound: Callable[[], None]) -> None:
    engine = start_engine()
    engine.pause()
    engine.submit(make_order())

    engine.stop()

    assert_sound()


class Meeting:
    """A handler that tells how many run at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._release = threading.Event()
        self.running = 0
        self.entered: queue.SimpleQueue[int] = queue.SimpleQueue()

    def __call__(self, _: Order) -> None:
        with self._lock:
            self.running += 1
            self.entered.put(self.running)
        assert self._release.wait(60)
        with self._lock:
            self.running -= 1

    def end(self) -> None:
        self._release.set()


def test_more_processors_begin_at_once(start_engine: StartEngine, hold: Callable[[], Held]) -> None:
    held = hold()
    engine = start_engine(held, processors=1)
    engine.submit_many(make_order(f"o-{number}") for number in range(4))
    held.begun()

    control = engine.set_processors(3, "a quiet night")

    assert control.processors == 3
    assert {held.begun(), held.begun()} == {"o-1", "o-2"}
    assert engine.metrics().processors == 3
    assert not held.has_begun_more()


def test_processors_that_are_too_many_end_when_they_have_nothing_to_do(
    start_engine: StartEngine, wait_until: Callable[[Callable[[], object]], None]
) -> None:
    meeting = Meeting()
    engine = start_engine(meeting, processors=4)
    engine.submit_many(make_order(f"o-{number}") for number in range(4))
    for _ in range(4):
        meeting.entered.get(timeout=60)

    assert engine.set_processors(1).processors == 1
    meeting.end()
    engine.drain(timeout=60)

    wait_until(lambda: sum(thread.name.startswith("ProcessorActor") for thread in threading.enumerate()) == 1)
    assert engine.submit(make_order("last")).wait(timeout=60) is OrderStatus.COMPLETED


def test_none_has_as_many_processors_as_are_configured(start_engine: StartEngine) -> None:
    engine = start_engine(processors=2)
    engine.set_processors(5)

    assert engine.set_processors(None).processors == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda engine: engine.pause(0),
        lambda engine: engine.pause(-1),
        lambda engine: engine.pause(float("inf")),
        lambda engine: engine.pause(True),
        lambda engine: engine.pause("60"),
        lambda engine: engine.pause(reason=""),
        lambda engine: engine.resume("a\nb"),
        lambda engine: engine.set_processors(0),
        lambda engine: engine.set_processors(1001),
        lambda engine: engine.set_processors(2.0),
        lambda engine: engine.audit(limit=0),
        lambda engine: engine.audit(before="1"),
    ],
)
def test_what_nobody_can_set_is_refused(start_engine: StartEngine, call: Callable[[OrderEngine], object]) -> None:
    engine = start_engine()

    with pytest.raises(InvalidArgument):
        call(engine)

    assert engine.audit() == []


def test_what_the_database_does_not_take_is_not_set(
    start_engine: StartEngine, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine(held)

    def refuse(*_: object) -> None:
        raise StoreUnavailable(OSError("disk full"))

    with monkeypatch.context() as patch:
        patch.setattr(steering, "write_control", refuse)
        with pytest.raises(StoreUnavailable, match="disk full"):
            engine.pause()

    engine.submit(make_order())
    assert held.begun() == "o-1"
    assert not engine.control().paused


def test_an_unexpected_error_is_told_and_keeps_no_other_from_being_done(
    start_engine: StartEngine, ledger: HeldLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine()
    ledger.hold(lambda orders, _: bool(orders))
    submitted = engine.begin_submit([make_order()])
    ledger.wait_until_held()
    errors = iter([RuntimeError("odd")])
    write = steering.write_control

    def fail_once(*arguments: Any) -> Any:
        if (error := next(errors, None)) is not None:
            raise error
        return write(*arguments)

    monkeypatch.setattr(steering, "write_control", fail_once)
    first, second = engine.begin_pause(), engine.begin_set_processors(2)
    ledger.release()
    submitted.get(timeout=60)

    with pytest.raises(RuntimeError, match="odd"):
        first.get(timeout=60)
    assert second.get(timeout=60).processors == 2
    assert not engine.control().paused
    assert engine.metrics().incidents == 1


def test_the_end_of_a_pause_that_cannot_be_recorded_is_tried_again(
    start_engine: StartEngine, held: Held, clock: WatchedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine(held, clock=clock)
    engine.pause(60)
    engine.submit(make_order())
    refused = threading.Event()

    def refuse(*_: object) -> None:
        refused.set()
        raise StoreUnavailable(OSError("disk full"))

    with monkeypatch.context() as patch:
        patch.setattr(steering, "write_control", refuse)
        clock.advance(60)
        assert refused.wait(60)
        assert engine.control().paused

    clock.advance(1)

    assert held.begun() == "o-1"


def test_every_act_of_an_operator_is_written_down(start_engine: StartEngine, clock: WatchedClock) -> None:
    def fail(_: Order) -> None:
        raise ValueError("boom")

    engine = start_engine(fail, clock=clock, max_attempts=1)
    engine.submit(make_order("o-1")).wait(timeout=60)
    engine.pause(reason="to look into it")
    engine.submit(make_order("o-2"))
    engine.cancel("o-2", "ordered twice")
    engine.retry("o-1")
    engine.set_processors(2)
    engine.resume("looked into it")

    entries = engine.audit()[::-1]

    assert [(entry.action, entry.target, entry.reason, entry.orders) for entry in entries] == [
        ("pause", None, "to look into it", None),
        ("cancel", "o-2", "ordered twice", 1),
        ("retry", "o-1", None, 1),
        ("set processors", "2", None, None),
        ("resume", None, "looked into it", None),
    ]
    assert {entry.at_us for entry in entries} == {clock.now_us()}
    assert engine.audit(before=entries[2].id, limit=1) == [entries[1]]


def test_what_was_refused_is_not_written_down_as_done(
    start_engine: StartEngine, held: Held, ledger: HeldLedger
) -> None:
    engine = start_engine(held)
    engine.pause()
    engine.submit(make_order())
    ledger.hold(lambda orders, _: bool(orders))
    blocker = engine.begin_submit([make_order("o-2")])
    ledger.wait_until_held()
    first, second = engine.begin_cancel("o-1"), engine.begin_cancel("o-1")
    ledger.release()
    blocker.get(timeout=60)

    outcomes = []
    for reply in (first, second):
        try:
            outcomes.append(reply.get(timeout=60).status)
        except Exception as error:
            outcomes.append(type(error).__name__)

    assert sorted(outcomes) == ["Cancelled", "TransitionRefused"]
    assert [entry.action for entry in engine.audit()] == ["cancel", "pause"]
