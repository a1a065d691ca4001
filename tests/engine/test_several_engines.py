"""Several engines over one database: what they do to the same orders at the same instant."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import (
    IdempotencyKey,
    IdempotencyKeyReused,
    Order,
    OrderEngine,
    OrderNotFound,
    OrderStatus,
    Outcome,
    Reply,
)
from ordermill.engine.actors import membership
from ordermill.engine.actors.messages import LookAround, PruneOrders
from ordermill.engine.testing import ManualClock, make_order
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.domain.outcome import Acceptance
from ordermill.store.reader import Reader
from ordermill.store.writer import Turn

if TYPE_CHECKING:
    from tests.conftest import Stranger

StartEngine = Callable[..., OrderEngine]
WaitUntil = Callable[[Callable[[], object]], None]
KEY = IdempotencyKey("k-1", "u-1", "first")


@pytest.fixture
def start(postgres_url: str, stranger: Stranger) -> Iterator[StartEngine]:  # noqa: ARG001  # which ends after them
    """Starts engines over the test's database; each is stopped in the end, and an audit finds nothing wrong then."""
    with ExitStack() as engines:

        def start(handler: Callable[[Order], object] = lambda _: None, **settings: Any) -> OrderEngine:
            named = {"lease_seconds": 60, **settings}  # however slow the machine is, none is taken for lost
            return engines.enter_context(OrderEngine(postgres_url, handler=handler, **named))

        yield start
    with Reader(connect(postgres_url), 1) as reader:
        assert reader.read(audit).faults == []
        assert reader.read(lambda database: queries.totals(database) == queries.recount(database))


