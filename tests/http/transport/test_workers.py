"""Threads for what may block: what they give comes into the loop, and no more waits for one of them than may."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from ordermill.http.processes.channel import ChannelLoop
from ordermill.http.transport import workers as workers_module
from ordermill.http.transport.wake_ups import WakeUps
from ordermill.http.transport.workers import Workers
from ordermill.http.wire.errors import ServerBusy

SECONDS = 60


@pytest.fixture
def loop() -> Iterator[ChannelLoop]:
    """A loop in a thread of its own."""
    loop = ChannelLoop()
    loop.start()
    yield loop
    loop.stop()


def in_loop(wake_ups: WakeUps, function: Callable[[], object]) -> list[object]:
    """Call a function in the loop, and wait for it; what it gives, or the error that it raises."""
    results: list[object] = []
    came = threading.Event()

    def call() -> None:
        try:
            results.append(function())
        except Exception as error:
            results.append(error)
        came.set()

    wake_ups.call(call)
    assert came.wait(SECONDS)
    return results


def test_what_is_done_in_a_thread_comes_into_the_loop(loop: ChannelLoop) -> None:
    workers = Workers(1, loop.wake_ups)
    (loop_thread,) = in_loop(loop.wake_ups, threading.get_ident)
    came = threading.Event()
    told: list[int] = []

    def done(thread: int) -> None:
        told.extend((thread, threading.get_ident()))
        came.set()

    in_loop(loop.wake_ups, lambda: workers.run(threading.get_ident, done))
    assert came.wait(SECONDS)
    workers.close()

    assert told[0] != loop_thread
    assert told[1] == loop_thread


def test_no_more_waits_than_may_and_there_is_room_again_afterwards(
    loop: ChannelLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "_MAX_WAITING", 1)
    workers = Workers(1, loop.wake_ups)
    may_go_on = threading.Event()
    done = threading.Semaphore(0)

    def run() -> None:
        workers.run(lambda: may_go_on.wait(SECONDS), lambda _: done.release())

    outcomes = [type(in_loop(loop.wake_ups, run)[0]) for _ in range(3)]
    may_go_on.set()
    assert done.acquire(timeout=SECONDS)
    assert done.acquire(timeout=SECONDS)
    outcomes += [type(in_loop(loop.wake_ups, run)[0])]
    assert done.acquire(timeout=SECONDS)
    workers.close()

    assert outcomes == [type(None), type(None), ServerBusy, type(None)]


def test_what_has_not_begun_when_they_end_never_does(
    loop: ChannelLoop, wait_until: Callable[[Callable[[], object]], None]
) -> None:
    workers = Workers(1, loop.wake_ups)
    has_begun, may_go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def hold() -> str:
        has_begun.set()
        may_go_on.wait(SECONDS)
        return "first"

    in_loop(loop.wake_ups, lambda: workers.run(hold, done.append))
    in_loop(loop.wake_ups, lambda: workers.run(lambda: "second", done.append))
    assert has_begun.wait(SECONDS)
    closing = threading.Thread(target=workers.close)
    closing.start()
    wait_until(lambda: workers._unfinished == 1)  # the second was taken back
    may_go_on.set()
    closing.join()
    in_loop(loop.wake_ups, lambda: None)

    assert done == ["first"]
