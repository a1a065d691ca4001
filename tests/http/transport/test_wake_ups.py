"""Calls from other threads into a loop."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

from ordermill.http.transport.wake_ups import WakeUps


def run(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it stops."""
    try:
        loop.run_forever()
    finally:
        loop.close()


def test_what_many_threads_call_is_called_in_the_loop_each_once_and_in_their_sequence() -> None:
    loop, wake_ups = asyncio.new_event_loop(), WakeUps()
    called: list[tuple[int, int]] = []
    where = set()

    def note(thread: int, number: int) -> None:
        called.append((thread, number))
        where.add(threading.get_ident())
        if len(called) == 4_000:
            loop.stop()

    def call(thread: int) -> None:
        for number in range(1_000):
            wake_ups.call(partial(note, thread, number))

    loop.call_soon(wake_ups.attach, loop)
    threads = [threading.Thread(target=call, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    run(loop)
    for thread in threads:
        thread.join()

    assert where == {threading.get_ident()}
    for thread in range(4):
        assert [number for its, number in called if its == thread] == list(range(1_000))


def test_what_is_called_at_once_costs_one_wake_up() -> None:
    loop, wake_ups = asyncio.new_event_loop(), WakeUps()
    woken: list[Any] = []
    call_soon = loop.call_soon_threadsafe
    loop.call_soon_threadsafe = lambda *arguments: woken.append(call_soon(*arguments))  # type: ignore[method-assign]
    wake_ups.attach(loop)
    called: list[int] = []
    for number in range(100):
        wake_ups.call(lambda number=number: called.append(number))
    wake_ups.call(loop.stop)
    run(loop)

    assert (len(woken), called) == (1, list(range(100)))


def test_what_was_called_before_there_was_a_loop_is_called_in_it() -> None:
    loop, wake_ups = asyncio.new_event_loop(), WakeUps()
    wake_ups.call(loop.stop)
    wake_ups.attach(loop)

    run(loop)


def test_an_error_does_not_take_the_others_with_it() -> None:
    loop, wake_ups = asyncio.new_event_loop(), WakeUps()
    told: list[Any] = []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    wake_ups.attach(loop)
    wake_ups.call(lambda: 1 / 0)
    wake_ups.call(loop.stop)
    run(loop)

    assert [type(error) for error in told] == [ZeroDivisionError]


def test_nothing_happens_once_the_loop_has_ended() -> None:
    loop, wake_ups = asyncio.new_event_loop(), WakeUps()
    wake_ups.attach(loop)
    wake_ups.call(loop.stop)
    run(loop)

    wake_ups.call(lambda: 1 / 0)
