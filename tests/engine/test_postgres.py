"""An engine over PostgreSQL: the whole way of an order, several engines, and a server that comes and goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from ordermill.engine import DatabaseRefused, InvalidConfiguration, Order, OrderEngine, OrderStatus, StoreUnavailable
from ordermill.engine.testing import Held, make_order
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.domain.durability import Durability
from ordermill.store.reader import Reader
from ordermill.store.statements import run

StartEngine = Callable[..., OrderEngine]


@pytest.fixture
def start(postgres_url: str) -> Iterator[StartEngine]:
    """Starts engines over the test's database; each is stopped in the end."""
    with ExitStack() as engines:

        def start(handler: Callable[[Order], object] = lambda _: None, **settings: Any) -> OrderEngine:
            return engines.enter_context(OrderEngine(postgres_url, handler=handler, **settings))

        yield start


@pytest.fixture
def end_sessions(postgres_url: str) -> Callable[[], None]:
    """Has the server end every session of the test's database, as a restart does."""
    import psycopg

    def end() -> None:
        with psycopg.connect(postgres_url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    return end


def assert_sound(url: str) -> None:
    with Reader(connect(url), 1) as reader:
        assert reader.read(audit).faults == []
        assert reader.read(lambda database: queries.totals(database) == queries.recount(database))


def test_orders_are_taken_processed_and_told_of(start: StartEngine, postgres_url: str) -> None:
    engine = start()
    receipts = engine.submit_many([make_order(f"o-{number}") for number in range(1_500)])

    assert {receipt.wait(timeout=60) for receipt in receipts} == {OrderStatus.COMPLETED}
    assert engine.drain(timeout=60).total_orders_processed == 1_500
    assert [step.to_status for step in engine.history("o-7")] == ["Pending", "Processing", "Completed"]
    engine.stop()
    assert_sound(postgres_url)


def test_two_engines_share_the_work(start: StartEngine, postgres_url: str) -> None:
    held = Held()
    first, second = (start(held, processors=1) for _ in range(2))

    receipts = [first.submit(make_order("o-1")), second.submit(make_order("o-2"))]
    held.begun(60)
    held.begun(60)  # each of them runs one
    held.release()

    assert {receipt.wait(timeout=60) for receipt in receipts} == {OrderStatus.COMPLETED}
    assert first.wait("o-2", timeout=60) is second.wait("o-1", timeout=60) is OrderStatus.COMPLETED
    assert [engine.drain(timeout=60).total_orders_processed for engine in (first, second)] == [2, 2]
    first.stop()
    second.stop()
    assert_sound(postgres_url)


def test_an_engine_that_is_taken_for_lost_joins_anew_and_another_one_settles_what_it_had(
    start: StartEngine, postgres_url: str, wait_until: Callable[..., None]
) -> None:
    held, attempts = Held(), []

    def hold_the_first(order: Order) -> None:
        attempts.append(order.order_id)
        if len(attempts) == 1:
            held(order)

    first = start(hold_the_first, processors=1)
    lost = first.submit(make_order("o-1"))
    held.begun(60)
    second = start(retry_seconds=0.1)
    (before, beside) = first.engines()
    with closing(connect(postgres_url).open_writer(Durability.FULL)) as writer:  # as if it had not been heard of
        run(writer, "UPDATE engines SET state = 'lost' WHERE id = ?", (before.engine_id,))

    assert second.wait("o-1", timeout=60) is OrderStatus.COMPLETED
    assert lost.wait(timeout=60) is OrderStatus.COMPLETED
    wait_until(lambda: len(second.engines()) == 2)
    assert [engine.engine_id for engine in second.engines()] == [beside.engine_id, beside.engine_id + 1]
    held.release()
    assert first.submit(make_order("o-2")).wait(timeout=60) is OrderStatus.COMPLETED
    steps = second.history("o-1")
    assert [step.attempt for step in steps if step.to_status == "Completed"] == [2]
    assert any((step.reason or "").startswith("the engine that had it in hand was lost") for step in steps)
    first.stop()
    assert [engine.engine_id for engine in second.engines()] == [beside.engine_id]
    second.stop()
    assert_sound(postgres_url)


def test_what_is_set_at_one_engine_holds_at_all_of_them(start: StartEngine, wait_until: Callable[..., None]) -> None:
    first, second = (start(processors=1) for _ in range(2))

    first.pause(reason="an outage")
    wait_until(lambda: second.control().paused)
    waiting = second.submit(make_order("o-1"))
    assert second.control().reason == "an outage"
    with pytest.raises(TimeoutError):
        waiting.wait(timeout=0)
    second.resume()
    assert first.wait("o-1", timeout=60) is OrderStatus.COMPLETED


def test_the_events_of_all_engines_come_in_one_sequence(start: StartEngine) -> None:
    engines = [start() for _ in range(2)]
    for number in range(200):
        engines[number % 2].submit(make_order(f"o-{number}"))
    engines[0].drain(timeout=60)

    told = [
        [event.id for _, event in zip(range(600), engine.events(after=0, timeout=60), strict=False)]
        for engine in engines
    ]

    assert told[0] == told[1] == sorted(told[0])
    assert len(set(told[0])) == 600


def test_what_a_dead_engine_had_in_hand_is_settled(start: StartEngine, postgres_url: str) -> None:
    engine = start()
    engine.submit(make_order("o-1")).wait(timeout=60)
    engine.stop()
    with closing(connect(postgres_url).open_writer(Durability.FULL)) as writer:  # as if it had died in mid-work
        run(writer, "UPDATE orders SET status = 'Processing' WHERE order_id = 'o-1'")
        run(writer, "UPDATE totals SET value = value - 1 WHERE name IN ('Completed', 'timed_orders') AND part = 0")
        run(writer, "UPDATE totals SET value = value + 1 WHERE name = 'Processing' AND part = 0")
        run(writer, "DELETE FROM transitions WHERE to_status = 'Completed'")
        run(writer, "UPDATE totals SET value = 0 WHERE name = 'processing_microseconds'")

    engine = start()

    assert engine.recovered.returned == 1
    assert engine.drain(timeout=60).total_orders_processed == 1
    engine.stop()
    with Reader(connect(postgres_url), 1) as reader:
        steps = reader.read(lambda database: queries.history(database, "o-1"))
    assert [step.to_status for step in steps] == ["Pending", "Processing", "Pending", "Processing", "Completed"]


def test_a_lost_session_ends_nothing(
    start: StartEngine, end_sessions: Callable[[], None], postgres_url: str, wait_until: Callable[..., None]
) -> None:
    handler = Held()
    engine = start(handler, processors=1)
    receipt = engine.submit(make_order("o-1"))
    handler.begun(60)

    def is_taken() -> bool:
        try:
            return engine.submit(make_order("o-2")) is not None
        except StoreUnavailable:  # it was asked before there was another session
            return False

    end_sessions()
    wait_until(is_taken)
    handler.release()

    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.wait("o-2", timeout=60) is OrderStatus.COMPLETED
    wait_until(lambda: not engine.unready_reasons())
    assert engine.order("o-1").attempts == 1
    engine.stop()
    assert_sound(postgres_url)


def test_an_idle_engine_notices_by_itself_that_its_session_is_over(
    start: StartEngine, end_sessions: Callable[[], None], wait_until: Callable[..., None]
) -> None:
    engine = start()
    context = engine._need().context
    before = context.database

    end_sessions()

    wait_until(lambda: context.database is not before)
    wait_until(lambda: not engine.unready_reasons())
    engine.submit(make_order()).wait(timeout=60)


def test_reads_find_another_session_where_theirs_is_over(start: StartEngine, end_sessions: Callable[[], None]) -> None:
    engine = start()
    engine.submit(make_order("o-1")).wait(timeout=60)

    end_sessions()

    assert engine.order("o-1").status is OrderStatus.COMPLETED


def test_a_server_that_is_not_there_is_refused_and_a_password_is_not_told() -> None:
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    engine = OrderEngine("postgresql://ann:secret@127.0.0.1:1/shop?connect_timeout=5", handler=print)

    with pytest.raises(DatabaseRefused, match=r"postgresql://ann@127\.0\.0\.1:1/shop") as refused:
        engine.start()

    assert "secret" not in str(refused.value)


def test_whoever_asks_meanwhile_is_told_of_no_address(
    start: StartEngine, end_sessions: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    engine = start()

    def fail(*_: object, **_named: object) -> None:
        raise psycopg.OperationalError("connection to 10.0.0.7 failed")

    with monkeypatch.context() as patch:
        patch.setattr("ordermill.store.postgres.connection.Connection.connect", fail)
        end_sessions()
        with pytest.raises(StoreUnavailable, match="cannot be reached") as told:
            engine.status("o-1")
        assert "10.0.0.7" not in str(told.value)
        with pytest.raises(StoreUnavailable) as told:
            engine.submit(make_order("o-1"))
        assert "10.0.0.7" not in str(told.value)


def test_a_url_that_makes_no_sense_is_refused() -> None:
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    with pytest.raises(InvalidConfiguration, match="not valid"):
        OrderEngine("postgresql://host/shop?colour=blue", handler=print)


def test_a_database_of_another_version_is_refused(start: StartEngine, postgres_url: str) -> None:
    start().stop()
    with closing(connect(postgres_url).open_writer(Durability.FULL)) as writer:
        run(writer, "UPDATE ordermill_schema SET version = version + 1")

    with pytest.raises(DatabaseRefused, match="use a newer Ordermill"):
        start()
    with pytest.raises(DatabaseRefused, match="use a newer Ordermill"):
        Reader(connect(postgres_url), 1)


def test_who_only_reads_makes_no_tables(postgres_url: str) -> None:
    with pytest.raises(DatabaseRefused, match="init-db"):
        Reader(connect(postgres_url), 1)
