"""Turns: the place in the queue that an order gets, so that users take turns however many orders each of them has."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .domain.weight import NO_WEIGHTS, Weights

STEP = 1 << 10
"""How far one order puts off its user's next one, at the usual weight."""
PLACES = 1 << 49
"""How many places a line has: at ten thousand orders of one user a second, enough for a year and a half without a
moment in which nobody waits and the engine starts anew."""
_MOST_USERS = 10_000


def step_for(weight: float) -> int:
    """How far an order puts off the next one of its user, who has so many times the others' share of the turns."""
    return max(1, round(STEP / weight))


class Turns:
    """Start-time fair queueing (P. Goyal, H. M. Vin, H. Cheng, "Start-time Fair Queuing", SIGCOMM 1996).

    A place is a number; those who wait are taken in the sequence of their places, and of their arrival where these are
    equal. A new order's place is behind its user's last one, and not before the one that the queue has come to. So a
    user with one order waits for one order of each other user, not for all that they have sent; orders of one user, and
    those of users who have one each, keep the sequence of their arrival; and a place is never changed for others, so
    none is overtaken for ever. The queue has come to where the last one that was taken ends (J. Golestani, "A
    Self-Clocked Fair Queueing Scheme", INFOCOM 1994). Who has a weight is put off by each order the less, the larger it
    is: with the weight 3, three orders go while one of another user does.

    Args:
        begin: the first of the places where somebody waits; 0 where nobody does.
        last: the last of them; likewise.
        find: gives the last place of a user where one of his orders waits, or None.
        most_users: how many users are remembered at the most.
        weights: of users whose share of the turns is another than that of the others.
    """

    def __init__(
        self,
        begin: int,
        last: int,
        find: Callable[[str], int | None],
        most_users: int = _MOST_USERS,
        weights: Weights = NO_WEIGHTS,
    ) -> None:
        self._steps = {user_id: step_for(weight) for user_id, weight in weights.items()}
        self._begin = begin
        self._next: dict[str, int] = {}  # the place of a user's next order; who is not there has none of his own...
        # ... where the queue has come so far: before, it has to be looked up
        self._unknown_to = last + max([STEP, *self._steps.values()]) if last >= begin else begin
        self._find = find
        self._most_users = most_users

    def give(self, user_id: str) -> int:
        """The place of a user's next order, which is taken now."""
        step = self._steps.get(user_id, STEP) if self._steps else STEP
        place = self._next.get(user_id)
        if place is None and self._begin < self._unknown_to and (last := self._find(user_id)) is not None:
            place = last + step
        if place is None or place < self._begin:
            place = self._begin
        self._next[user_id] = place + step
        if len(self._next) > self._most_users:
            self._bound()
        return place

    def give_back(self, places: Iterable[tuple[str, int]]) -> None:
        """Orders did not take the places that their users were given.

        Args:
            places: each with its user, in the sequence in which they were given.
        """
        for user_id, place in reversed([*places]):
            if self._next.get(user_id) == place + self._steps.get(user_id, STEP):
                self._next[user_id] = place

    def note(self, user_id: str, place: int) -> None:
        """An order of a user has that place, which another engine gave it."""
        after = place + self._steps.get(user_id, STEP)
        if after > self._next.get(user_id, self._begin):
            self._next[user_id] = after
            if len(self._next) > self._most_users:
                self._bound()

    def come_to(self, place: int, user_id: str) -> None:
        """The queue has come to an order with that place, of that user."""
        self.begin_at(place + self._steps.get(user_id, STEP))

    def begin_at(self, place: int) -> None:
        """Nobody waits before that place, whoever has taken those who did."""
        self._begin = max(self._begin, place)

    def __len__(self) -> int:
        """How many users are remembered."""
        return len(self._next)

    def forget_past(self) -> None:
        """Forget the users whose orders are all taken, as far as the queue has come."""
        self._next = {user_id: place for user_id, place in self._next.items() if place > self._begin}

    def forget(self) -> None:
        """Forget all users: the orders that wait tell of them."""
        if self._next:
            self._unknown_to = max(self._unknown_to, *self._next.values())
            self._next.clear()

    def _bound(self) -> None:
        self.forget_past()
        if len(self._next) > self._most_users // 2:
            self.forget()
