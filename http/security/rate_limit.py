"""Rate limit: how many orders a second each user may send, and what clients are told of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta

from throttled import Throttled
from throttled.rate_limiter import RateLimitState, per_duration
from throttled.store import MemoryStore

from ..wire.errors import TooManyOrders
from ..wire.headers import Headers

_PRECISION = 1_000
_MAX_USERS = 100_000


class UserRateLimiter:
    """A bucket of orders for each user, which fills at a steady rate (GCRA).

    So that memory is bounded, the users who have been silent longest are forgotten where there are very many. A bucket
    is full by then, unless 100,000 other users have sent orders within the time in which it fills: a user who can send
    in so many names could not be held to a limit for users.

    Args:
        per_second: orders a second; None for no limit.
        burst: orders at once, from a full bucket; as many as a second brings by default.
    """

    def __init__(self, per_second: float | None, burst: int | None = None) -> None:
        self._buckets: Throttled | None = None
        if per_second is None:
            return
        self._burst = burst or math.ceil(per_second)
        # The library counts in whole orders and whole seconds: 0.5 a second is 500 in 1,000 seconds.
        quota = per_duration(timedelta(seconds=_PRECISION), round(per_second * _PRECISION), self._burst)
        store = MemoryStore(options={"MAX_SIZE": _MAX_USERS})
        self._buckets = Throttled(using="gcra", quota=quota, store=store)
        self._policy = f'"user";q={self._burst};w={math.ceil(self._burst / per_second)}'

    def consume(self, users: Mapping[str, int]) -> Headers:
        """Count what is sent.

        Args:
            users: how many orders of each.

        Returns:
            What the answer tells of the limit (draft-ietf-httpapi-ratelimit-headers): of the user who is nearest to it.

        Raises:
            TooManyOrders: a user sends too many; none of what is sent is counted.
        """
        if self._buckets is None or not users:
            return ()
        if len(users) > 1:  # nobody pays for a submission that is refused for another's sake
            for user_id, count in users.items():
                state = self._buckets.peek(user_id)
                if state.remaining < count:
                    raise self._refusal(user_id, count, state, self._seconds_until(count, state))
        states = []
        for user_id, count in users.items():
            result = self._buckets.limit(user_id, count)
            if result.limited:
                raise self._refusal(user_id, count, result.state, result.state.retry_after)
            states.append(result.state)
        nearest = min(states, key=lambda state: state.remaining)
        return self._headers(nearest.remaining, nearest.reset_after)

    def _seconds_until(self, count: int, state: RateLimitState) -> float:
        missing = self._burst - state.remaining
        return state.reset_after * (count - state.remaining) / missing if missing else 0.0

    def _refusal(self, user_id: str, count: int, state: RateLimitState, seconds: float) -> TooManyOrders:
        if count > self._burst:
            detail = f"{count} orders of user {user_id!r} are more than the {self._burst} that are taken at once."
        else:
            detail = f"User {user_id!r} sends orders too fast: try again later."
        retry_after = max(1, _whole(seconds))
        return TooManyOrders(detail, retry_after, self._headers(state.remaining, retry_after))

    def _headers(self, remaining: int, seconds: float) -> Headers:
        return (
            ("RateLimit-Policy", self._policy),
            ("RateLimit", f'"user";r={max(0, remaining)};t={_whole(seconds)}'),
        )


def _whole(seconds: float) -> int:
    # Rounded up. The library adds to a clock and subtracts it again: its 1,000 s may be 1000.0000000001.
    return math.ceil(round(seconds, 6))
