"""The engine as a process that serves HTTP has it, and the end in the engine's process that answers it."""

from __future__ import annotations

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest

from ordermill.engine import EngineStopped, OrderEngine, OrderNotFound, Outcome
from ordermill.engine.reply import fail
from ordermill.engine.requests import Request
from ordermill.engine.testing import make_order
from ordermill.http.processes import engine_server, remote_engine
from ordermill.http.processes.channel import ChannelLoop
from ordermill.http.processes.engine_server import EngineServer
from ordermill.http.processes.remote_engine import RemoteEngine

SECONDS = 60
WaitUntil = Callable[[Callable[[], object]], None]


class Ends(NamedTuple):
    """Both ends of a channel, each in a loop of its own, in this process."""

    engine: OrderEngine
    server: EngineServer
    remote: RemoteEngine
    channels: ChannelLoop
    """The loop of the engine's end."""


@pytest.fixture
def ends(start_engine: Callable[..., OrderEngine], monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    """An engine, and the same as another process has it."""
    monkeypatch.setattr(engine_server, "_TELL_SECONDS", 0.02)
    monkeypatch.setattr(remote_engine, "_SILENT_SECONDS", SECONDS)
    engine = start_engine()
    near, far = ChannelLoop(), ChannelLoop()
    near.start()
    far.start()
    ours, theirs = socket.socketpair()
    server = EngineServer(engine, near, ours)
    remote = RemoteEngine(engine.address)
    remote.serve(far, theirs)  # type: ignore[arg-type]  # all that it wants of a server is its loop
    yield Ends(engine, server, remote, near)
    remote.close()
    server.close()
    far.stop()
    near.stop()


class OfSomebodyElse(Exception):
    """An error that cannot be made anew of what it is pickled as."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


def refuse(ends: Ends, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Have the engine answer submissions with an error."""

    def send(request: Request) -> None:
        fail(request.reply, error)

    monkeypatch.setattr(ends.engine, "hand_in", send)


def test_orders_are_taken_and_told_as_by_the_engine_itself(ends: Ends) -> None:
    orders = [make_order("o-1"), make_order("o-2"), make_order("o-1"), make_order("o-2", user_id="another")]

    acceptances = ends.remote.begin_submit(orders).get(timeout=SECONDS)

    assert [acceptance.outcome for acceptance in acceptances] == [
        Outcome.ACCEPTED,
        Outcome.ACCEPTED,
        Outcome.DUPLICATE,
        Outcome.CONFLICT,
    ]
    assert [acceptance.record.order for acceptance in acceptances] == [*orders[:3], orders[1]]
    ends.engine.drain(timeout=SECONDS)
    for acceptance in acceptances[:2]:
        stored = ends.remote.order(acceptance.record.order_id)
        assert (stored.order, stored.sequence) == (acceptance.record.order, acceptance.record.sequence)
        assert stored.created_us == acceptance.record.created_us == acceptance.record.updated_us


def test_an_error_of_the_engine_is_raised_as_it_is(ends: Ends) -> None:
    with pytest.raises(OrderNotFound, match="nobody"):
        ends.remote.cancel("nobody")


@pytest.mark.parametrize(
    ("error", "text"),
    [(OfSomebodyElse("one", "other"), "OfSomebodyElse: one and other"), (SystemExit(3), "SystemExit: 3")],
)
def test_an_error_that_cannot_travel_or_would_end_a_server_is_told_in_words(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, error: BaseException, text: str
) -> None:
    refuse(ends, monkeypatch, error)

    with pytest.raises(RuntimeError, match=text):
        ends.remote.begin_submit([make_order()]).get(timeout=SECONDS)


def test_health_is_told_without_being_asked_and_its_failure_too(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wait_until: WaitUntil
) -> None:
    wait_until(lambda: ends.remote.unready_reasons() == ())
    caplog.set_level(logging.ERROR)
    with monkeypatch.context() as patched:
        patched.setattr(ends.engine, "unready_reasons", lambda: 1 / 0)
        wait_until(lambda: ends.remote.unready_reasons() == ("the engine cannot say how it is: the log says why",))
        assert ends.remote.dead_actors() == ends.remote.unready_reasons()
    wait_until(lambda: ends.remote.unready_reasons() == ())

    assert "ZeroDivisionError" in caplog.text


def test_a_silent_engine_is_not_ready(ends: Ends, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil) -> None:
    wait_until(lambda: ends.remote.unready_reasons() == ())
    monkeypatch.setattr(remote_engine, "_SILENT_SECONDS", -1)

    for (words,) in (ends.remote.unready_reasons(), ends.remote.dead_actors()):
        assert re.fullmatch(r"the engine's process has said nothing for [0-9]+ s", words)


def test_who_waits_no_longer_is_forgotten_at_both_ends(ends: Ends, wait_until: WaitUntil) -> None:
    waiting = ends.remote.begin_wait_for_events(0)
    wait_until(lambda: ends.server._waits)

    waiting.set(None)

    wait_until(lambda: not ends.server._waits)
    assert not ends.remote._asked
    assert not ends.remote._waits


def test_waits_end_when_they_are_interrupted_and_no_other_begins(ends: Ends) -> None:
    waiting = ends.remote.begin_wait_for_events(0)

    ends.remote.interrupt_waits()

    with pytest.raises(EngineStopped):
        waiting.get(timeout=SECONDS)
    with pytest.raises(EngineStopped):
        ends.remote.begin_wait_for_events(0)
    assert ends.remote.submit(make_order("o-1")).order_id == "o-1"  # all else goes on


def test_a_stop_and_the_end_are_told(ends: Ends) -> None:
    told = threading.Event()
    ends.remote.stopping.when_done(told.set)
    assert not ends.remote.stopping.is_done

    ends.server.tell_stop()
    assert told.wait(SECONDS)
    assert not ends.remote.ended.is_set()
    ends.server.tell_end()
    assert ends.remote.ended.wait(SECONDS)


def test_what_becomes_of_orders_is_told_whatever_keeps_the_loop_busy_and_after_a_stop(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    sent: list[Request] = []
    monkeypatch.setattr(ends.engine, "hand_in", sent.append)
    orders_told = ends.remote.begin_submit([make_order("o-1")])
    wait_until(lambda: sent)
    is_stop_known: list[bool] = []
    orders_told.when_done(lambda: is_stop_known.append(ends.remote.stopping.is_done))
    go_on = threading.Event()
    ends.channels.wake_ups.call(partial(go_on.wait, SECONDS))
    try:
        ends.server.tell_stop()
        fail(sent[0].reply, EngineStopped())

        with pytest.raises(EngineStopped):
            orders_told.get(timeout=SECONDS)
        assert is_stop_known == [True]
    finally:
        go_on.set()


def test_an_end_that_goes_is_the_end(ends: Ends) -> None:
    ends.server.close()

    assert ends.remote.ended.wait(SECONDS)
    assert ends.remote.stopping.is_done


def test_nobody_waits_for_an_answer_that_never_comes(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(ends.engine, "hand_in", kept.append)
    reply = ends.remote.begin_submit([make_order()])

    ends.remote.close()

    with pytest.raises(EngineStopped):
        reply.get(timeout=SECONDS)
    with pytest.raises(EngineStopped):
        ends.remote.begin_submit([make_order()])
    with pytest.raises(EngineStopped):
        ends.remote.order("o-1")
