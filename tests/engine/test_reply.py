"""A reply brings one outcome to all who ask for it, and calls back once."""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from pykka import Timeout

from ordermill.engine import Reply
from ordermill.engine.reply import answer, fail


def test_who_asks_later_gets_the_value_at_once() -> None:
    reply: Reply[int] = Reply()
    reply.set(7)

    assert reply.is_done
    assert reply.get(timeout=0) == 7
    assert reply.get(timeout=0) == 7


def test_who_waits_gets_the_value_when_it_comes() -> None:
    reply: Reply[int] = Reply()
    waiting = Barrier(5)

    def wait() -> int:
        waiting.wait(timeout=60)
        return reply.get(timeout=60)

    with ThreadPoolExecutor(4) as threads:
        results = [threads.submit(wait) for _ in range(4)]
        waiting.wait(timeout=60)
        reply.set(7)

        assert [result.result(timeout=60) for result in results] == [7, 7, 7, 7]


def test_who_waits_too_long_is_told_so_and_may_ask_again() -> None:
    reply: Reply[int] = Reply()
    with pytest.raises(Timeout):
        reply.get(timeout=0)
    reply.set(7)

    assert reply.get() == 7


def test_an_error_is_raised_to_everyone_who_asks() -> None:
    reply: Reply[int] = Reply()
    fail(reply, KeyError("a"))

    for _ in range(2):
        with pytest.raises(KeyError, match="a"):
            reply.get(timeout=0)


def test_the_error_that_is_being_handled_is_the_default() -> None:
    reply: Reply[int] = Reply()
    try:
        raise KeyError("a")
    except KeyError:
        reply.set_exception()

    with pytest.raises(KeyError):
        reply.get(timeout=0)


def test_the_first_outcome_stays() -> None:
    reply: Reply[int] = Reply()
    reply.set(1)
    with pytest.raises(queue.Full):
        reply.set(2)
    with pytest.raises(queue.Full):
        reply.set_exception((KeyError, KeyError(), None))
    answer(reply, 3)
    fail(reply, KeyError())

    assert reply.get(timeout=0) == 1


def test_callbacks_are_called_once_in_their_sequence_whenever_they_come() -> None:
    reply: Reply[int] = Reply()
    calls: list[str] = []
    reply.when_done(lambda: calls.append("first"))
    reply.when_done(lambda: calls.append("second"))
    assert calls == []
    reply.set(1)
    reply.when_done(lambda: calls.append("late"))

    assert calls == ["first", "second", "late"]


def test_a_callback_that_comes_together_with_the_value_is_called_once() -> None:
    with ThreadPoolExecutor(2) as threads:
        for _ in range(500):
            reply: Reply[int] = Reply()
            calls: list[int] = []
            together = Barrier(2)

            def set_value(reply: Reply[int] = reply, together: Barrier = together) -> None:
                together.wait(timeout=60)
                reply.set(1)

            def add(reply: Reply[int] = reply, together: Barrier = together, calls: list[int] = calls) -> None:
                together.wait(timeout=60)
                reply.when_done(lambda: calls.append(1))

            for task in [threads.submit(set_value), threads.submit(add)]:
                task.result(timeout=60)

            assert calls == [1]


@pytest.mark.parametrize("error", [RuntimeError("the loop is closed"), SystemExit(3)], ids=["error", "exit"])
def test_what_a_callback_raises_is_logged_and_reaches_nobody(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_always() -> None:
        raise error

    reply: Reply[int] = Reply()
    calls: list[str] = []
    reply.when_done(fail_always)
    reply.when_done(lambda: calls.append("second"))
    reply.set(1)
    reply.when_done(fail_always)
    reply.when_done(lambda: calls.append("late"))

    assert calls == ["second", "late"]
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error, error]


def test_who_asks_again_and_again_leaves_nothing_behind() -> None:
    reply: Reply[int] = Reply()
    for _ in range(100):
        with pytest.raises(Timeout):
            reply.get(timeout=0)

    assert reply._callbacks == []
