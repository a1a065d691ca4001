"""How much of what clients have half sent, or half read, is held in memory."""

from __future__ import annotations

from typing import NamedTuple, Self

OWN_BYTES = 16 * 1024
"""What each connection may hold of each kind without asking: more than the largest order."""

_BODIES_AT_ONCE = 2
_MEBIBYTE = 1024 * 1024


class BufferBudget:
    """What all connections may hold together, beyond the little that each may hold anyway.

    Args:
        max_bytes: in all.
    """

    def __init__(self, max_bytes: int) -> None:
        self._free = max_bytes

    @property
    def free(self) -> int:
        """How many bytes are left."""
        return self._free

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

    __slots__ = ("_budget", "taken")

    def __init__(self, budget: BufferBudget) -> None:
        self._budget = budget
        self.taken = 0
        """How much of that is the budget's."""

    def hold(self, size: int) -> bool:
        """Hold so many bytes in all, more or fewer than before; False, and nothing changes, where memory is short."""
        wanted = max(0, size - OWN_BYTES)
        if wanted == self.taken:
            return True
        if not self._budget.take(wanted - self.taken):
            return False
        self.taken = wanted
        return True


class SharedBudget:
    """What the answers may take that clients read slowly. One that is sent to many, as it is, is there once.

    Args:
        max_bytes: in all.
    """

    def __init__(self, max_bytes: int) -> None:
        self._budget = BufferBudget(max_bytes)
        self._held: dict[int, tuple[bytes, int]] = {}

    @property
    def free(self) -> int:
        """How many bytes are left."""
        return self._budget.free

    def take(self, content: bytes) -> bool:
        """Hold an answer until it is given back; False where there is no memory for it."""
        _, count = self._held.get(id(content), (content, 0))
        if not count and not self._budget.take(len(content)):
            return False
        self._held[id(content)] = content, count + 1
        return True

    def give_back(self, content: bytes) -> None:
        """One client has read it, or has gone."""
        _, count = self._held.pop(id(content))
        if count > 1:
            self._held[id(content)] = content, count - 1
        else:
            self._budget.take(-len(content))


class Buffers(NamedTuple):
    """The budgets of a server. Who has no key, or asks for what there is not, never gets beyond the first of them."""

    received: BufferBudget
    """For heads, and for what is sent before an answer is there."""
    bodies: BufferBudget
    """For bodies that are wanted, until they are answered: what is made of them takes several times as much."""
    answers: SharedBudget
    """For answers that are not sent at once."""

    @classmethod
    def of(cls, max_body_bytes: int) -> Self:
        """Those of a server that takes bodies of that size."""
        bodies = BufferBudget(_BODIES_AT_ONCE * max_body_bytes)
        return cls(BufferBudget(16 * _MEBIBYTE), bodies, SharedBudget(32 * _MEBIBYTE))
