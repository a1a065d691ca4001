"""Attempts that fail one after another with one error pause the engine, which tries one order until it works again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ordermill.engine import Order, OrderEngine, OrderStatus, Reject, StoreUnavailable
from ordermill.engine.actors import steering
from ordermill.engine.actors.breaker import Breaker, Tripped, Verdict
from ordermill.engine.testing import make_order
from ordermill.store.domain import lifecycle
from ordermill.store.domain.record import Move, OrderRecord, move

if TYPE_CHECKING:
    from tests.engine.conftest import WatchedClock

StartEngine = Callable[..., OrderEngine]
WaitUntil = Callable[[Callable[[], object]], None]


def attempt(error: str | None, *, begun_us: int = 1, edge: lifecycle.Edge | None = None) -> Move:
    """An attempt as it ends: well, or with this error."""
    record = OrderRecord(make_order(), 1, OrderStatus.PROCESSING, 1, 0, 0, begun_us, None)
    if edge is None:
        edge = lifecycle.COMPLETE if error is None else lifecycle.RETURN
    return move(record, edge, begun_us, error=error)


def judge(breaker: Breaker, *errors: str | None) -> list[Tripped | None]:
    return [breaker.judge([attempt(error)], is_open=False) for error in errors]


OPEN = Tripped(Verdict.OPEN, "E")


def test_so_many_failures_in_a_row_open_it() -> None:
    assert judge(Breaker(3), "E: 1", "E: 2", "E: 3") == [None, None, OPEN]


@pytest.mark.parametrize("between", [None, "F: other", "rejected: no"])
def test_anything_else_between_them_begins_the_count_anew(between: str | None) -> None:
    assert judge(Breaker(3), "E: 1", "E: 2", between, "E: 3", "E: 4", "E: 5")[-2:] == [None, OPEN]


def test_what_was_no_attempt_does_not_count() -> None:
    breaker = Breaker(2)
    judge(breaker, "E: 1")

    assert breaker.judge([attempt(None, edge=lifecycle.RETURN)], is_open=False) is None
    assert judge(breaker, "E: 2") == [OPEN]


def test_it_never_opens_where_it_is_off() -> None:
    assert set(judge(Breaker(None), *["E: 1"] * 100)) == {None}


def test_only_an_attempt_that_was_a_trial_closes_it() -> None:
    breaker = Breaker(1)

    assert breaker.judge([attempt(None)], is_open=True) is None
    breaker.begin_trial(5)
    assert breaker.judge([attempt(None, begun_us=4)], is_open=True) is None
    assert breaker.judge([attempt("E: 1", begun_us=6)], is_open=True) is None
    assert breaker.judge([attempt(None, begun_us=6)], is_open=True) == Tripped(Verdict.CLOSE, "")


class ProviderDown(Exception):
    """The provider does not answer."""


class Provider:
    """A handler that fails while the provider is down, and counts its calls."""

    def __init__(self) -> None:
        self.is_down = True
        self.calls: list[str] = []

    def __call__(self, order: Order) -> None:
        self.calls.append(order.order_id)
        if self.is_down:
            raise ProviderDown("no answer")


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def tripped(start_engine: StartEngine, provider: Provider, clock: WatchedClock, wait_until: WaitUntil) -> OrderEngine:
    """An engine that has paused itself after three failures, with more orders waiting."""
    engine = start_engine(
        provider, processors=1, clock=clock, breaker_failures=3, breaker_seconds=30, retry_seconds=1e6
    )
    for number in range(8):
        engine.submit(make_order(f"o-{number}"))
    wait_until(lambda: engine.control().paused)
    wait_until(lambda: engine.metrics().orders_by_status[OrderStatus.PROCESSING] == 0)
    return engine


def test_it_is_off_by_default(start_engine: StartEngine, provider: Provider) -> None:
    engine = start_engine(provider, max_attempts=1)
    engine.submit_many(make_order(f"o-{number}") for number in range(50))

    assert engine.drain(timeout=60).orders_by_status[OrderStatus.FAILED] == 50
    assert not engine.control().paused


def test_rejections_do_not_trip_it(start_engine: StartEngine) -> None:
    def reject(_: Order) -> None:
        raise Reject("no")

    engine = start_engine(reject, breaker_failures=3)
    engine.submit_many(make_order(f"o-{number}") for number in range(20))

    assert engine.drain(timeout=60).orders_by_status[OrderStatus.FAILED] == 20
    assert not engine.control().paused


def test_an_engine_pauses_itself_and_says_why(tripped: OrderEngine) -> None:
    control = tripped.control()

    assert (control.paused, control.error, control.paused_until) == (True, "ProviderDown", None)
    assert control.reason == "3 attempts in a row have failed with ProviderDown"
    (warning,) = tripped.warnings()
    assert warning == (
        "paused until an order succeeds that is tried now and then, so orders are taken and none is started: "
        "3 attempts in a row have failed with ProviderDown"
    )
    (entry,) = tripped.audit()
    assert (entry.action, entry.target, entry.acted_by) == ("open breaker", "ProviderDown", None)
    assert tripped.metrics().paused


def test_one_order_is_tried_after_a_while_and_no_more(
    tripped: OrderEngine, provider: Provider, clock: WatchedClock, wait_until: WaitUntil
) -> None:
    before = len(provider.calls)

    for trial in range(1, 4):
        clock.advance(30)
        wait_until(lambda trial=trial: len(provider.calls) == before + trial)
        wait_until(lambda: tripped.metrics().orders_by_status[OrderStatus.PROCESSING] == 0)
        assert tripped.control().paused

    assert len(provider.calls) == before + 3


def test_it_goes_on_when_the_trial_succeeds(
    tripped: OrderEngine, provider: Provider, clock: WatchedClock, wait_until: WaitUntil
) -> None:
    failed = len(set(provider.calls))
    provider.is_down = False

    clock.advance(30)
    wait_until(lambda: not tripped.control().paused)
    wait_until(lambda: tripped.metrics().orders_by_status[OrderStatus.COMPLETED] == 8 - failed)

    closed, _ = tripped.audit()
    assert (closed.action, closed.reason) == ("close breaker", "an order has succeeded that was tried")
    assert tripped.control().error is None


def test_a_trial_waits_for_an_order(
    start_engine: StartEngine, provider: Provider, clock: WatchedClock, wait_until: WaitUntil
) -> None:
    engine = start_engine(provider, processors=1, clock=clock, breaker_failures=1, max_attempts=1)
    engine.submit(make_order("o-1"))
    wait_until(lambda: engine.control().paused)
    provider.is_down = False
    clock.advance(30)

    receipt = engine.submit(make_order("o-2"))

    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
    wait_until(lambda: not engine.control().paused)


def test_an_operator_may_resume_it(tripped: OrderEngine, provider: Provider, wait_until: WaitUntil) -> None:
    failed = len(set(provider.calls))
    provider.is_down = False

    assert tripped.resume().error is None

    wait_until(lambda: tripped.metrics().orders_by_status[OrderStatus.COMPLETED] == 8 - failed)


def test_a_pause_of_an_operator_takes_its_place(tripped: OrderEngine, provider: Provider, clock: WatchedClock) -> None:
    before = len(provider.calls)

    assert tripped.pause(reason="looking into it").error is None
    clock.advance(100)

    assert tripped.control().reason == "looking into it"
    assert len(provider.calls) == before


def test_it_survives_a_restart_and_tries_again(
    tripped: OrderEngine, provider: Provider, start_engine: StartEngine, clock: WatchedClock, wait_until: WaitUntil
) -> None:
    tripped.stop()
    before = len(provider.calls)
    provider.is_down = False

    engine = start_engine(provider, processors=1, clock=clock)  # it may be off by now
    assert engine.control().error == "ProviderDown"
    engine.metrics()
    assert len(provider.calls) == before
    clock.advance(30)

    wait_until(lambda: not engine.control().paused)


def test_a_trip_that_cannot_be_recorded_comes_with_the_next_failure(
    start_engine: StartEngine, provider: Provider, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine(provider, processors=1, breaker_failures=1, max_attempts=1)
    write = steering.write_control
    refusals = iter([StoreUnavailable(OSError("disk full"))])

    def refuse_once(*arguments: object) -> object:
        if (error := next(refusals, None)) is not None:
            raise error
        return write(*arguments)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(steering, "write_control", refuse_once)
    engine.submit_many([make_order("o-1"), make_order("o-2")])

    wait_until(lambda: engine.control().paused)
