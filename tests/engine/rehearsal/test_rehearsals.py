"""What a running engine says is likely to become of its backlog."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import (
    EngineStopped,
    InvalidArgument,
    Order,
    OrderEngine,
    OrderFilter,
    Outage,
    Rehearsal,
    RehearsalFailed,
    RehearsalsBusy,
    Reject,
    Scenario,
)
from ordermill.engine.arguments import checked_action
from ordermill.engine.rehearsal import rehearsals
from ordermill.engine.reply import answer
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from ordermill.engine.testing import Held

pytestmark = pytest.mark.usefixtures("short_rehearsals")

StartEngine = Callable[..., OrderEngine]


def rejecting(order: Order) -> None:
    """A handler."""
    if order.order_id.startswith("bad"):
        raise Reject("rejected")


def with_backlog(engine: OrderEngine, orders: int = 40) -> None:
    """Thirty orders are done, and so many wait."""
    engine.submit_many([make_order(f"done-{number}") for number in range(30)])
    engine.drain(timeout=60)
    engine.pause()
    engine.submit_many([make_order(f"o-{number}", user_id=f"u-{number % 2}") for number in range(orders)])


@pytest.mark.slow
def test_it_is_told_when_the_backlog_is_empty_and_how_it_goes(start_engine: StartEngine) -> None:
    engine = start_engine()
    with_backlog(engine)

    told = engine.rehearse(arrivals=0)

    assert (told.backlog, told.attempts, told.why) == (40, 30, None)
    assert told.empty_seconds is not None
    assert 0 <= told.empty_seconds.low <= told.empty_seconds.expected <= told.empty_seconds.high
    assert told.left is not None
    assert told.left.high == 0
    assert (told.curve[0].backlog.expected, told.curve[-1].backlog.high) == (40, 0)
    assert told.notes == ("the engine is paused until somebody resumes: as if that happened now",)
    assert engine.status("o-0") == "Pending"  # nothing was changed


@pytest.mark.slow
def test_orders_that_are_paused_are_left(start_engine: StartEngine) -> None:
    engine = start_engine()
    with_backlog(engine)
    engine.submit(make_order("mail-1", user_id="u-9", queue="mail"))

    by_user, by_queue = (engine.rehearse(arrivals=0, pause=name).left for name in ("u-1", "mail"))

    assert by_user is not None
    assert by_queue is not None
    assert (by_user.expected, by_queue.expected) == (20, 1)


@pytest.mark.slow
def test_an_outage_takes_at_least_as_long_as_it_lasts(start_engine: StartEngine) -> None:
    engine = start_engine()
    with_backlog(engine)

    told = engine.rehearse(arrivals=0, fail=Outage("ProviderDown", 600))

    assert told.empty_seconds is not None
    assert told.empty_seconds.low > 600


@pytest.mark.slow
def test_limits_on_the_work_are_rehearsed(start_engine: StartEngine) -> None:
    engine = start_engine(limits="queue:mail=1 2/s")
    with_backlog(engine, 0)
    engine.submit_many([make_order(f"o-{number}", queue="mail") for number in range(5)])

    told = engine.rehearse(arrivals=0)

    assert told.empty_seconds is not None
    assert told.empty_seconds.low >= 2  # the last begins after four times half a second
    assert told.notes == ("the engine is paused until somebody resumes: as if that happened now",)


def rehearse_alone(engine: OrderEngine, action: str, wanted: OrderFilter) -> Rehearsal:
    """As `rehearse_action`, with no further orders: a test's arrive faster than any can be handled."""
    return engine.begin_rehearsal(Scenario(arrivals=0, action=checked_action(action, wanted, None))).get(timeout=600)


@pytest.mark.slow
def test_a_cancel_of_many_orders_is_rehearsed_with_it_and_without(start_engine: StartEngine) -> None:
    engine = start_engine()
    with_backlog(engine)
    engine.submit(make_order("late", user_id="u-0", complete_by=datetime.now(UTC) + timedelta(microseconds=1)))

    after = rehearse_alone(engine, "cancel", OrderFilter(user_id="u-1"))

    without = after.without
    assert without is not None
    assert (after.backlog, without.backlog) == (21, 41)
    assert after.empty_seconds is not None
    assert without.empty_seconds is not None
    assert after.empty_seconds.expected <= without.empty_seconds.expected
    assert [point.seconds for point in after.curve] == [point.seconds for point in without.curve]
    assert after.deadlines is not None
    assert [late.order_id for late in after.deadlines.first] == ["late"]
    assert engine.status("o-1") == "Pending"  # nothing was changed
    with_arrivals = engine.rehearse_action("cancel", OrderFilter(user_id="u-1"))
    assert (with_arrivals.backlog, with_arrivals.without is None) == (21, False)


@pytest.mark.slow
def test_a_retry_of_many_orders_brings_them_back_into_the_rehearsed_backlog(start_engine: StartEngine) -> None:
    engine = start_engine(rejecting)
    engine.submit_many([make_order(f"bad-{number}", key="k") for number in range(3)])
    engine.submit_many([make_order(f"good-{number}") for number in range(30)])
    engine.drain(timeout=60)

    after = rehearse_alone(engine, "retry", OrderFilter(error="rejected"))

    assert after.without is not None
    assert (after.backlog, after.without.backlog) == (3, 0)
    assert after.left is not None
    assert after.left.high == 0


def test_an_action_that_cannot_be_meant_is_not_rehearsed(start_engine: StartEngine) -> None:
    engine = start_engine()

    with pytest.raises(InvalidArgument):
        engine.rehearse_action("burn", OrderFilter())
    with pytest.raises(InvalidArgument):
        engine.begin_rehearsal(Scenario(action="cancel"))  # type: ignore[arg-type]  # which is what is refused


def test_with_too_little_data_it_says_so(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held)
    engine.submit(make_order("o-1"))

    told = engine.rehearse()

    assert (told.backlog, told.runs, told.empty_seconds, told.curve) == (1, 0, None, ())
    assert told.why == "only 0 attempts were measured, and fewer than 20 tell nothing"


@pytest.mark.parametrize(
    "wrong",
    [
        {"processors": 0},
        {"processors": 1.5},
        {"arrivals": -1},
        {"arrivals": float("nan")},
        {"arrivals": 101},
        {"pause": ""},
        {"pause": "two words"},
        {"fail": "ProviderDown"},
        {"fail": Outage("no class", 1)},
        {"fail": Outage("ProviderDown", 0)},
    ],
)
def test_what_cannot_be_rehearsed_is_refused(start_engine: StartEngine, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        start_engine().rehearse(**wrong)


def test_no_more_than_some_are_rehearsed_at_once(start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsals, "MOST_AT_ONCE", 0)

    with pytest.raises(RehearsalsBusy):
        start_engine().rehearse()


def test_a_rehearsal_ends_when_nobody_waits_for_it_any_more(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsals, "_MODULE", "asyncio")  # a process that waits for what is typed
    engine = start_engine()
    reply = engine.begin_rehearsal(Scenario())
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "ordermill-rehearsal")

    answer(reply, None)

    thread.join(60)
    assert not thread.is_alive()


def test_whoever_waits_for_a_rehearsal_is_told_of_a_stop(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsals, "_MODULE", "asyncio")
    engine = start_engine()
    reply = engine.begin_rehearsal(Scenario())

    engine.stop()

    with pytest.raises(EngineStopped):
        reply.get(timeout=60)


def test_a_process_that_dies_is_told_of(start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsals, "_MODULE", "this")  # it ends at once, and has said something else

    with pytest.raises(RehearsalFailed):
        start_engine().rehearse()
