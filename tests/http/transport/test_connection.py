"""Slow clients: they hold up nobody, are served at their own speed, and not for ever."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine.testing import make_order
from ordermill.http.security.api_keys import Role, create_key
from ordermill.http.transport.buffer_budget import OWN_BYTES, BodyBudget, SharedBudget
from ordermill.http.transport.connection import Connection
from ordermill.http.transport.tuning import allow_connections
from ordermill.http.wire.chunked import ChunkedBody

if TYPE_CHECKING:
    from tests.http.conftest import Client

    from ordermill.engine.testing import Held

    MakeOrder = Callable[..., dict[str, Any]]

THREADS = 4
HEAD = b"Host: localhost\r\nContent-Type: application/json\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(body: bytes, path: bytes = b"/orders", *lines: bytes) -> bytes:
    """A request that sends this."""
    more = b"".join(line + b"\r\n" for line in lines)
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n%b\r\n%b" % (path, HEAD, len(body), more, body)


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """The status and the body of the next answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += (byte := connection.recv(1))
        assert byte, head
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None
    body = b""
    while len(body) < int(length[1]):
        body += (part := connection.recv(int(length[1]) - len(body)))
        assert part
    return int(head.split()[1]), body


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def listen_small(client: Client, stack: ExitStack) -> socket.socket:
    """A connection that takes a few kilobytes at once."""
    connection = stack.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(40)
    connection.connect(client.address)
    return connection


@pytest.fixture
def full(client: Client, order: MakeOrder) -> Client:
    """A client of a server with a thousand orders: a listing of all has more bytes than the buffers on the way take."""
    reply = client.post("/orders/bulk", [order(f"o-{number}") for number in range(1000)])
    assert reply.json["accepted"] == 1000
    client.engine.drain(timeout=60)
    return client


LISTING = b"GET /orders?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_request_may_come_byte_by_byte(client: Client, order: MakeOrder) -> None:
    with client.raw() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(json.dumps(order()).encode()):
            connection.sendall(bytes([byte]))
        status, body = read_answer(connection)
        connection.sendall(HEALTH)

        assert (status, json.loads(body)["order_id"]) == (201, "o-1")
        assert read_answer(connection)[0] == 200


@pytest.mark.parametrize(
    "beginning", [b"", b"G", HEALTH[:-1], post(b"")[:-1], post(b"1234567890")[:-5]], ids=lambda part: str(len(part))
)
def test_requests_that_have_only_begun_do_not_hold_up_others(client: Client, beginning: bytes) -> None:
    with ExitStack() as slow:
        for _ in range(4 * THREADS):
            slow.enter_context(client.raw()).sendall(beginning)

        with client.raw() as busy:
            busy.settimeout(client.server.socket_seconds / 2)  # a thread would wait longer than that
            for _ in range(10):
                busy.sendall(HEALTH)
                assert read_answer(busy)[0] == 200


def test_answers_that_are_not_read_do_not_hold_up_others_and_are_whole_at_last(full: Client) -> None:
    with ExitStack() as stack:
        slow = [listen_small(full, stack) for _ in range(4 * THREADS)]
        for connection in slow:
            connection.sendall(2 * LISTING)

        with full.raw() as busy:
            busy.settimeout(full.server.socket_seconds / 2)
            for _ in range(10):
                busy.sendall(HEALTH)
                assert read_answer(busy)[0] == 200

        for connection in slow[:3]:
            for _ in range(2):
                status, body = read_answer(connection)
                assert (status, len(json.loads(body)["orders"])) == (200, 1000)


def test_an_answer_for_which_there_is_no_memory_is_refused_before_its_first_byte(full: Client) -> None:
    full.server.buffers = full.server.buffers._replace(answers=(answers := SharedBudget(300_000)))
    with ExitStack() as stack:
        slow = listen_small(full, stack)
        slow.sendall(LISTING)
        while answers.free > 100_000:  # until it is answered, and does not read
            full.get("/healthz")

        reply = full.get("/orders?limit=1000")
        assert (reply.status, reply.json["type"]) == (503, "urn:ordermill:problem:busy")
        assert reply.headers["Retry-After"] == "1"
        assert full.get("/orders?limit=10").status == 200  # for which none is needed

        status, body = read_answer(slow)
        assert (status, len(json.loads(body)["orders"])) == (200, 1000)
    assert full.get("/orders?limit=1000").status == 200
    assert answers.free == 300_000


