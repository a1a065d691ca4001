"""How much of what clients have half sent, or half read, is held in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Self

OWN_BYTES = 16 * 1024
"""What each connection may hold of each kind without asking: more than the largest order."""

_BODIES_AT_ONCE = 2
_READ_BYTES = 256 * 1024  # of a transport, at once: what follows a body may have come with its end
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


class BodyBudget(BufferBudget):
    """Who finds it used up waits for its turn. One after another gets at what is kept for that, to its end.

    Of the rest a caller gets no more than it leaves to the others, and callers who wait take turns: one that sends many
    bodies slowly holds up its own.

    Args:
        max_bytes: in all.
        kept: how much of that is for the one whose turn it is: what it may want at the most.
    """

    def __init__(self, max_bytes: int, kept: int) -> None:
        super().__init__(max_bytes)
        self._kept = kept
        self._held_for: Counter[str | None] = Counter()
        # By caller. The first one's first has its turn.
        self._lines: dict[str | None, dict[BodyReservation, Callable[[], object]]] = {}

    def take_in_turn(self, size: int, who: BodyReservation, wake: Callable[[], object]) -> bool:
        """Take so many bytes; False where they are not there yet, and `wake` is called when they may be."""
        first = self._first()
        rest = self.free - self._kept + (0 if first is None else min(first.taken, self._kept))
        if size + (0 if who.caller is None else self._held_for[who.caller]) <= rest:
            if first is not who:
                self._forget(who)
        else:
            self._lines.setdefault(who.caller, {}).setdefault(who, wake)
            if self._first() is not who or size > self.free:
                return False
        self.take(size)
        self._held_for[who.caller] += size
        return True

    def give_back(self, size: int, who: BodyReservation) -> None:
        """So many bytes are free again."""
        self.take(-size)
        self._held_for[who.caller] -= size
        if not self._held_for[who.caller]:
            del self._held_for[who.caller]

    def leave(self, who: BodyReservation) -> None:
        """That one wants nothing more; the others see whether there is enough for them now."""
        had_turn = self._first() is who
        self._forget(who)
        if had_turn and who.caller in self._lines:
            self._lines[who.caller] = self._lines.pop(who.caller)  # behind the other callers
        for wake in [wake for line in self._lines.values() for wake in line.values()]:
            wake()

    def _first(self) -> BodyReservation | None:
        return next(iter(next(iter(self._lines.values()), {})), None)

    def _forget(self, who: BodyReservation) -> None:
        line = self._lines.get(who.caller, {})
        if line.pop(who, None) is not None and not line:
            del self._lines[who.caller]


class BodyReservation:
    """What one connection holds of a body.

    Args:
        budget: what it is from.
        wake: called when there may be what was not there before.
    """

    __slots__ = ("_budget", "_wake", "caller", "is_waiting", "taken")

    def __init__(self, budget: BodyBudget, wake: Callable[[], object]) -> None:
        self._budget = budget
        self._wake = wake
        self.caller: str | None = None
        """The id of the key that the body is sent with; None where nobody can tell callers apart. It is another one
        only where nothing is held."""
        self.taken = 0
        """How much of that is the budget's."""
        self.is_waiting = False
        """Whether it was refused more, and waits for it."""

    def hold(self, size: int) -> bool:
        """Hold so many bytes in all; False where it has to wait, and holds what it held before."""
        wanted = max(0, size - OWN_BYTES)
        if wanted > self.taken:
            self.is_waiting = not self._budget.take_in_turn(wanted - self.taken, self, self._wake)
            if self.is_waiting:
                return False
        else:
            self._budget.give_back(self.taken - wanted, self)
        self.taken = wanted
        return True

    def let_go(self) -> None:
        """Hold nothing, and wait for nothing."""
        if self.taken or self.is_waiting:
            self._budget.give_back(self.taken, self)
            self.taken = 0
            self.is_waiting = False
            self._budget.leave(self)

    def end(self) -> None:
        """Let go, for good: what `wake` belongs to can be freed at once."""
        self.let_go()
        self._wake = _wake_nobody


def _wake_nobody() -> None:
    """Whoever waited has gone."""


class SharedBudget:
    """What the answers may take that clients read slowly. One that is sent to many, as it is, is there once.

    A caller gets no more than it leaves to the others: one alone gets half of it.

    Args:
        max_bytes: in all.
    """

    def __init__(self, max_bytes: int) -> None:
        self._budget = BufferBudget(max_bytes)
        self._held: dict[int, tuple[bytes, int, str | None]] = {}
        self._held_for: Counter[str | None] = Counter()

    @property
    def free(self) -> int:
        """How many bytes are left."""
        return self._budget.free

    def take(self, content: bytes, caller: str | None) -> bool:
        """Hold an answer until it is given back; False where there is no memory for it.

        Args:
            content: the answer.
            caller: the id of the key that it was asked for with; None where nobody can tell callers apart.
        """
        _, count, caller = self._held.get(id(content), (content, 0, caller))
        if not count:
            if caller is not None and self._held_for[caller] + len(content) > self.free:
                return False
            if not self._budget.take(len(content)):
                return False
            self._held_for[caller] += len(content)
        self._held[id(content)] = content, count + 1, caller
        return True

    def give_back(self, content: bytes) -> None:
        """One client has read it, or has gone."""
        _, count, caller = self._held.pop(id(content))
        if count > 1:
            self._held[id(content)] = content, count - 1, caller
            return
        self._budget.take(-len(content))
        self._held_for[caller] -= len(content)
        if not self._held_for[caller]:
            del self._held_for[caller]


class Buffers(NamedTuple):
    """The budgets of a server. Who has no key, or asks for what there is not, never gets beyond the first of them."""

    received: BufferBudget
    """For heads, and for what is sent before an answer is there."""
    bodies: BodyBudget
    """For bodies that are wanted, until they are answered: what is made of them takes several times as much."""
    answers: SharedBudget
    """For answers that are not sent at once."""

    @classmethod
    def of(cls, max_body_bytes: int) -> Self:
        """Those of a server that takes bodies of that size."""
        bodies = BodyBudget(_BODIES_AT_ONCE * max_body_bytes, max_body_bytes + _READ_BYTES)
        return cls(BufferBudget(16 * _MEBIBYTE), bodies, SharedBudget(32 * _MEBIBYTE))
