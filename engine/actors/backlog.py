"""The backlog: how many orders are unfinished, of all users and of each, and how fast they go."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence

from ...store.domain import lifecycle
from ...store.domain.errors import BacklogFull, SubmissionTooLarge, UserBacklogFull, UserSubmissionTooLarge
from ...store.domain.order import Order
from ...store.domain.outcome import Outcome, Recorded
from ..clock import Clock
from ..config import EngineConfig
from .messages import BacklogRead, BacklogReleased

_WATCHED_US = 10_000_000
_MAX_RETRY_SECONDS = 60


class Backlog:
    """Counts unfinished orders. Those of each user are counted where they are limited, and cost nothing elsewhere.

    Args:
        config: the limits.
        clock: for how fast orders go.
        orders: unfinished orders at the start.
        users: those of each user; empty where they are not limited.
    """

    def __init__(self, config: EngineConfig, clock: Clock, orders: int, users: Counter[str]) -> None:
        self._max_backlog = config.max_backlog
        self._user_backlog = config.user_backlog
        self._orders = orders
        self._users = users
        self._drain = DrainRate(clock)
        self._sent = 0
        self._under_way: deque[tuple[int, Counter[str]]] = deque()

    def has_room(self, orders: Sequence[Order]) -> bool:
        """Whether `check` would pass."""
        try:
            self.check(orders)
        except (BacklogFull, UserBacklogFull):
            return False
        return True

    def check(self, orders: Sequence[Order]) -> None:
        """Whether there is room for all of these orders.

        Raises:
            BacklogFull: there is no place now; SubmissionTooLarge where there never will be.
            UserBacklogFull: there is no place now for a user's; UserSubmissionTooLarge where there never will be.
        """
        if not orders:
            return
        if len(orders) > self._max_backlog:
            raise SubmissionTooLarge(len(orders), self._max_backlog)
        missing = self._orders + len(orders) - self._max_backlog
        if missing > 0:
            seconds = self._drain.seconds_for(missing)
            raise BacklogFull(self._orders, len(orders), self._max_backlog, seconds)
        if self._user_backlog is None:
            return
        for user_id, count in _count_users(orders).items():
            if count > self._user_backlog:
                raise UserSubmissionTooLarge(user_id, count, self._user_backlog)
            own = self._users[user_id]
            missing = own + count - self._user_backlog
            if missing > 0:
                # All users' orders go in turn: this one's go as slowly as they are a small part of all.
                seconds = self._drain.seconds_for(missing * self._orders / max(own, 1))
                raise UserBacklogFull(user_id, own, count, self._user_backlog, seconds)

    def add(self, orders: Sequence[Order]) -> None:
        """Count orders that are sent to the recorder."""
        self._orders += len(orders)
        self._sent += len(orders)
        if self._user_backlog is not None:
            users = _count_users(orders)
            self._users.update(users)
            self._under_way.append((self._sent, users))

    def release(self, released: BacklogReleased) -> None:
        """Count orders no more."""
        self._orders -= released.orders
        if released.finished:
            self._drain.note(released.finished, released.at_us)
        if released.users is not None:
            self._forget_received(released.received)
            self._users.subtract(released.users)
            for user_id in released.users:
                if not self._users[user_id]:
                    del self._users[user_id]

    def begin_anew(self, read: BacklogRead) -> None:
        """Count what the database has, and what is on its way there."""
        self._orders = read.orders + self._sent - read.received
        if read.users is not None:
            self._forget_received(read.received)
            self._users = Counter(read.users)
            for _, users in self._under_way:
                self._users.update(users)

    def _forget_received(self, received: int) -> None:
        while self._under_way and self._under_way[0][0] <= received:
            self._under_way.popleft()


class DrainRate:
    """How many orders are finished in a second, of late.

    Args:
        clock: where the time comes from.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_us = clock.monotonic_us()
        self._by_second: deque[tuple[int, int]] = deque()

    def note(self, orders: int, at_us: int) -> None:
        """So many orders were finished, at that moment on the monotonic clock."""
        second = at_us // 1_000_000
        if self._by_second and self._by_second[-1][0] == second:
            orders += self._by_second.pop()[1]
        self._by_second.append((second, orders))
        self._forget_before(at_us)

    def seconds_for(self, orders: float) -> int:
        """After how many seconds so many orders will be finished if it goes on like this: 1 to 60."""
        now_us = self._clock.monotonic_us()
        self._forget_before(now_us)
        watched = min(max(now_us - self._since_us, 1_000_000), _WATCHED_US) / 1e6
        # Where none was finished, the next one may be any moment.
        finished = max(1, sum(count for _, count in self._by_second))
        return min(max(math.ceil(orders * watched / finished), 1), _MAX_RETRY_SECONDS)

    def _forget_before(self, now_us: int) -> None:
        while self._by_second and self._by_second[0][0] * 1_000_000 < now_us - _WATCHED_US:
            self._by_second.popleft()


def users_released(orders: Sequence[Order], recorded: Recorded) -> Counter[str]:
    """How many orders of each user a transaction took off the backlog; negative where it added one.

    Args:
        orders: those that were handed in.
        recorded: what was stored.
    """
    users: Counter[str] = Counter()
    for order, (outcome, _) in zip(orders, recorded.acceptances, strict=True):
        if outcome is not Outcome.ACCEPTED:
            users[order.user_id] += 1
    for step in recorded.moved:
        before, after = step.before.status in lifecycle.BACKLOG, step.after.status in lifecycle.BACKLOG
        if before != after:
            users[step.after.order.user_id] += 1 if before else -1
    return users


def _count_users(orders: Sequence[Order]) -> Counter[str]:
    return Counter(order.user_id for order in orders)
