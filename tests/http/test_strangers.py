"""What somebody without a key, or with one that is good for little, can do to all others: next to nothing."""

from __future__ import annotations

import gc
import json
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.http.api.orders import MAX_PAGE_BYTES
from ordermill.http.api.requests import MAX_EXPLAINED, MAX_ORDER_BYTES
from ordermill.http.security.api_keys import Role, create_key
from ordermill.http.transport.buffer_budget import OWN_BYTES
from ordermill.http.transport.request_reader import SKIPPED_BYTES

if TYPE_CHECKING:
    from tests.http.conftest import Client, Reply

    from ordermill.engine.testing import Held

MEBIBYTE = 1024 * 1024
JSON_LINE = "Content-Type: application/json"


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    """Where the keys are."""
    return tmp_path / "keys"


@pytest.fixture
def guarded(start_server: Callable[..., Client], keys_file: Path) -> Client:
    """A client of a server with keys, without one."""
    create_key(keys_file, [Role.OPERATE])
    return start_server(keys_file=str(keys_file))


def head(method: str, path: str, *lines: str) -> bytes:
    """The head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def read_status(connection: socket.socket) -> int:
    """The status of the next answer."""
    line = b""
    while not line.endswith(b"\r\n"):
        line += (byte := connection.recv(1))
        assert byte, line
    return int(line.split()[1])


@pytest.fixture
def garbage(collect: Callable[[], None]) -> Callable[[], AbstractContextManager[list[object]]]:
    """Finds what only the collector of cycles would have freed, of what is made meanwhile."""

    @contextmanager
    def watch() -> Iterator[list[object]]:
        gc.disable()
        found: list[object] = []
        try:
            collect()
            known = set(map(id, gc.get_objects()))  # an earlier test's may still be on its way out
            gc.set_debug(gc.DEBUG_SAVEALL)
            yield found
            collect()
            found += [thing for thing in gc.garbage if id(thing) not in known]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    return watch


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/orders", 401), ("POST", "/orders/bulk", 401), ("POST", "/nothing", 404), ("PATCH", "/orders", 405)],
)
@pytest.mark.parametrize("framing", ["Content-Length: 10000000", "Transfer-Encoding: chunked"])
def test_nobody_is_asked_for_a_body_that_nobody_wants(
    guarded: Client, method: str, path: str, status: int, framing: str
) -> None:
    with guarded.raw() as connection:
        connection.sendall(head(method, path, JSON_LINE, framing, "Expect: 100-continue"))

        assert read_status(connection) == status


@pytest.mark.parametrize(("path", "status"), [("/orders/bulk", 401), ("/nothing", 404)])
def test_a_body_that_nobody_wants_is_not_kept(guarded: Client, path: str, status: int) -> None:
    free = guarded.server.buffers.bodies.free
    with guarded.raw() as connection:
        connection.sendall(head("POST", path, JSON_LINE, "Content-Length: 10000000"))
        assert read_status(connection) == status  # long before the body is there
        with suppress(ConnectionError):
            connection.sendall(b" " * 1_000_000)
            (its_end,) = guarded.server.connections
            assert its_end._reader.held <= OWN_BYTES
        assert guarded.server.buffers.bodies.free == free


def test_chunks_that_nobody_wants_take_no_memory_that_is_for_bodies(guarded: Client) -> None:
    buffers = guarded.server.buffers
    bodies, received = buffers.bodies.free, buffers.received.free
    with guarded.raw() as connection:
        connection.sendall(head("POST", "/nothing", "Transfer-Encoding: chunked") + b"f000\r\n" + b" " * 0xF000)
        while (buffers.received.free, buffers.bodies.free) == (received, bodies):
            guarded.get("/healthz")

        assert buffers.bodies.free == bodies


def test_a_short_body_that_nobody_wants_does_not_end_the_connection(guarded: Client) -> None:
    with guarded.raw() as connection:
        for _ in range(3):
            connection.sendall(head("POST", "/nothing", f"Content-Length: {SKIPPED_BYTES}"))
            connection.sendall(b" " * SKIPPED_BYTES)
            assert read_status(connection) == 404
            assert b"Connection: close" not in connection.recv(65536)


def test_heads_that_are_never_whole_are_held_only_as_far_as_memory_goes(client: Client) -> None:
    part = head("GET", "/", *["X: " + "a" * 1_000] * 30)[:-4]
    free = client.server.buffers.received.free
    with client.raw() as connection:
        connection.sendall(part)
        while client.server.buffers.received.free == free:
            client.get("/healthz")
        assert client.server.buffers.received.free == free - (len(part) - OWN_BYTES)
        client.server.buffers.received.take(client.server.buffers.received.free)

        with client.raw() as other:
            other.sendall(part)
            assert read_status(other) == 503
        assert client.get("/healthz").status == 200


@pytest.mark.parametrize("status", [200, 401, 404, 422], ids=str)
def test_nothing_of_an_answered_request_waits_for_the_collector(
    start_server: Callable[..., Client],
    keys_file: Path,
    garbage: Callable[[], AbstractContextManager[list[object]]],
    status: int,
) -> None:
    key = create_key(keys_file, [Role.OPERATE])
    guarded = start_server(keys_file=str(keys_file))
    content = b"[" + b" " * 100_000 + (b"" if status == 422 else b"]")
    path = {404: "/nothing", 422: "/orders/bulk?a=b"}.get(status, "/orders/bulk")
    lines = [JSON_LINE, f"Content-Length: {len(content)}"]
    lines += [f"Authorization: Bearer {key}"] * (status in (200, 422))
    with guarded.raw() as connection, garbage() as found:
        for _ in range(5):
            connection.sendall(head("POST", path, *lines) + content)
            if status in (401, 404):  # which end the connection where the body is long
                with guarded.raw() as once:
                    once.sendall(head("POST", path, *lines))
                    assert read_status(once) == status
                break
            assert read_status(connection) == status
            connection.recv(65536)

    ours = [thing for thing in found if type(thing).__module__.startswith("ordermill")]
    large = [thing for thing in found if isinstance(thing, bytes | bytearray) and len(thing) > 50_000]
    assert (ours, large) == ([], [])


def test_nothing_of_a_head_that_ends_too_early_waits_for_the_collector(
    client: Client, garbage: Callable[[], AbstractContextManager[list[object]]]
) -> None:
    part = head("GET", "/", *["X: " + "a" * 1_000] * 30)[:-4]
    with garbage() as found:
        for _ in range(5):
            with client.raw() as connection:
                connection.sendall(part)
                connection.shutdown(socket.SHUT_WR)
                assert read_status(connection) == 400
                while connection.recv(65536):
                    pass
        while client.server.connections:
            client.get("/healthz", Connection="close")

    assert [thing for thing in found if type(thing).__module__.startswith("ordermill")] == []


def test_bodies_one_after_the_other_do_not_add_up(client: Client, order: Callable[..., dict[str, Any]]) -> None:
    content = json.dumps([order()]).encode().ljust(4 * MEBIBYTE)
    client.post_text(content, "/orders/bulk")
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(10):
            assert client.post_text(content, "/orders/bulk").status == 200
        current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()

    assert current < 4 * MEBIBYTE


def faulty(client: Client, text: bytes) -> Reply:
    """The answer to orders that are none."""
    return client.post_text(text, "/orders/bulk", "application/x-ndjson")


def test_what_is_told_of_faulty_orders_is_bounded(client: Client) -> None:
    line = b"{" + b",".join(b'"%x":1' % number for number in range(1_500)) + b"}\n"
    reply = faulty(client, line * 1_000)

    results = reply.json["results"]
    assert len(reply.body) < MEBIBYTE
    assert [result["outcome"] for result in results] == ["rejected"] * 1_000
    assert results[0]["detail"].count("unknown field") == 20
    assert "1484 more faults" in results[0]["detail"]
    assert results[MAX_EXPLAINED - 1]["detail"] == results[0]["detail"]
    assert results[MAX_EXPLAINED]["detail"] == "order: is not valid; only the first 100 such are explained"


def test_a_line_that_is_longer_than_any_order_is_not_looked_into(client: Client) -> None:
    reply = faulty(client, b'{"order_id": "o-1", "a":' + b"[" * MAX_ORDER_BYTES + b"\n" + b'{"order_id": "o-2"}')

    first, second = reply.json["results"]
    assert first["detail"] == f"order: has {MAX_ORDER_BYTES + 24} bytes; {MAX_ORDER_BYTES} are taken at the most"
    assert "missing" in second["detail"]


def test_a_page_has_only_so_many_bytes_and_leads_to_the_next(
    client: Client, order: Callable[..., dict[str, Any]]
) -> None:
    sent = [order(f"o-{number}", item_ids=["x" * 64] * 100) for number in range(400)]
    client.post("/orders/bulk", sent)
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        reply = client.get("/orders?limit=1000" + (f"&cursor={cursor}" if cursor else ""))
        assert len(reply.body) < 2 * MAX_PAGE_BYTES
        seen += (found["order_id"] for found in reply.json["orders"])
        cursor = reply.json["next_cursor"]

    assert seen == [found["order_id"] for found in reversed(sent)]


def test_one_key_does_not_take_all_places_to_wait(
    start_server: Callable[..., Client], keys_file: Path, gate: Held, order: Callable[..., dict[str, Any]]
) -> None:
    greedy, modest = (create_key(keys_file, [Role.OPERATE]) for _ in range(2))
    client = start_server(gate, keys_file=str(keys_file), max_waiting=4)
    client.send_json("POST", "/orders", order(), {"Authorization": f"Bearer {greedy}"})

    def wait(key: str) -> socket.socket:
        connection = socket.create_connection(client.address, timeout=60)
        connection.sendall(head("GET", "/orders/o-1?wait=30", f"Authorization: Bearer {key}"))
        return connection

    crowd = [wait(greedy) for _ in range(10)]
    assert sum(read_status(connection) == 200 for connection in crowd[2:]) == 8  # which are answered at once
    last = wait(modest)
    client.get("/healthz")
    gate.release()

    assert [read_status(connection) for connection in (*crowd[:2], last)] == [200, 200, 200]
    assert b'"Completed"' in last.recv(65536)
    for connection in (*crowd, last):
        connection.close()


def test_one_key_does_not_take_all_places_to_watch(start_server: Callable[..., Client], keys_file: Path) -> None:
    greedy, modest = (create_key(keys_file, [Role.READ], user=user) for user in ("mallory", "alice"))
    client = start_server(keys_file=str(keys_file), max_watchers=4)

    with ExitStack() as stack:

        def watch(key: str) -> int:
            connection = stack.enter_context(client.raw())
            connection.sendall(head("GET", "/events", f"Authorization: Bearer {key}"))
            return read_status(connection)

        assert [watch(greedy) for _ in range(5)] == [200, 200, 503, 503, 503]
        assert [watch(modest) for _ in range(2)] == [200, 503]


def test_who_sends_on_behind_a_wait_and_hangs_up_keeps_no_place(
    start_server: Callable[..., Client], gate: Held, order: Callable[..., dict[str, Any]]
) -> None:
    client = start_server(gate, max_waiting=1)
    client.post("/orders", order())
    with client.raw() as connection:
        connection.sendall(head("GET", "/orders/o-1?wait=30") + head("GET", "/healthz") * 2_000)
        assert read_status(connection) == 200

    with client.raw() as connection:
        connection.sendall(head("GET", "/orders/o-1?wait=30"))
        client.get("/healthz")
        gate.release()
        assert read_status(connection) == 200
        assert b'"Completed"' in connection.recv(65536)
