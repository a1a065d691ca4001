"""What was not taken is sent again for three days, later each time, and not before the receiver wants it."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from ordermill.engine.testing import START_US
from ordermill.engine.webhooks.schedule import LONGEST_SECONDS, SCHEDULE_SECONDS, retry_delay


def test_the_schedule_lasts_about_three_days() -> None:
    delays = [retry_delay(attempt, None, START_US) for attempt in range(1, len(SCHEDULE_SECONDS) + 1)]

    for planned, delay in zip(SCHEDULE_SECONDS, delays, strict=True):
        assert delay is not None
        assert planned <= delay <= 1.1 * planned
    assert 3 <= sum(SCHEDULE_SECONDS) / 86_400 <= 3.5
    assert retry_delay(len(SCHEDULE_SECONDS) + 1, None, START_US) is None


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("120", 120.0),
        (" 120 ", 120.0),
        (formatdate(START_US / 1e6 + 120, usegmt=True), 120.0),
        ("9" * 40, LONGEST_SECONDS),
    ],
)
def test_a_receiver_may_ask_for_more_time(retry_after: str, seconds: float) -> None:
    assert retry_delay(1, retry_after, START_US) == pytest.approx(seconds, abs=1)


@pytest.mark.parametrize("retry_after", ["soon", "-5", "", "1e9", "Mon, 99 Nov"])
def test_what_is_no_time_is_not_heeded(retry_after: str) -> None:
    delay = retry_delay(1, retry_after, START_US)

    assert delay is not None
    assert 5 <= delay <= 5.5
