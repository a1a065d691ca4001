"""What a running engine says is likely to become of its backlog."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import (
    EngineStopped,
    InvalidArgument,
    OrderEngine,
    Outage,
    RehearsalFailed,
    RehearsalsBusy,
    Scenario,
)
from ordermill.engine.rehearsal import rehearsals
from ordermill.engine.reply import answer
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from ordermill.engine.testing import Held

StartEngine = Callable[..., OrderEngine]


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