class Running:
    """A handler that counts how often it runs at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self.most = 0

    def __call__(self, _: Order) -> None:
        with self._lock:
            self._count += 1
            self.most = max(self.most, self._count)
        time.sleep(0.005)
        with self._lock:
            self._count -= 1


@pytest.fixture
def running() -> Running:
    """The same handler for all engines."""
    return Running()


def most_processing(engine: OrderEngine) -> int:
    """How many orders were Processing at the same time at the most, as their transitions tell."""
    count = most = 0
    for event in engine.events(after=0, timeout=0):
        count += (event.to_status is OrderStatus.PROCESSING) - (event.from_status is OrderStatus.PROCESSING)
        most = max(most, count)
    assert count == 0
    return most


def outcomes(replies: Sequence[Reply[list[Acceptance]]]) -> list[str]:
    """What became of each submission of one order."""
    found: list[str] = []
    for reply in replies:
        try:
            ((outcome, _),) = reply.get(timeout=60)
            found.append(outcome.value)
        except IdempotencyKeyReused:
            found.append("refused")
    return sorted(found)


def test_of_two_requests_under_one_key_at_the_same_instant_one_engine_takes_its_own(
    start: StartEngine, stranger: Stranger
) -> None:
    first, second = (start(processors=1) for _ in range(2))
    stranger.inserts("a", "b")

    replies = [
        first.begin_submit([make_order("a")], idempotency=KEY),
        second.begin_submit([make_order("b")], idempotency=KEY._replace(fingerprint="second")),
    ]
    stranger.is_waited_for_by(2)  # each of them has seen that the key is new
    beside = first.begin_submit([make_order("c")])
    stranger.gives_way()

    assert outcomes(replies) == sorted([Outcome.ACCEPTED, "refused"])
    assert outcomes([beside]) == [Outcome.ACCEPTED]
    assert second.drain(timeout=60).total_orders_processed == 2


def test_the_orders_that_came_with_a_refused_one_are_taken(start: StartEngine, stranger: Stranger) -> None:
    first, second = (start(processors=1) for _ in range(2))
    stranger.inserts("held")
    held = second.begin_submit([make_order("held")])
    stranger.is_waited_for_by(1)
    # These become one transaction, which begins when the key is taken.
    late = second.begin_submit([make_order("b")], idempotency=KEY._replace(fingerprint="second"))
    beside = second.begin_submit([make_order("c")])
    assert outcomes([first.begin_submit([make_order("a")], idempotency=KEY)]) == [Outcome.ACCEPTED]
    stranger.gives_way()

    assert outcomes([late]) == ["refused"]
    assert outcomes([held, beside]) == [Outcome.ACCEPTED] * 2
    assert first.drain(timeout=60).total_orders_processed == 3


@pytest.mark.parametrize("key", [KEY, None])
def test_the_same_request_at_two_engines_at_the_same_instant_is_stored_once(
    start: StartEngine, stranger: Stranger, key: IdempotencyKey | None
) -> None:
    engines = [start(processors=1) for _ in range(2)]
    stranger.inserts("a")

    replies = [engine.begin_submit([make_order("a")], idempotency=key) for engine in engines]
    stranger.is_waited_for_by(2)
    stranger.gives_way()

    assert outcomes(replies) == sorted([Outcome.ACCEPTED, Outcome.DUPLICATE])
    assert engines[0].drain(timeout=60).total_orders_processed == 1


def test_of_two_orders_of_one_id_at_the_same_instant_one_is_a_conflict(start: StartEngine, stranger: Stranger) -> None:
    engines = [start(processors=1) for _ in range(2)]
    stranger.inserts("a")

    replies = [engine.begin_submit([make_order("a", user_id=f"u-{engines.index(engine)}")]) for engine in engines]
    stranger.is_waited_for_by(2)
    stranger.gives_way()

    assert outcomes(replies) == sorted([Outcome.ACCEPTED, Outcome.CONFLICT])
    assert engines[0].drain(timeout=60).total_orders_processed == 1


@pytest.mark.parametrize("more", [{}, {"priority": 7}])
def test_the_same_orders_in_opposite_sequence_at_the_same_instant_are_stored_once_each(
    start: StartEngine, stranger: Stranger, more: dict[str, int]
) -> None:
    first, second = (start(processors=1) for _ in range(2))
    orders = [make_order(order_id, **more) for order_id in "amz"]
    stranger.inserts("m")

    replies = [first.begin_submit(orders), second.begin_submit(orders[::-1])]
    stranger.is_waited_for_by(2)
    stranger.gives_way()
    found = [reply.get(timeout=60) for reply in replies]

    assert [[record.order_id for _, record in acceptances] for acceptances in found] == [[*"amz"], [*"zma"]]
    assert sorted(outcome for acceptances in found for outcome, _ in acceptances) == sorted(
        [Outcome.ACCEPTED, Outcome.DUPLICATE] * 3
    )
    assert first.drain(timeout=60).total_orders_processed == 3


def test_a_transaction_that_is_ended_since_two_waited_for_each_other_is_tried_again(
    start: StartEngine, stranger: Stranger
) -> None:
    engine = start(processors=1)
    stranger.is_never_the_victim()
    stranger.inserts("b")
    reply = engine.begin_submit([make_order("a"), make_order("b")])
    stranger.is_waited_for_by(1)

    crossing = threading.Thread(target=stranger.inserts, args=("a",))
    crossing.start()
    crossing.join(60)  # the server has ended the engine's transaction
    assert not crossing.is_alive()
    stranger.gives_way()

    assert [outcome for outcome, _ in reply.get(timeout=60)] == [Outcome.ACCEPTED] * 2
    assert not engine.unready_reasons()
    assert engine.drain(timeout=60).total_orders_processed == 2


def pass_through_the_recorder(engine: OrderEngine) -> None:
    """Return when it has done what it was told before."""
    with pytest.raises(OrderNotFound):
        engine.cancel("none")


def test_a_pause_ends_once_although_each_engine_knows_when(
    start: StartEngine, stranger: Stranger, clock: ManualClock, wait_until: WaitUntil
) -> None:
    first, second = (start(clock=clock) for _ in range(2))
    first.pause(seconds=60)
    wait_until(lambda: second.control().paused)

    stranger.takes_turn(Turn.CONTROL)
    clock.advance(60)
    stranger.is_waited_for_by(2)
    stranger.gives_way()

    wait_until(lambda: not first.control().paused and not second.control().paused)
    assert [entry.action for entry in second.audit()] == ["resume", "pause"]


def test_a_pause_that_takes_the_place_of_one_that_ends_does_not_end_with_it(
    start: StartEngine, stranger: Stranger, clock: ManualClock
) -> None:
    engine = start(clock=clock)
    engine.pause(seconds=60)

    stranger.takes_turn(Turn.CONTROL)
    stranger.does("UPDATE control SET paused_until = NULL, reason = 'the provider is down'")  # at another engine
    clock.advance(60)
    stranger.is_waited_for_by(1)
    stranger.commits()
    pass_through_the_recorder(engine)

    assert (engine.control().paused, engine.control().reason) == (True, "the provider is down")


def test_an_open_breaker_has_one_order_tried_by_one_of_the_engines(
    start: StartEngine, clock: ManualClock, wait_until: WaitUntil
) -> None:
    tried: list[str] = []

    def fail(order: Order) -> None:
        tried.append(order.order_id)
        raise ConnectionError("no answer")

    settings = {"processors": 1, "clock": clock, "breaker_failures": 1, "breaker_seconds": 30, "retry_seconds": 1e6}
    first, second = (start(fail, **settings) for _ in range(2))
    first.submit(make_order("a"))
    wait_until(lambda: first.control().paused and second.control().paused)
    before = len(tried)
    first.submit_many([make_order(order_id) for order_id in "bcd"])

    clock.advance(30)
    wait_until(lambda: len(tried) == before + 1)
    wait_until(lambda: first.metrics().orders_by_status[OrderStatus.PROCESSING] == 0)
    pass_through_the_recorder(second)
    wait_until(lambda: second.metrics().orders_by_status[OrderStatus.PROCESSING] == 0)

    assert len(tried) == before + 1
    assert not second._need().context.is_trying


def test_an_engine_that_is_not_the_eldest_does_no_periodic_work_whatever_it_believes(
    start: StartEngine, clock: ManualClock, wait_until: WaitUntil
) -> None:
    first, second = (start(clock=clock) for _ in range(2))
    assert [engine._need().context.leads for engine in (first, second)] == [True, False]
    first.stop()
    wait_until(lambda: second._need().context.leads)
    third = start(clock=clock, retain_seconds=60)
    third.submit(make_order("a")).wait(timeout=60)
    clock.advance(90)
    context = third._need().context
    context.leads = True  # as far as it knows
    context.recorder.tell(PruneOrders())
    for _ in range(2):  # it answers before it removes anything
        pass_through_the_recorder(third)

    assert not context.leads
    assert third.status("a") is OrderStatus.COMPLETED


@pytest.mark.parametrize(
    ("settings", "order"),
    [
        ({"limits": "queue:mail=2"}, {"queue": "mail"}),
        ({"limits": "user=2"}, {"user_id": "u-1"}),
        ({"limits": "metadata.shop=2"}, {"metadata": {"shop": "north"}}),
    ],
    ids=["queue", "user", "metadata"],
)
def test_a_limit_holds_over_all_engines_at_every_moment(
    start: StartEngine, running: Running, settings: dict[str, Any], order: dict[str, Any]
) -> None:
    engines = [start(running, processors=4, **settings) for _ in range(3)]
    for number in range(24):
        engines[number % 3].submit(make_order(f"o-{number}", **order))

    assert engines[0].drain(timeout=120).total_orders_processed == 24
    assert running.most <= 2
    assert most_processing(engines[0]) <= 2


@pytest.mark.parametrize(("settings", "order"), [({}, {"key": "k"}), ({"serial_users": True}, {"user_id": "u-1"})])
def test_orders_of_one_key_run_one_after_another_over_all_engines(
    start: StartEngine, running: Running, settings: dict[str, Any], order: dict[str, Any]
) -> None:
    engines = [start(running, processors=4, **settings) for _ in range(3)]
    for number in range(18):
        engines[number % 3].submit(make_order(f"o-{number}", **order))

    assert engines[0].drain(timeout=120).total_orders_processed == 18
    assert running.most == 1
    assert most_processing(engines[0]) == 1


@pytest.fixture
def pair(start: StartEngine, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil) -> list[OrderEngine]:
    """Two engines that know of each other, and look around no more unless they are told that there is something new."""
    engines = [start() for _ in range(2)]
    wait_until(lambda: not any(engine._need().context.is_alone for engine in engines))
    monkeypatch.setattr(membership, "_LOOK_SECONDS", (1e6, 1e6))
    for engine in engines:  # the last look that was planned before is over with this one
        engine._need().context.recorder.tell(LookAround())
        pass_through_the_recorder(engine)
    return engines


def test_who_waits_at_one_engine_is_told_at_once_what_another_one_has_done(
    pair: list[OrderEngine], wait_until: WaitUntil
) -> None:
    first, second = pair
    first.submit(make_order("a", not_before=datetime.now(UTC) + timedelta(days=1)))
    with ThreadPoolExecutor(1) as thread:
        waited = thread.submit(second.wait, "a", timeout=60)
        wait_until(second._need().context.waiters.order_ids)

        first.cancel("a")

        assert waited.result(60) is OrderStatus.CANCELLED


def test_what_is_set_at_one_engine_is_obeyed_at_once_by_another_one(
    pair: list[OrderEngine], wait_until: WaitUntil
) -> None:
    first, second = pair

    first.pause(reason="an outage")

    wait_until(lambda: second.control().paused)


def test_an_engine_whose_session_for_hints_is_over_listens_anew(
    pair: list[OrderEngine], postgres_url: str, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    first, second = pair
    monkeypatch.setattr("ordermill.store.postgres.hints._AGAIN_SECONDS", 0.01)
    listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute(f"SELECT pg_terminate_backend(pid, 60000) {listening.removeprefix('SELECT count(*)')}".encode())
        wait_until(lambda: other.execute(listening.encode()).fetchone() == (2,))

    first.submit(make_order("a"))

    assert second.wait("a", timeout=60) is OrderStatus.COMPLETED


def test_engines_that_hear_no_hint_look_by_themselves(start: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    # As where a pooler gives each transaction another session.
    monkeypatch.setattr("ordermill.store.postgres.hints._LISTEN", "SELECT 1")
    first, second = (start() for _ in range(2))

    first.submit(make_order("a"))

    assert second.wait("a", timeout=60) is OrderStatus.COMPLETED
