"""What becomes of a key's next orders while one of them is not over."""

from __future__ import annotations

from enum import StrEnum


class KeyPolicy(StrEnum):
    """What the next order of a key waits for."""

    HOLD = "hold"
    """Until the one before is over: while it waits for its next attempt, and in Review."""
    CONTINUE = "continue"
    """For no order that waits for its time or is in Review: others of the key pass it."""
    HALT = "halt"
    """As with hold, and while an order of the key is Failed, until an operator retries it."""
