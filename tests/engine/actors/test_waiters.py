"""The waiting room wakes those who wait for an order, and nobody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pykka import Timeout

from ordermill.engine import EngineStopped, Reply
from ordermill.engine.actors.waiters import Waiters
from ordermill.engine.clock import Timer
from ordermill.engine.requests import AwaitOrder
from ordermill.engine.testing import START_US, ManualClock, make_order
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.record import OrderRecord


def done(order_id: str) -> OrderRecord:
    return OrderRecord(make_order(order_id), 1, OrderStatus.COMPLETED, 1, 0, START_US, START_US, None)


def enter(room: Waiters, order_id: str, timeout: float | None = None) -> Reply[None]:
    reply: Reply[None] = Reply()
    room.enter(AwaitOrder(order_id, timeout, reply))
    return reply


def test_all_who_wait_for_an_order_are_woken() -> None:
    room = Waiters(ManualClock())
    first, second = enter(room, "a"), enter(room, "a")
    room.wake([done("b"), done("a")])

    assert first.get(timeout=0) is None
    assert second.get(timeout=0) is None


def test_who_sets_the_reply_itself_waits_no_longer() -> None:
    clock = ManualClock()
    room = Waiters(clock)
    reply = enter(room, "a", 5)
    reply.set()

    assert not room._waiting
    room.wake([done("a")])
    clock.advance(5)


def test_who_waits_for_another_order_is_not_woken() -> None:
    room = Waiters(ManualClock())
    reply = enter(room, "a")
    room.wake([done("b")])

    with pytest.raises(Timeout):
        reply.get(timeout=0)


def test_who_comes_later_is_not_woken_by_what_was_before() -> None:
    room = Waiters(ManualClock())
    room.wake([done("a")])

    assert not enter(room, "a").is_done


def test_who_waits_for_some_time_is_told_when_it_is_over() -> None:
    clock = ManualClock()
    room = Waiters(clock)
    patient, impatient = enter(room, "a", 5), enter(room, "a", 1)
    clock.advance(1)

    assert impatient.is_done
    assert not patient.is_done
    assert [list(replies) for replies in room._waiting.values()] == [[patient]]


def test_no_place_is_kept_for_those_who_were_woken_or_have_left() -> None:
    clock = ManualClock()
    room = Waiters(clock)
    enter(room, "a", 1)
    room.wake([done("a")])
    request = AwaitOrder("b", None, Reply())
    room.enter(request)

    assert room.leave(request)
    assert not room.leave(request)
    assert room._waiting == {}
    clock.advance(2)


def test_a_closed_room_sends_everybody_away_now_and_from_now_on() -> None:
    room = Waiters(ManualClock())
    before = enter(room, "a")
    room.close()

    with pytest.raises(EngineStopped):
        before.get(timeout=0)
    assert not room.enter(AwaitOrder("b", None, Reply()))


def test_no_timer_is_kept_for_those_who_were_woken_or_have_left() -> None:
    clock = ManualClock()
    room = Waiters(clock)
    for _ in range(500):
        enter(room, "a", 86_400)
        room.wake([done("a")])
        request = AwaitOrder("b", 86_400, Reply())
        room.enter(request)
        room.leave(request)

    assert len(clock._calls) < 100


def test_no_timer_is_kept_for_one_who_is_woken_while_entering(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    room = Waiters(clock)
    call_after = clock.call_after

    def wake_first(seconds: float, callback: Callable[[], None]) -> Timer:
        room.wake([done("a")])
        return call_after(seconds, callback)

    monkeypatch.setattr(clock, "call_after", wake_first)

    assert enter(room, "a", 86_400).is_done
    assert clock._calls.next_us() is None
