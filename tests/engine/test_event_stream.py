"""A program follows what happens to the orders: every step once, in order, whatever comes between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ordermill.engine import (
    EngineStopped,
    Event,
    EventsGone,
    EventStream,
    InvalidArgument,
    OrderEngine,
    OrderNotFound,
    OrderStatus,
    Reject,
)
from ordermill.engine.testing import ManualClock, make_order


def seen(events: EventStream) -> list[tuple[str, str]]:
    return [(event.order_id, event.to_status.value) for event in events]


def steps(*order_ids: str) -> list[tuple[str, str]]:
    return [(order_id, status) for order_id in order_ids for status in ("Pending", "Processing", "Completed")]


def test_events_come_from_the_moment_that_they_are_asked_for(start_engine: Callable[..., OrderEngine]) -> None:
    engine = start_engine()
    engine.submit(make_order("before")).wait(timeout=60)

    events = engine.events(timeout=0.1)
    engine.submit(make_order("after")).wait(timeout=60)

    assert seen(events) == steps("after")


def test_events_come_from_the_oldest_and_after_any_id(start_engine: Callable[..., OrderEngine]) -> None:
    engine = start_engine()
    for order_id in ("a", "b"):
        engine.submit(make_order(order_id)).wait(timeout=60)

    assert seen(engine.events(after=0, timeout=0)) == steps("a", "b")
    third = list(engine.events(after=0, timeout=0))[2]
    assert seen(engine.events(after=third.id, timeout=0)) == steps("b")


def test_only_what_is_wanted_comes(start_engine: Callable[..., OrderEngine]) -> None:
    def charge(order: Any) -> None:
        if order.user_id == "u-2":
            raise Reject("nothing to pay")

    engine = start_engine(charge)
    for order_id, user_id in (("a", "u-1"), ("b", "u-2")):
        engine.submit(make_order(order_id, user_id=user_id)).wait(timeout=60)

    assert seen(engine.events(after=0, timeout=0, user_id="u-1")) == steps("a")
    assert seen(engine.events(after=0, timeout=0, status="Failed")) == [("b", "Failed")]
    assert seen(engine.events(after=0, timeout=0, order_id="b", status=OrderStatus.PENDING)) == [("b", "Pending")]


def test_a_commit_wakes_who_waits(start_engine: Callable[..., OrderEngine]) -> None:
    engine = start_engine()
    events = engine.events(status="Completed")

    with ThreadPoolExecutor(1) as threads:
        completed = threads.submit(next, events)
        engine.submit(make_order("a"))

        assert completed.result(timeout=60).order_id == "a"


def test_the_iteration_can_be_closed_from_another_thread(start_engine: Callable[..., OrderEngine]) -> None:
    events = start_engine().events()

    with ThreadPoolExecutor(1) as threads:
        left = threads.submit(list, events)
        events.close()

        assert left.result(timeout=60) == []


def test_the_iteration_ends_with_the_engine_and_goes_on_with_the_next(
    start_engine: Callable[..., OrderEngine],
) -> None:
    engine = start_engine()
    seen_by_then: list[Event] = []
    first = threading.Event()

    def follow(events: EventStream) -> None:
        for event in events:
            seen_by_then.append(event)
            first.set()

    with ThreadPoolExecutor(1) as threads:
        following = threads.submit(follow, engine.events())
        engine.submit(make_order("a"))
        assert first.wait(60)
        engine.stop()
        following.result(timeout=60)
    again = start_engine()
    again.wait("a", timeout=60)
    rest = list(again.events(after=seen_by_then[-1].id, timeout=0))

    assert seen_by_then + rest == list(again.events(after=0, timeout=0))
    assert [event.to_status for event in seen_by_then + rest] == [step.to_status for step in again.history("a")]
    with pytest.raises(EngineStopped):
        engine.events()


def test_whoever_is_behind_when_orders_are_removed_is_told_and_goes_on(
    start_engine: Callable[..., OrderEngine], wait_until: Callable[[Callable[[], object]], None]
) -> None:
    clock = ManualClock()
    engine = start_engine(clock=clock, retain_seconds=1, max_backlog=10)
    engine.submit(make_order("a")).wait(timeout=60)
    (first, *_) = engine.events(after=0, timeout=0)
    behind = engine.events(after=first.id, timeout=0)
    clock.advance(11)
    wait_until(lambda: not engine.orders())
    engine.submit(make_order("b")).wait(timeout=60)

    with pytest.raises(EventsGone, match=f"between {first.id} and 3 were removed") as gone:
        next(behind)
    assert (gone.value.after, gone.value.removed_through) == (first.id, 3)
    assert seen(behind) == steps("b")
    assert seen(engine.events(after=0, timeout=0)) == steps("b")  # the oldest that there are
    assert seen(engine.events(after=3, timeout=0)) == steps("b")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"after": -1}, InvalidArgument),
        ({"after": "1"}, InvalidArgument),
        ({"status": "Done"}, InvalidArgument),
        ({"user_id": 7}, InvalidArgument),
        ({"timeout": -1}, InvalidArgument),
        ({"order_id": 7}, InvalidArgument),
        ({"order_id": "no such id"}, OrderNotFound),
    ],
)
def test_wrong_arguments_are_told_at_once(
    start_engine: Callable[..., OrderEngine], arguments: dict[str, Any], error: type[Exception]
) -> None:
    engine = start_engine()

    with pytest.raises(error):
        engine.events(**arguments)


def test_an_engine_that_was_not_started_has_no_events(database: Path) -> None:
    with pytest.raises(EngineStopped):
        OrderEngine(database).events()


def test_nobody_who_follows_holds_more_than_a_page_of_the_log(
    start_engine: Callable[..., OrderEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ordermill.engine.event_stream._PAGE", 10)
    engine = start_engine()
    engine.submit_many([make_order(f"o-{number}") for number in range(50)])
    engine.drain(timeout=60)
    events = engine.events(after=0, timeout=0)

    found = []
    for event in events:
        found.append(event.id)
        assert len(events._read) < 10

    assert found == list(range(1, 151))
