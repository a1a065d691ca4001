"""Several engines over one database: what they do to the same orders at the same instant."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import IdempotencyKey, IdempotencyKeyReused, Order, OrderEngine, Outcome, Reply
from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.domain.outcome import Acceptance
from ordermill.store.reader import Reader

if TYPE_CHECKING:
    from tests.conftest import Stranger

StartEngine = Callable[..., OrderEngine]
KEY = IdempotencyKey("k-1", "u-1", "first")


@pytest.fixture
def start(postgres_url: str, stranger: Stranger) -> Iterator[StartEngine]:  # noqa: ARG001  # which ends after them
    """Starts engines over the test's database; each is stopped in the end, and an audit finds nothing wrong then."""
    with ExitStack() as engines:

        def start(handler: Callable[[Order], object] = lambda _: None, **settings: Any) -> OrderEngine:
            return engines.enter_context(OrderEngine(postgres_url, handler=handler, **settings))

        yield start
    with Reader(connect(postgres_url), 1) as reader:
        assert reader.read(audit).faults == []
        assert reader.read(lambda database: queries.totals(database) == queries.recount(database))


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
