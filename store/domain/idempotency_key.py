"""A client's name for a request, and how long it stands for it."""

from __future__ import annotations

from typing import NamedTuple

LIFETIME_US = 24 * 3600 * 1_000_000
"""How long a key is kept, in microseconds, and the orders that it came with."""


class IdempotencyKey(NamedTuple):
    """A client's name for a request."""

    key: str
    user_id: str
    """Whose it is: the user that the client's key is bound to, or the empty string. Others may use the same."""
    fingerprint: str
    """What tells the request from others: a hash of its body."""
