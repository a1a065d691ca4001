"""Handshakes begin one by one, with those who have said hello as a whole."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise

from ordermill.http.transport.handshakes import Handshakes

HELLO = b"\x16\x03\x01\x00\x64" + b"h" * 100


class Crowd:
    """Clients of handshakes that are only noted down."""

    def __init__(self, stack: ExitStack, seconds: float = 60) -> None:
        self.loop = asyncio.get_running_loop()
        self.stack = stack
        self.begun: list[socket.socket] = []
        self.handshakes = Handshakes(self.loop, self.begun.append, seconds)
        stack.callback(self.handshakes.close)

    def come(self) -> tuple[socket.socket, socket.socket]:
        """A client comes: its end, and ours."""
        client, accepted = socket.socketpair()
        for end in (client, accepted):
            self.stack.enter_context(end)
            end.setblocking(False)
        self.handshakes.add(accepted)
        return client, accepted


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something."""
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.001)


def listening() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    return client, accepted


def test_a_client_begins_when_its_hello_is_there() -> None:
    async def run() -> None:
        with ExitStack() as stack:
            crowd = Crowd(stack)
            client, accepted = map(stack.enter_context, listening())
            accepted.setblocking(False)
            crowd.handshakes.add(accepted)
            for part in (HELLO[:3], HELLO[3:5], HELLO[5:50]):
                client.sendall(part)
                await asyncio.sleep(0.02)
                assert (crowd.begun, len(crowd.handshakes)) == ([], 1)

            client.sendall(HELLO[50:])
            await until(lambda: crowd.begun == [accepted])
            assert len(crowd.handshakes) == 0

    asyncio.run(run())


def test_they_begin_one_after_the_other() -> None:
    async def run() -> None:
        with ExitStack() as stack:
            crowd = Crowd(stack)
            for _ in range(20):
                crowd.come()[0].sendall(HELLO)
            seen = [0]
            while seen[-1] < 20:
                await asyncio.sleep(0)
                seen.append(len(crowd.begun))

            assert max(after - before for before, after in pairwise(seen)) == 1

    asyncio.run(run())


def test_hellos_that_come_together_are_refused_but_for_the_first() -> None:
    async def run() -> None:
        with ExitStack() as stack:
            handshakes = Crowd(stack).handshakes

            assert [handshakes.may_say_hello() for _ in range(5)] == [True, True, False, False, False]
            await asyncio.sleep(0)
            assert handshakes.may_say_hello()

    asyncio.run(run())


def test_who_leaves_or_says_nothing_is_let_go_of() -> None:
    async def run() -> None:
        with ExitStack() as stack:
            crowd = Crowd(stack)
            for said in (b"", HELLO[:3], HELLO[:50]):
                client, _ = crowd.come()
                client.sendall(said)
                client.close()
            await until(lambda: not len(crowd.handshakes))

            clients = [crowd.come()[0] for _ in range(3)]
            crowd.handshakes.drop_late(crowd.loop.time())
            assert len(crowd.handshakes) == 3
            crowd.handshakes.drop_oldest(1)
            assert len(crowd.handshakes) == 2
            assert clients[0].recv(1) == b""
            crowd.handshakes.drop_late(crowd.loop.time() + 61)
            assert len(crowd.handshakes) == 0
            assert crowd.begun == []

    asyncio.run(run())
