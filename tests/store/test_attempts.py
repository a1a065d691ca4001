"""The latest attempts are found, however many other steps lie between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ordermill.engine.testing import make_order
from ordermill.store import attempts
from ordermill.store.attempts import LatestAttempts, latest_attempts
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.record import move
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite.connection import Writer
from ordermill.store.sqlite.database import open_writer


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Writer]:
    writer = open_writer(tmp_path / "orders.db", Durability.NORMAL)
    yield writer
    writer.close()


def complete(database: Writer, name: str, took_us: int) -> None:
    """Have an order come, begun a microsecond later, and take so long."""
    ledger = Ledger(database, 1_000)
    ledger.record([make_order(name)], (), 1_000)
    (begun,) = ledger.record((), (), 1_001, ready_us=1_001, claim=Claim(1, 1_001)).moved
    ledger.record((), [move(begun.after, lifecycle.COMPLETE, 1_001 + took_us)], 1_001 + took_us)


def accept(database: Writer, orders: int, prefix: str) -> None:
    """Have orders come that are not begun, a step each."""
    by = [make_order(f"{prefix}-{number}", priority=0) for number in range(orders)]
    Ledger(database, 1_000).record(by, (), 1_000)


def durations(found: object) -> list[int]:
    assert isinstance(found, tuple | list)
    return [of.ended_us - of.began_us for of in found]


def test_nothing_is_found_in_an_empty_database(database: Writer) -> None:
    assert latest_attempts(database, 10) == []


def test_what_is_new_since_is_read_and_the_oldest_are_forgotten(database: Writer) -> None:
    latest = LatestAttempts(2)
    told = []
    for took_us in (5, 6, 7):
        complete(database, f"o-{took_us}", took_us)
        told.append(durations(latest.read(database)))

    assert told == [[5], [5, 6], [6, 7]]
    assert latest.is_complete
    (_, last) = latest.read(database)
    assert (last.status, last.first_us, last.ready_us) == (OrderStatus.COMPLETED, 1_001, 1_000)


def test_attempts_before_a_large_bulk_action_are_found_piece_by_piece(
    database: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "STEPS_A_READING", 20)
    complete(database, "o-1", 5)
    accept(database, 45, "bulk")
    latest = LatestAttempts(2)

    assert [durations(latest.read(database)) for _ in range(3)] == [[], [], [5]]
    assert latest.is_complete
    assert durations(latest_attempts(database, 2)) == [5]


def test_those_known_already_are_kept_while_other_steps_come(database: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "STEPS_A_READING", 20)
    complete(database, "o-1", 5)
    latest = LatestAttempts(2)
    latest.read(database)
    accept(database, 45, "bulk")

    assert durations(latest.read(database)) == [5]


def test_none_is_sought_too_far_back(database: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MOST_STEPS", 40)
    complete(database, "o-1", 5)
    accept(database, 45, "bulk")

    assert latest_attempts(database, 2) == []