def test_a_caller_that_reads_nothing_leaves_memory_for_the_answers_of_others(
    start_server: Callable[..., Client], tmp_path: Path
) -> None:
    bad, good = (create_key(tmp_path / "keys", [Role.OPERATE]) for _ in range(2))
    client = start_server(keys_file=str(tmp_path / "keys"))
    authorization = f"Bearer {good}"
    for number in range(1000):
        client.engine.submit(make_order(f"o-{number}"))
    client.engine.drain(timeout=60)
    size = len(client.get("/orders?limit=1000", Authorization=authorization).body)
    client.server.buffers = client.server.buffers._replace(answers=(answers := SharedBudget(5 * size // 2)))
    with ExitStack() as stack:
        for _ in range(4):
            listen_small(client, stack).sendall(LISTING[:-2] + b"Authorization: Bearer %b\r\n\r\n" % bad.encode())
        while answers.free > 2 * size:
            client.get("/healthz")

        for _ in range(10):
            reply = client.get("/orders?limit=1000", Authorization=authorization)
            assert (reply.status, len(reply.json["orders"])) == (200, 1000)


def test_an_answer_that_many_get_is_in_memory_once(client: Client) -> None:
    whole = client.get("/docs/swagger.js").body
    client.server.buffers = client.server.buffers._replace(answers=(answers := SharedBudget(len(whole))))
    with ExitStack() as stack:
        for _ in range(20):
            slow = listen_small(client, stack)
            slow.sendall(b"GET /docs/swagger.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert slow.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
        assert client.get("/docs/swagger.js").body == whole
        assert answers.free == 0

        unsent = sum(end._transport.get_write_buffer_size() for end in client.server.connections)
        assert unsent < 20 * 3 * OWN_BYTES
    while client.server.connections:
        client.get("/healthz", Connection="close")
    assert answers.free == len(whole)


LARGE = 2 * OWN_BYTES
"""What a large body takes of the memory that all share."""


def large_bulk(order: dict[str, Any]) -> bytes:
    return post(json.dumps([order]).encode().ljust(LARGE + OWN_BYTES), b"/orders/bulk")


def waiting(client: Client) -> int:
    """How many wait for memory."""
    return sum(connection._bodies.is_waiting for connection in list(client.server.connections))


@pytest.fixture
def bodies(client: Client) -> BodyBudget:
    """Memory for two large bodies: one of them for the one whose turn it is."""
    client.server.buffers = client.server.buffers._replace(bodies=(budget := BodyBudget(2 * LARGE, LARGE)))
    return budget


def test_a_large_body_waits_until_there_is_memory_for_it(client: Client, bodies: BodyBudget, order: MakeOrder) -> None:
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(client.raw()) for _ in range(3))
        first.sendall(large_bulk(order("o-1"))[:-1])
        while bodies.free > LARGE + 1:
            client.get("/healthz")
        second.sendall(large_bulk(order("o-2"))[:-1])
        while bodies.free > 2:
            client.get("/healthz")
        third.sendall(large_bulk(order("o-3")))
        while not waiting(client):
            client.get("/healthz")
        assert client.post("/orders", order("o-4")).status == 201  # for which none is needed

        for connection in (second, first):
            connection.sendall(b" ")
        for connection in (second, third, first):
            status, body = read_answer(connection)
            assert (status, json.loads(body)["accepted"]) == (200, 1)
    assert bodies.free == 2 * LARGE


def test_bodies_that_come_side_by_side_are_all_taken_although_there_is_memory_for_two(
    client: Client, bodies: BodyBudget, order: MakeOrder
) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(client.raw()) for _ in range(8)]
        requests = [large_bulk(order(f"o-{number}")) for number in range(len(connections))]
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request[: OWN_BYTES + LARGE // 2])
        while bodies.free > LARGE:
            client.get("/healthz")
        with ThreadPoolExecutor(len(connections)) as pool:
            for connection, request in zip(connections, requests, strict=True):
                pool.submit(connection.sendall, request[OWN_BYTES + LARGE // 2 :])
            answers = list(pool.map(read_answer, connections))

    assert [(status, json.loads(body)["accepted"]) for status, body in answers] == [(200, 1)] * len(connections)
    assert bodies.free == 2 * LARGE


def test_a_body_for_which_there_is_no_memory_in_time_is_refused(
    client: Client, bodies: BodyBudget, order: MakeOrder
) -> None:
    bodies.take(bodies.free)  # which nobody gives back
    client.server.request_seconds = 0
    with client.raw() as first, client.raw() as second:
        for connection in (first, second):
            connection.sendall(large_bulk(order()))
        for connection in (first, second):
            status, body = read_answer(connection)
            assert (status, json.loads(body)["type"]) == (503, "urn:ordermill:problem:busy")
    bodies.take(-2 * LARGE)
    client.server.request_seconds = 30

    assert client.post_text(b" " * LARGE + json.dumps([order()]).encode(), "/orders/bulk").json["accepted"] == 1


@pytest.mark.parametrize("path", [b"/orders/bulk", b"/nothing"])
def test_a_body_of_a_chunk_for_each_byte_is_read_in_turns(client: Client, order: MakeOrder, path: bytes) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in json.dumps([order()]).encode().ljust(20_000))
    head = b"POST %b HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (path, HEAD)
    taken: list[int] = []
    original = ChunkedBody.take

    def take(body: ChunkedBody, received: bytearray) -> bool:
        before = len(body.content)
        try:
            return original(body, received)
        finally:
            taken.append(len(body.content) - before)

    with pytest.MonkeyPatch.context() as patch, client.raw() as connection:
        patch.setattr(ChunkedBody, "take", take)
        connection.sendall(head)
        with suppress(ConnectionError):  # what nobody wants is not read to its end
            connection.sendall(chunks + b"0\r\n\r\n" + HEALTH)
        status = read_answer(connection)[0]
        assert status == (200 if path == b"/orders/bulk" else 404)
        if status == 200:
            assert read_answer(connection)[0] == 200  # what follows is found

    assert max(taken) == 1_000
    assert sum(taken) == (20_000 if status == 200 else 1_000)


def test_what_a_fast_client_sends_is_read_in_turns(client: Client) -> None:
    turns: list[list[int]] = []
    original = Connection.data_received

    def receive(connection: Connection, data: bytes) -> None:
        if not turns[-1:] or not turns[-1]:
            turns.append([])
            connection._loop.call_soon(turns.append, [])
        turns[-1].append(len(data))
        original(connection, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "data_received", receive)
        with client.raw() as connection:
            connection.sendall(post(b"[".ljust(8 * 1024 * 1024), b"/orders/bulk"))
            assert read_answer(connection)[0] == 400

    assert sum(map(sum, turns)) > 8 * 1024 * 1024
    assert max(sum(part > OWN_BYTES for part in turn) for turn in turns) == 1


def test_a_large_answer_is_sent_in_turns(full: Client) -> None:
    turns: list[list[int]] = []
    original = Connection._send_rest

    def send(connection: Connection) -> None:
        if not turns[-1:] or not turns[-1]:
            turns.append([])
            connection._loop.call_soon(turns.append, [])
        before = len(connection._rest or b"")
        original(connection)
        turns[-1].append(before - len(connection._rest or b""))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "_send_rest", send)
        with full.raw() as connection:
            connection.sendall(LISTING)
            _, body = read_answer(connection)

    assert len(json.loads(body)["orders"]) == 1000
    assert sum(map(sum, turns)) == len(body)
    assert max(map(sum, turns)) == OWN_BYTES


def test_a_client_that_leaves_in_the_middle_leaves_nothing(client: Client) -> None:
    for part in (b"", b"G", HEALTH, post(b"1234567890")[:-5], post(b"1")):
        with client.raw() as connection:
            connection.sendall(part)

    while client.server.connections:
        with client.raw() as connection:
            connection.sendall(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            read_all(connection)


def test_a_client_that_asks_whether_it_may_send_is_told_before_the_rest_is_there(client: Client) -> None:
    head, body = post(b"[]", b"/orders/bulk", b"Expect: 100-continue").split(b"\r\n\r\n")
    with client.raw() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body[:1])
        connection.sendall(body[1:])

        assert read_answer(connection)[0] == 200


def test_those_that_have_waited_longest_make_room_for_new_connections(client: Client) -> None:
    client.server.max_connections = 40
    with ExitStack() as stack:
        first = [stack.enter_context(client.raw()) for _ in range(20)]
        half = stack.enter_context(client.raw())
        half.sendall(HEALTH[:-1])
        client.get("/healthz")  # by then it has come
        for _ in range(40):
            stack.enter_context(client.raw()).sendall(b"")

        assert client.get("/healthz").status == 200
        assert [connection.recv(1) for connection in first] == [b""] * 20
        assert read_all(half) == b""
        assert len(client.server.connections) <= 40


def test_requests_that_wait_leave_threads_for_all_others(held: Client, gate: Held, order: MakeOrder) -> None:
    held.post("/orders", order())
    gate.begun()
    with ThreadPoolExecutor(5 * THREADS) as pool:
        waiting = [pool.submit(held.get, "/orders/o-1?wait=30") for _ in range(5 * THREADS)]
        # As many as may wait do; whoever comes beyond that is told at once where the order is.
        at_once = list(islice(as_completed(waiting, 30), 5 * THREADS - THREADS // 2))

        assert [future.result().json["status"] for future in at_once] == ["Processing"] * len(at_once)
        assert held.post("/orders", order("o-2")).status == 201
        assert held.get("/orders/o-2").status == 200
        gate.release()
        assert {future.result(60).json["status"] for future in set(waiting) - set(at_once)} == {"Completed"}


@pytest.mark.parametrize("how", ["leaves", "sends nothing more"])
def test_a_client_that_leaves_while_it_waits_gives_its_place_back_at_once(
    start_server: Callable[..., Client], gate: Held, order: MakeOrder, how: str
) -> None:
    held = start_server(gate, max_waiting=1)
    held.post("/orders", order())
    gate.begun()
    places = held.application._router.find("GET", "/orders/o-1").route.handler.__self__._waiting

    def wait_until_taken(places_left: int) -> None:
        while places._free != places_left:
            assert held.get("/healthz").status == 200

    with held.raw() as first:
        first.sendall(b"GET /orders/o-1?wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until_taken(0)
        if how == "leaves":
            first.close()
        else:
            first.shutdown(socket.SHUT_WR)
            assert json.loads(read_answer(first)[1])["status"] == "Processing"
        wait_until_taken(1)

    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(held.get, "/orders/o-1?wait=30")
        wait_until_taken(0)
        gate.release()
        assert second.result(60).json["status"] == "Completed"


def test_a_client_that_sends_on_while_it_is_answered_is_not_read_without_bound(
    held: Client, gate: Held, order: MakeOrder
) -> None:
    held.post("/orders", order())
    gate.begun()
    with held.raw() as eager:
        eager.settimeout(0.5)
        eager.sendall(b"GET /orders/o-1?wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sent = 0
        with suppress(TimeoutError):  # it is read no more
            while sent < 100_000_000:
                sent += eager.send(HEALTH * 1000)
        (its_end,) = (it for it in held.server.connections if it._is_unread)
        assert its_end._reader.held < 1_000_000 < sent < 100_000_000

        eager.settimeout(20)
        assert json.loads(read_answer(eager)[1])["status"] == "Processing"  # who sends so much on does not wait
        for _ in range(100):
            assert read_answer(eager)[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "beginning", [b"GET /healthz HTTP/1.1\r\nX: ", post(b"a" * 10_000)[:-10_000]], ids=["head", "body"]
)
def test_a_request_that_takes_too_long_is_refused_though_it_never_pauses(
    start_server: Callable[..., Client], beginning: bytes
) -> None:
    client = start_server(request_seconds=1)
    with client.raw() as connection:
        connection.sendall(beginning)
        connection.settimeout(0.05)
        answer = b""
        while not answer:
            connection.sendall(b"a")
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                continue
        connection.settimeout(20)
        answer += read_all(connection)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"urn:ordermill:problem:request-timeout" in answer
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.slow
def test_an_answer_that_is_never_read_is_given_up(start_server: Callable[..., Client], order: MakeOrder) -> None:
    client = start_server(socket_seconds=1)
    client.post("/orders/bulk", [order(f"o-{number}") for number in range(1000)])
    with ExitStack() as stack:
        listen_small(client, stack).sendall(4 * LISTING)
        client.get("/healthz")
        while client.server.connections:
            client.get("/orders/nobody")


@pytest.mark.slow
def test_two_thousand_idle_connections_are_kept_and_hold_up_nobody(client: Client) -> None:
    allow_connections(5000)
    with ExitStack() as stack:
        idle = [stack.enter_context(client.raw()) for _ in range(2000)]
        for connection in idle:
            connection.sendall(HEALTH)
        assert {read_answer(connection)[0] for connection in idle} == {200}

        assert client.get("/healthz").status == 200
        for connection in idle:
            connection.sendall(HEALTH)
        assert {read_answer(connection)[0] for connection in idle} == {200}
