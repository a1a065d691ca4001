"""Idempotency keys: one request each, for a day, and never many that are old."""

from __future__ import annotations

import pytest
from peewee import SqliteDatabase

from ordermill.store import idempotency
from ordermill.store.domain.idempotency_key import LIFETIME_US, IdempotencyKey
from ordermill.store.idempotency import is_reused, remember
from ordermill.store.statements import run, write_transaction

GIVEN = IdempotencyKey("k-1", "u-1", "print")


def keep(database: SqliteDatabase, *keys: IdempotencyKey, now_us: int = 10) -> None:
    """Remember keys, as the ledger does."""
    with write_transaction(database):
        remember(database, keys, now_us)


def count(database: SqliteDatabase) -> int:
    """How many keys are kept."""
    (kept,) = run(database, "SELECT count(*) FROM idempotency_keys").fetchone()
    assert isinstance(kept, int)
    return kept


def test_a_key_may_come_again_with_the_same_request_only(writer: SqliteDatabase) -> None:
    assert not is_reused(writer, GIVEN, 10)
    keep(writer, GIVEN)

    assert not is_reused(writer, GIVEN, 11)
    assert is_reused(writer, GIVEN._replace(fingerprint="other"), 11)


@pytest.mark.parametrize("other", [{"key": "k-2"}, {"user_id": "u-2"}, {"user_id": ""}])
def test_each_user_has_keys_of_its_own(writer: SqliteDatabase, other: dict[str, str]) -> None:
    keep(writer, GIVEN)

    assert not is_reused(writer, GIVEN._replace(fingerprint="other", **other), 11)


def test_a_repetition_does_not_make_a_key_live_longer(writer: SqliteDatabase) -> None:
    keep(writer, GIVEN, now_us=10)
    keep(writer, GIVEN, now_us=20)

    assert run(writer, "SELECT created_at FROM idempotency_keys").fetchall() == [(10,)]


def test_after_a_day_a_key_is_free_again(writer: SqliteDatabase) -> None:
    other = GIVEN._replace(fingerprint="other")
    keep(writer, GIVEN, now_us=10)
    assert is_reused(writer, other, 9 + LIFETIME_US)
    assert not is_reused(writer, other, 10 + LIFETIME_US)

    keep(writer, other, now_us=10 + LIFETIME_US)

    assert is_reused(writer, GIVEN, 11 + LIFETIME_US)
    assert not is_reused(writer, other, 11 + LIFETIME_US)
    assert count(writer) == 1


def test_old_keys_go_when_new_ones_come_a_few_at_a_time(
    writer: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "_FORGOTTEN_AT_ONCE", 3)
    keep(writer, *(GIVEN._replace(key=f"old-{number}") for number in range(10)))

    kept = []
    for number in range(4):
        keep(writer, GIVEN._replace(key=f"new-{number}"), now_us=10 + LIFETIME_US)
        kept.append(count(writer))

    assert kept == [7, 4, 3, 4]
