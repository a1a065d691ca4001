"""Several engines over one database: what they do to the same orders at the same instant."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from ordermill.engine import IdempotencyKey, IdempotencyKeyReused, Order, OrderEngine, Outcome, Reply
from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.domain.outcome import Acceptance
from ordermill.store.reader import Reader

psycopg = pytest.importorskip("psycopg", reason="the extra postgres is not installed")

StartEngine = Callable[..., OrderEngine]
KEY = IdempotencyKey("k-1", "u-1", "first")


@pytest.fixture
def start(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartEngine]:
    """Starts engines over the test's database, which wait for each other however slow the machine is; each is stopped
    in the end, and left is what an audit finds nothing wrong with."""
    monkeypatch.setattr("ordermill.store.postgres.connection.PostgresWriter.timeout", 60.0)
    with ExitStack() as engines:

        def start(handler: Callable[[Order], object] = lambda _: None, **settings: Any) -> OrderEngine:
            return engines.enter_context(OrderEngine(postgres_url, handler=handler, **settings))

        yield start
    with Reader(connect(postgres_url), 1) as reader:
        assert reader.read(audit).faults == []
        assert reader.read(lambda database: queries.totals(database) == queries.recount(database))


class Stranger:
    """Somebody else's session, in a transaction that the engines have to wait for.

    Args:
        url: of the database.
        wait_until: as the fixture.
    """

    def __init__(self, url: str, wait_until: Callable[[Callable[[], object]], None]) -> None:
        self._session = psycopg.connect(url)
        self._observer = psycopg.connect(url, autocommit=True)
        self._wait_until = wait_until

    def insert(self, *order_ids: str) -> None:
        """Insert orders."""
        for order_id in order_ids:
            self._session.execute(
                "INSERT INTO orders (order_id, user_id, item_ids, total_cents, status, attempts, failures, created_at,"
                " updated_at, ready_at) VALUES (%s, 'u-9', '[\"sku-1\"]', 1, 'Pending', 0, 0, 1, 1, 1)",
                (order_id,),
            )

    def wait_until_waiting(self, count: int) -> None:
        """Until so many sessions wait for another one."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        self._wait_until(lambda: self._observer.execute(waiting).fetchone() == (count,))

    def is_never_the_victim(self) -> None:
        """Where it and another one wait for each other, have the other one ended."""
        self._session.execute("SET deadlock_timeout = '1h'")

    def give_way(self) -> None:
        """Take back what it has done."""
        self._session.rollback()

    def close(self) -> None:
        """End it."""
        self._session.close()
        self._observer.close()


@pytest.fixture
def stranger(postgres_url: str, wait_until: Callable[[Callable[[], object]], None]) -> Iterator[Stranger]:
    """A session that the engines have to wait for."""
    stranger = Stranger(postgres_url, wait_until)
    yield stranger
    stranger.close()


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
    stranger.insert("a", "b")

    replies = [
        first.begin_submit([make_order("a")], idempotency=KEY),
        second.begin_submit([make_order("b")], idempotency=KEY._replace(fingerprint="second")),
    ]
    stranger.wait_until_waiting(2)  # each of them has seen that the key is new
    beside = first.begin_submit([make_order("c")])
    stranger.give_way()

    assert outcomes(replies) == sorted([Outcome.ACCEPTED, "refused"])
    assert outcomes([beside]) == [Outcome.ACCEPTED]
    assert second.drain(timeout=60).total_orders_processed == 2


def test_the_orders_that_came_with_a_refused_one_are_taken(start: StartEngine, stranger: Stranger) -> None:
    first, second = (start(processors=1) for _ in range(2))
    stranger.insert("held")
    held = second.begin_submit([make_order("held")])
    stranger.wait_until_waiting(1)
    # These become one transaction, which begins when the key is taken.
    late = second.begin_submit([make_order("b")], idempotency=KEY._replace(fingerprint="second"))
    beside = second.begin_submit([make_order("c")])
    assert outcomes([first.begin_submit([make_order("a")], idempotency=KEY)]) == [Outcome.ACCEPTED]
    stranger.give_way()

    assert outcomes([late]) == ["refused"]
    assert outcomes([held, beside]) == [Outcome.ACCEPTED] * 2
    assert first.drain(timeout=60).total_orders_processed == 3


@pytest.mark.parametrize("key", [KEY, None])
def test_the_same_request_at_two_engines_at_the_same_instant_is_stored_once(
    start: StartEngine, stranger: Stranger, key: IdempotencyKey | None
) -> None:
    engines = [start(processors=1) for _ in range(2)]
    stranger.insert("a")

    replies = [engine.begin_submit([make_order("a")], idempotency=key) for engine in engines]
    stranger.wait_until_waiting(2)
    stranger.give_way()

    assert outcomes(replies) == sorted([Outcome.ACCEPTED, Outcome.DUPLICATE])
    assert engines[0].drain(timeout=60).total_orders_processed == 1


def test_of_two_orders_of_one_id_at_the_same_instant_one_is_a_conflict(start: StartEngine, stranger: Stranger) -> None:
    engines = [start(processors=1) for _ in range(2)]
    stranger.insert("a")

    replies = [engine.begin_submit([make_order("a", user_id=f"u-{engines.index(engine)}")]) for engine in engines]
    stranger.wait_until_waiting(2)
    stranger.give_way()

    assert outcomes(replies) == sorted([Outcome.ACCEPTED, Outcome.CONFLICT])
    assert engines[0].drain(timeout=60).total_orders_processed == 1


@pytest.mark.parametrize("more", [{}, {"priority": 7}])
def test_the_same_orders_in_opposite_sequence_at_the_same_instant_are_stored_once_each(
    start: StartEngine, stranger: Stranger, more: dict[str, int]
) -> None:
    first, second = (start(processors=1) for _ in range(2))
    orders = [make_order(order_id, **more) for order_id in "amz"]
    stranger.insert("m")

    replies = [first.begin_submit(orders), second.begin_submit(orders[::-1])]
    stranger.wait_until_waiting(2)
    stranger.give_way()
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
    stranger.insert("b")
    reply = engine.begin_submit([make_order("a"), make_order("b")])
    stranger.wait_until_waiting(1)

    crossing = threading.Thread(target=stranger.insert, args=("a",))
    crossing.start()
    crossing.join(60)  # the server has ended the engine's transaction
    assert not crossing.is_alive()
    stranger.give_way()

    assert [outcome for outcome, _ in reply.get(timeout=60)] == [Outcome.ACCEPTED] * 2
    assert not engine.unready_reasons()
    assert engine.drain(timeout=60).total_orders_processed == 2
