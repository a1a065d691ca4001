"""When an event is sent again that its receiver did not take: the schedule of Standard Webhooks 1.0, of three days."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SCHEDULE_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""The delays between attempts: 5 s, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours."""
LONGEST_SECONDS = 86_400 * 1.1
_JITTER = 0.1


def retry_delay(attempts: int, retry_after: str | None, now_us: int) -> float | None:
    """Seconds until the next attempt; None where there is none any more.

    Args:
        attempts: how many there were.
        retry_after: what the receiver says (RFC 9110, 10.2.3): seconds, or a date; it is heeded up to a day.
        now_us: the wall clock, microseconds since 1970-01-01T00:00:00Z.
    """
    if attempts > len(SCHEDULE_SECONDS):
        return None
    delay = SCHEDULE_SECONDS[attempts - 1] * random.uniform(1.0, 1.0 + _JITTER)
    return min(LONGEST_SECONDS, max(delay, _seconds(retry_after, now_us)))


def _seconds(retry_after: str | None, now_us: int) -> float:
    if retry_after is None:
        return 0.0
    if retry_after.strip().isdecimal():
        return float(retry_after[:10])
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return (date - datetime.fromtimestamp(now_us / 1e6, UTC)).total_seconds()
