"""A client's name for a request, and how long it stands for it."""

from __future__ import annotations

from typing import NamedTuple

LIFETIME_US = 24 * 3600 * 1_000_000
"""How long a key is kept, in microseconds, and the orders that it came with."""


class IdempotencyKey(NamedTuple):
    """A client's name for a request.

    Example:
        >>> first = IdempotencyKey(key="k-1", user_id="", fingerprint="hash of one body")
        >>> other = IdempotencyKey(key="k-1", user_id="", fingerprint="hash of another")
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     accepted = engine.begin_submit([make_order("o-1")], idempotency=first).get()
        ...     engine.begin_submit([make_order("o-2")], idempotency=other).get()
        Traceback (most recent call last):
        ordermill.store.domain.errors.IdempotencyKeyReused: The idempotency key 'k-1' was sent with another body ...
    """

    key: str
    user_id: str
    """Whose it is: the user that the client's key is bound to, or the empty string. Others may use the same."""
    fingerprint: str
    """What tells the request from others: a hash of its body."""
