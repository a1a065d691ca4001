"""The engine as handlers in a loop see it: what it puts together, and how the answers are told apart again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ordermill.engine import (
    BacklogFull,
    Engine,
    EngineStopped,
    IdempotencyKey,
    OrderEngine,
    Outcome,
    Reply,
    StoreUnavailable,
)
from ordermill.engine.reply import answer, fail
from ordermill.engine.requests import AwaitOrder, Request, SubmitOrders
from ordermill.engine.testing import make_order
from ordermill.http.loop_engine import LoopEngine
from ordermill.store.domain.outcome import Acceptance
from ordermill.store.domain.record import Cause

pytestmark = pytest.mark.engine_at_hand


class Watched(Engine):
    """Stands in front of an engine, keeps what is sent, and may refuse it."""

    def __init__(self, engine: OrderEngine) -> None:
        self.engine = engine
        self.sent: list[Request] = []
        self.expected: list[bool] = []
        self.error: Callable[[Request], Exception | None] = lambda _: None

    def send(self, request: Request) -> None:
        self.sent.append(request)
        error = self.error(request)
        if error is None:
            self.engine.send(request)
        else:
            fail(request.reply, error)

    def unready_reasons(self) -> tuple[str, ...]:
        return self.engine.unready_reasons()

    def warnings(self) -> tuple[str, ...]:
        return self.engine.warnings()

    def dead_actors(self) -> tuple[str, ...]:
        return self.engine.dead_actors()

    def incidents(self) -> Counter[str]:
        return self.engine.incidents()

    def expect_orders(self, *, are_coming: bool) -> None:
        self.expected.append(are_coming)

    def interrupt_waits(self) -> None:
        self.engine.interrupt_waits()

    def _read(self, query: Any) -> Any:
        return self.engine._read(query)


class Turns:
    """A loop whose turns the test takes."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def take(self) -> None:
        """Do what has been called so far."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()

    def take_until(self, *replies: Reply[Any]) -> None:
        """Take turns until all replies are there."""
        while not all(reply.is_done for reply in replies):
            self.take()


@pytest.fixture
def turns() -> Turns:
    """A loop whose turns the test takes."""
    return Turns()


@pytest.fixture
def watched(start_engine: Callable[..., OrderEngine]) -> Watched:
    """An engine that tells what it was sent."""
    return Watched(start_engine())


@pytest.fixture
def engine(watched: Watched, turns: Turns) -> LoopEngine:
    """The engine as handlers in that loop see it."""
    return LoopEngine(watched, lambda call: turns.calls.append(call))


def submit(engine: LoopEngine, *order_ids: str) -> list[Reply[list[Acceptance]]]:
    """Submit orders, each by itself."""
    return [engine.begin_submit((make_order(order_id),), Cause(f"r-{order_id}")) for order_id in order_ids]


def test_the_orders_of_one_turn_are_one_message_and_each_gets_its_own_answer(
    engine: LoopEngine, watched: Watched, turns: Turns
) -> None:
    replies = submit(engine, "o-1", "o-2", "o-1")
    assert watched.sent == []

    turns.take_until(*replies)

    (sent,) = watched.sent
    assert isinstance(sent, SubmitOrders)
    assert [order.order_id for order in sent.orders] == ["o-1", "o-2", "o-1"]
    assert [cause.request_id for cause in sent.causes] == ["r-o-1", "r-o-2", "r-o-1"]
    outcomes = [(acceptance.outcome, acceptance.record.order_id) for reply in replies for acceptance in reply.get()]
    assert outcomes == [(Outcome.ACCEPTED, "o-1"), (Outcome.ACCEPTED, "o-2"), (Outcome.DUPLICATE, "o-1")]


def test_the_next_turn_is_another_message(engine: LoopEngine, watched: Watched, turns: Turns) -> None:
    first = submit(engine, "o-1")
    turns.take()
    second = submit(engine, "o-2")
    turns.take_until(*first, *second)

    assert len(watched.sent) == 2


def test_orders_are_expected_from_their_answers_to_the_end_of_the_next_turn(
    engine: LoopEngine, watched: Watched, turns: Turns
) -> None:
    replies = submit(engine, "o-1", "o-2")
    turns.take()
    assert watched.expected == [False]  # all that were read are sent
    while not turns.calls:  # answered
        pass
    assert watched.expected == [False, True]

    turns.take()
    assert all(reply.is_done for reply in replies)
    assert watched.expected == [False, True]  # whoever is answered now may send the next
    turns.take()

    assert watched.expected == [False, True, False]


def test_orders_are_expected_until_those_of_the_next_turn_are_sent(
    engine: LoopEngine, watched: Watched, turns: Turns
) -> None:
    (first,) = submit(engine, "o-1")
    turns.take()
    turns.take_until(first)
    (second,) = submit(engine, "o-2")  # read while it is looked whether any were
    while len(watched.sent) < 2:
        assert watched.expected == [False, True]
        turns.take()

    assert watched.expected[:3] == [False, True, False]
    turns.take_until(second)


def test_lots_and_orders_under_a_key_go_by_themselves(engine: LoopEngine, watched: Watched, turns: Turns) -> None:
    lot = engine.begin_submit((make_order("o-1"), make_order("o-2")))
    keyed = engine.begin_submit((make_order("o-3"),), None, IdempotencyKey("k", "", "0" * 64))
    listed = engine.begin_submit([make_order("o-4")])
    turns.take_until(lot, keyed, listed)

    assert len(watched.sent) == 3


def test_one_that_does_not_fit_does_not_keep_the_others_out(engine: LoopEngine, watched: Watched, turns: Turns) -> None:
    def refuse(request: Request) -> Exception | None:
        orders = getattr(request, "orders", ())
        if len(orders) > 1 or orders[0].order_id == "o-2":
            return BacklogFull(9, len(orders), 10, 1)
        return None

    watched.error = refuse
    first, second, third = replies = submit(engine, "o-1", "o-2", "o-3")
    turns.take_until(*replies)

    assert first.get()[0].outcome is third.get()[0].outcome is Outcome.ACCEPTED
    with pytest.raises(BacklogFull):
        second.get()


@pytest.mark.parametrize("error", [EngineStopped(), StoreUnavailable(OSError("full"))])
def test_what_would_befall_each_of_them_is_not_tried_again(
    engine: LoopEngine, watched: Watched, turns: Turns, error: Exception
) -> None:
    watched.error = lambda _: error
    replies = submit(engine, "o-1", "o-2")
    turns.take_until(*replies)

    assert len(watched.sent) == 1
    for reply in replies:
        with pytest.raises(type(error)):
            reply.get()


def test_an_error_of_sending_reaches_each_of_them(engine: LoopEngine, watched: Watched, turns: Turns) -> None:
    watched.engine.stop()
    replies = submit(engine, "o-1", "o-2")
    turns.take()

    for reply in replies:
        with pytest.raises(EngineStopped):
            reply.get()


def test_all_replies_come_in_the_loop(engine: LoopEngine, turns: Turns) -> None:
    (accepted,) = submit(engine, "o-1")
    turns.take_until(accepted)
    turns.take()  # the end of its turn
    replies = [engine.begin_metrics(), engine.begin_cancel("nobody"), engine.begin_wait("o-1", 30)]
    came: list[Reply[Any]] = []
    for reply in replies:
        reply.when_done(lambda reply=reply: came.append(reply))

    while len(turns.calls) < len(replies):
        assert came == []
    turns.take()

    assert len(came) == len(replies)


def test_who_waits_no_longer_leaves_nothing_behind(
    start_engine: Callable[..., OrderEngine], turns: Turns, gate: Any
) -> None:
    watched = Watched(start_engine(gate))
    engine = LoopEngine(watched, lambda call: turns.calls.append(call))
    turns.take_until(*submit(engine, "o-1"))
    waits = [engine.begin_wait("o-1", 30) for _ in range(3)]
    room = watched.engine._need().context.waiters
    assert [len(waiting) for waiting in room._waiting.values()] == [3]

    for wait in waits:
        answer(wait, None)

    assert not room._waiting
    assert sum(isinstance(request, AwaitOrder) for request in watched.sent) == 3
    gate.release()
