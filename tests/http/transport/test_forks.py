"""A handler, or the program around a server, forks: the child has nothing of the server's in effect."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from ordermill.http.transport.forks import handle_here_only, keep_from_children

if TYPE_CHECKING:
    from tests.http.conftest import Client


@contextmanager
def living_child() -> Iterator[int]:
    """A forked child that does nothing, until the end of the block."""
    (lives, says_so), (end, says_end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(says_end)
        os.write(says_so, b".")  # after all that happens at a fork
        os.read(end, 1)
        os._exit(0)
    os.read(lives, 1)
    try:
        yield child
    finally:
        os.close(says_end)
        os.waitpid(child, 0)
        for descriptor in (lives, says_so, end):
            os.close(descriptor)


def test_a_child_keeps_no_connection_open(start_server: Callable[..., Client]) -> None:
    client = start_server(socket_seconds=1)
    with closing(socket.create_connection(client.address, timeout=60)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")

        with living_child():
            while connection.recv(65536):  # until the server closes it, since it is silent
                pass


def test_a_child_does_not_listen(start_server: Callable[..., Client]) -> None:
    client = start_server()
    assert client.get("/healthz").status == 200
    with living_child():
        client.server.stop()

        with closing(socket.socket()) as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(client.address)
            again.listen()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_child_and_not_the_server_within_it(number: signal.Signals) -> None:
    before = signal.signal(number, lambda *_: None)
    handle_here_only([number])
    read_end, write_end = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            try:
                os.write(write_end, b"ready")
                time.sleep(20)
            except KeyboardInterrupt:
                os._exit(130)
            finally:
                os._exit(0)
        os.read(read_end, 5)
        os.kill(child, number)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        signal.signal(number, before)
        os.close(read_end)
        os.close(write_end)

    assert code == (-signal.SIGTERM if number == signal.SIGTERM else 130)


def test_what_was_closed_before_the_fork_is_no_hindrance() -> None:
    first, second = socket.socketpair()
    ends = [socket.socket(), first]
    for end in ends:
        keep_from_children(end)
    ends[0].close()

    with living_child(), closing(second):
        first.close()
        second.settimeout(10)
        assert second.recv(1) == b""
