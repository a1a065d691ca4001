"""A lookout has files read by the thread that looks, which sleeps for nothing that has come."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic
from typing import NamedTuple

import pytest

from ordermill.engine.actors.base import Mailbox
from ordermill.engine.actors.lookout import Lookout


class Line(NamedTuple):
    """A pair of sockets, of which one is looked at."""

    near: socket.socket
    far: socket.socket


@pytest.fixture
def line() -> Iterator[Line]:
    """One that nothing was sent over yet."""
    with ExitStack() as stack:
        yield Line(*[stack.enter_context(end) for end in socket.socketpair()])


@pytest.fixture
def lookout() -> Iterator[Lookout]:
    """One that looks at nothing yet."""
    lookout = Lookout()
    yield lookout
    lookout.close()


@pytest.fixture
def mailbox(lookout: Lookout) -> Mailbox:
    """One whose actor has a lookout."""
    mailbox = Mailbox()
    mailbox.lookout = lookout
    return mailbox


def test_what_is_there_is_read_without_waiting(lookout: Lookout, line: Line) -> None:
    read: list[bytes] = []
    lookout.attend(line.near, lambda: not read.append(line.near.recv(10)))
    assert not lookout.look()

    line.far.send(b"one")
    assert lookout.look()
    line.far.send(b"two")
    assert lookout.look()

    assert read == [b"one", b"two"]
    assert not lookout.look()


def test_a_file_that_says_so_is_not_looked_at_again(lookout: Lookout, line: Line) -> None:
    reads: list[int] = []
    lookout.attend(line.near, lambda: bool(reads.append(1)))
    line.far.send(b"one")

    assert lookout.look()
    assert not lookout.look()
    assert reads == [1]


def test_a_file_that_has_gone_already_is_not_looked_at(lookout: Lookout, line: Line) -> None:
    line.near.close()

    lookout.attend(line.near, lambda: True)

    assert not lookout.look()


def test_a_file_may_have_the_number_of_one_that_has_gone(lookout: Lookout) -> None:
    gone, other = socket.socketpair()
    lookout.attend(gone, lambda: True)
    number = gone.fileno()
    gone.close()
    other.close()
    ends = [end for _ in range(2) for end in socket.socketpair()]
    with ExitStack() as stack:
        for end in ends:
            stack.enter_context(end)
        (place,) = [place for place, end in enumerate(ends) if end.fileno() == number]
        near, far = ends[place], ends[place ^ 1]
        lookout.attend(near, lambda: bool(near.recv(1)))
        far.send(b"1")

        assert lookout.look()


def test_a_mailbox_that_waits_has_what_comes_read_by_the_thread_that_waits(mailbox: Mailbox, line: Line) -> None:
    assert mailbox.lookout is not None
    got: list[tuple[bytes, threading.Thread]] = []
    mailbox.lookout.attend(line.near, lambda: mailbox.put((line.near.recv(10), threading.current_thread())) is None)
    waiter = threading.Thread(target=lambda: got.append(mailbox.get()))
    waiter.start()

    line.far.send(b"one")

    waiter.join(60)
    assert got == [(b"one", waiter)]


def test_a_message_ends_the_waiting(mailbox: Mailbox) -> None:
    got: list[str] = []

    def take() -> None:
        got.extend(mailbox.get() for _ in range(100))

    waiter = threading.Thread(target=take)
    waiter.start()
    for number in range(100):
        mailbox.put(f"message {number}")

    waiter.join(60)
    assert got == [f"message {number}" for number in range(100)]


def test_a_mailbox_looks_out_no_longer_than_it_may_be_silent(mailbox: Mailbox) -> None:
    mailbox.silent_until = monotonic() + 0.01
    mailbox.on_silence = lambda: mailbox.put("it is silent")

    assert mailbox.get() == "it is silent"
    assert mailbox.silent_until is None


def test_what_is_closed_is_not_woken_up(mailbox: Mailbox) -> None:
    assert mailbox.lookout is not None
    mailbox.lookout.close()
    mailbox.lookout._is_asleep = True

    mailbox.put("to nobody")

    assert mailbox.get() == "to nobody"
