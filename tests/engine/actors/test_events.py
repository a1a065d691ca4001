"""Those who wait for events are woken by the next commit, and nobody is left waiting."""

from __future__ import annotations

import pytest

from ordermill.engine import EngineStopped, Reply
from ordermill.engine.actors.events import EventWaiters
from ordermill.engine.requests import AwaitEvents


def enter(waiters: EventWaiters) -> Reply[None]:
    reply: Reply[None] = Reply()
    assert waiters.enter(AwaitEvents(0, reply))
    return reply


def test_all_who_wait_are_woken_once() -> None:
    waiters = EventWaiters()
    first, second = enter(waiters), enter(waiters)

    waiters.wake()

    assert first.is_done
    assert second.is_done
    third = enter(waiters)
    assert not third.is_done


def test_who_sets_the_reply_itself_waits_no_longer() -> None:
    waiters = EventWaiters()
    reply = enter(waiters)

    reply.set()

    assert not waiters._waiting
    waiters.wake()


def test_at_the_end_all_are_sent_away_and_nobody_may_wait_any_more() -> None:
    waiters = EventWaiters()
    reply = enter(waiters)

    waiters.close()

    with pytest.raises(EngineStopped):
        reply.get(timeout=0)
    assert not waiters.enter(AwaitEvents(0, Reply()))
