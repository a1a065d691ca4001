"""Idempotency keys: a client's names for its requests, kept so that no name is used for a second request."""

from __future__ import annotations

from collections.abc import Sequence

from peewee import Database

from .domain.errors import IdempotencyKeyReused
from .domain.idempotency_key import LIFETIME_US, IdempotencyKey
from .statements import run, run_for_each, to_sql
from .tables import IdempotencyKeyModel

_FORGOTTEN_AT_ONCE = 100

_KEY = (IdempotencyKeyModel.key == "") & (IdempotencyKeyModel.user_id == "")
_FIND = to_sql(
    IdempotencyKeyModel.select(IdempotencyKeyModel.fingerprint).where(_KEY & (IdempotencyKeyModel.created_at > 0))
)
_REMEMBER = (
    to_sql(
        IdempotencyKeyModel.insert(
            {
                IdempotencyKeyModel.key: "",
                IdempotencyKeyModel.user_id: "",
                IdempotencyKeyModel.fingerprint: "",
                IdempotencyKeyModel.created_at: 0,
            }
        )
    )
    + " ON CONFLICT DO NOTHING"
)
_FORGET_ONE = to_sql(IdempotencyKeyModel.delete().where(_KEY & (IdempotencyKeyModel.created_at <= 0)))
_OLDEST = (
    IdempotencyKeyModel.select(IdempotencyKeyModel.id)
    .where(IdempotencyKeyModel.created_at <= 0)
    .order_by(IdempotencyKeyModel.created_at)
    .limit(1)
)
_FORGET_OLD = f"DELETE FROM idempotency_keys WHERE id IN ({to_sql(_OLDEST)}{{skip_locked}})"


def is_reused(database: Database, given: IdempotencyKey, now_us: int) -> bool:
    """Whether the key was given to another request before.

    Args:
        database: connected in this thread.
        given: the key and the request that it comes with.
        now_us: microseconds since 1970-01-01T00:00:00Z.
    """
    row = run(database, _FIND, (given.key, given.user_id, now_us - LIFETIME_US)).fetchone()
    return row is not None and row[0] != given.fingerprint


def remember(database: Database, keys: Sequence[IdempotencyKey], now_us: int) -> None:
    """Keep keys, and forget some that are old: more than are kept, so that there are never many of them.

    Args:
        database: in a transaction that writes.
        keys: none of them reused, as far as is known.
        now_us: microseconds since 1970-01-01T00:00:00Z.

    Raises:
        IdempotencyKeyReused: another engine has given one of them to another request meanwhile.
    """
    before_us = now_us - LIFETIME_US
    keys = sorted(keys)  # whoever keeps the same ones at this moment waits, and is not waited for
    run_for_each(database, _FORGET_ONE, [(key, user_id, before_us) for key, user_id, _ in keys])
    if run_for_each(database, _REMEMBER, [(*given, now_us) for given in keys]) < len(keys):
        for given in keys:
            if is_reused(database, given, now_us):
                raise IdempotencyKeyReused(given.key)
    run(database, _FORGET_OLD, (before_us, _FORGOTTEN_AT_ONCE + len(keys)))
