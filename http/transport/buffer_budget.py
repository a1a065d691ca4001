"""How much of what clients have half sent, or half read, is held in memory."""

from __future__ import annotations

OWN_BYTES = 16 * 1024
"""What each connection may hold without asking: more than the largest order."""


class BufferBudget:
    """What all connections may hold together, beyond the little that each may hold anyway.

    Args:
        max_bytes: in all.
    """

    def __init__(self, max_bytes: int) -> None:
        self._free = max_bytes

    def take(self, size: int) -> bool:
        """Take so many bytes, if they are free; fewer than none gives some back."""
        if size > self._free:
            return False
        self._free -= size
        return True


class Reservation:
    """What one connection holds.

    Args:
        budget: what it is from.
    """

    def __init__(self, budget: BufferBudget) -> None:
        self._budget = budget
        self._taken = 0

    def hold(self, size: int) -> bool:
        """Hold so many bytes in all, more or fewer than before; False, and nothing changes, where memory is short."""
        wanted = max(0, size - OWN_BYTES)
        if wanted == self._taken:
            return True
        if not self._budget.take(wanted - self._taken):
            return False
        self._taken = wanted
        return True
