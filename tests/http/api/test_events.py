"""`GET /events`: whoever watches gets each event that it wants once, in order, and costs others next to nothing."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ordermill.engine import Engine, OrderEngine
from ordermill.engine.testing import ManualClock, make_order
from ordermill.http.api import event_feed
from ordermill.http.api.event_feed import EventFeed
from ordermill.http.application import wsgi_application
from ordermill.http.security.api_keys import Role, create_key
from ordermill.store.domain.event import EVERYTHING

if TYPE_CHECKING:
    from tests.http.conftest import Client

STEPS = ["order.pending", "order.processing", "order.completed"]


class Frame(NamedTuple):
    """An event as it comes over the wire."""

    id: int | None
    event: str | None
    data: Any


class Watch:
    """A client that watches, one event after another."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.last_id = ""

    def frame(self) -> Frame | None:
        """Whatever comes next, None at the end."""
        given: dict[str, str] = {}
        while line := self._response.readline().decode():
            if line == "\n":
                self.last_id = given.get("id", self.last_id)
                found = given.get("id")
                data = json.loads(given["data"]) if "data" in given else None
                return Frame(None if found is None else int(found), given.get("event"), data)
            name, _, value = line.rstrip("\n").partition(": ")
            given[name] = value
        return None

    def next(self, name: str = "order.") -> Frame:
        """The next event of a kind; others are passed over."""
        while frame := self.frame():
            if frame.event is not None and frame.event.startswith(name):
                return frame
        raise AssertionError("the stream has ended")

    def rest(self) -> list[Frame]:
        """All events until the end, without the metrics."""
        frames = []
        while frame := self.frame():
            if frame.event not in (None, "metrics"):
                frames.append(frame)
        return frames


@contextmanager
def watch(address: tuple[str, int], query: str = "", **headers: str) -> Iterator[Watch]:
    """Watch, from the moment that the server has answered."""
    with closing(http.client.HTTPConnection(*address, timeout=60)) as connection:
        connection.request("GET", f"/events{query}", headers={k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Watch(response)


def submit(client: Client, *order_ids: str, user_id: str = "u-1") -> None:
    """Have orders completed."""
    for order_id in order_ids:
        client.engine.submit(make_order(order_id, user_id=user_id)).wait(timeout=60)


def test_a_late_order_is_told_of_among_its_steps(client: Client) -> None:
    with watch(client.address) as watching:
        client.engine.submit(make_order("o-1", complete_by=datetime(2001, 1, 1, tzinfo=UTC)))
        late = watching.next("order.late")

    assert late.data["reason"] == "late: it was to be completed by 2001-01-01T00:00:00.000000Z"
    assert late.data["from"] == late.data["to"]
    client.engine.drain(timeout=60)
    with watch(client.address, "?timeout=0", Last_Event_ID="0") as watching:
        frames = watching.rest()
    assert [frame.id for frame in frames] == [1, 2, 3, 4]
    assert sorted(frame.event or "" for frame in frames) == sorted([*STEPS, "order.late"])


def test_what_happens_is_told_with_its_place_in_the_log(client: Client) -> None:
    submit(client, "before")
    with watch(client.address) as watching:
        submit(client, "o-1")
        frames = [watching.next() for _ in range(3)]

    assert [(frame.id, frame.event) for frame in frames] == list(zip([4, 5, 6], STEPS, strict=True))
    history = client.get("/orders/o-1/history").json["transitions"]
    assert [frame.data["at"] for frame in frames] == [step["at"] for step in history]
    assert frames[0].data | {"at": ""} == {
        "order_id": "o-1",
        "user_id": "u-1",
        "from": None,
        "to": "Pending",
        "at": "",
        "attempt": 0,
        "reason": "accepted",
    }


def test_whoever_comes_again_goes_on_after_the_last_event_that_it_has_got(client: Client) -> None:
    submit(client, "a")
    with watch(client.address, "?after=0") as watching:
        first = watching.next()
    submit(client, "b")

    with watch(client.address, "?after=0&timeout=0", Last_Event_ID=str(first.id)) as watching:
        rest = watching.rest()

    assert [frame.id for frame in (first, *rest)] == [1, 2, 3, 4, 5, 6]
    assert [frame.event for frame in (first, *rest)] == STEPS * 2


def test_whoever_is_cut_off_before_its_first_event_can_go_on_too(client: Client) -> None:
    submit(client, "a")
    with watch(client.address) as watching:
        assert watching.frame() == Frame(3, None, None)  # an id without an event: browsers send it again
    submit(client, "b")

    with watch(client.address, "?timeout=0", Last_Event_ID=watching.last_id) as watching:
        assert [frame.id for frame in watching.rest()] == [4, 5, 6]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("user_id=ann", [1, 2, 3]),
        ("status=Completed", [3, 6]),
        ("order_id=b", [4, 5, 6]),
        ("order_id=b&user_id=ann", []),
        ("user_id=bob&status=Pending", [4]),
    ],
)
def test_only_what_is_wanted_is_told_be_it_old_or_new(client: Client, query: str, ids: list[int]) -> None:
    with watch(client.address, f"?{query}") as new:
        submit(client, "a", user_id="ann")
        submit(client, "b", user_id="bob")
        assert [new.next().id for _ in ids] == ids
    with watch(client.address, f"?after=0&timeout=0&{query}") as old:
        assert [frame.id for frame in old.rest()] == ids


@pytest.mark.parametrize("given", ["", "x", "-1", "1.0", "01", "9" * 19])
def test_what_is_no_id_of_an_event_is_refused(client: Client, given: str) -> None:
    reply = client.get("/events", **{"Last-Event-ID": given})

    assert reply.status == 400
    assert reply.json["errors"] == [
        {"pointer": "/header/Last-Event-ID", "detail": "Last-Event-ID must be the id of an event, or 0."}
    ]
    assert client.get(f"/events?after={given}").status == 422


def test_the_metrics_are_told_each_second_without_an_id(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "_METRICS_SECONDS", 0.01)
    submit(client, "a")
    with watch(client.address) as watching:
        first, second = watching.next("metrics"), watching.next("metrics")

    assert (first.id, second.id) == (None, None)
    assert first.data.keys() == client.get("/metrics").json.keys() - {"oldest_seconds", "webhook_lag_seconds"}
    assert second.data["uptime_seconds"] > first.data["uptime_seconds"]
    assert second.data["total_orders_processed"] == 1


def test_a_heartbeat_tells_how_far_the_log_was_seen(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "_HEARTBEAT_SECONDS", 0.01)
    with watch(client.address, "?user_id=nobody") as watching:
        submit(client, "a")
        while watching.last_id != "3":
            assert watching.frame() is not None


def test_a_key_that_is_bound_to_a_user_sees_the_events_of_that_user_alone(
    start_server: Callable[..., Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "_METRICS_SECONDS", 0.01)
    key = {"Authorization": f"Bearer {create_key(tmp_path / 'keys', [Role.READ], 'ann')}"}
    client = start_server(keys_file=str(tmp_path / "keys"))
    submit(client, "b", user_id="bob")
    submit(client, "a", user_id="ann")

    assert client.get("/events?user_id=bob", **key).status == 403
    for query in ("", "&user_id=ann", "&order_id=a"):
        with watch(client.address, f"?after=0&timeout=0.2{query}", **key) as watching:
            frames = [frame for frame in iter(watching.frame, None) if frame.event is not None]
        assert [frame.id for frame in frames] == [4, 5, 6]
    with watch(client.address, "?after=0&timeout=0&order_id=b", **key) as watching:
        assert watching.rest() == []


def test_events_that_were_removed_are_told_as_gone(
    start_server: Callable[..., Client], wait_until: Callable[[Callable[[], object]], None]
) -> None:
    clock = ManualClock()
    client = start_server(clock=clock, retain_seconds=1)
    submit(client, "a")
    clock.advance(11)
    wait_until(lambda: not client.engine.orders())
    submit(client, "b")

    with watch(client.address, "?timeout=0", Last_Event_ID="1") as watching:
        gone, *rest = watching.rest()
    assert gone == Frame(None, "gone", {"after": 1, "removed_through": 3})
    assert [frame.id for frame in rest] == [4, 5, 6]
    with watch(client.address, "?after=0&timeout=0") as watching:
        assert [frame.id for frame in watching.rest()] == [4, 5, 6]  # the oldest that there are


def test_who_knows_more_than_the_log_is_told_that_it_is_another_one(client: Client) -> None:
    submit(client, "a")

    with watch(client.address, "?timeout=0.2&after=99") as watching:
        submit(client, "b")
        gone, *rest = watching.rest()

    assert gone == Frame(None, "gone", {"after": 99, "removed_through": 3})
    assert [frame.id for frame in rest] == [4, 5, 6]


def test_so_many_watch_and_no_more(start_server: Callable[..., Client]) -> None:
    client = start_server(max_watchers=1)
    with watch(client.address):
        reply = client.get("/events")
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        assert reply.json["type"] == "urn:ordermill:problem:too-many-watchers"
        assert client.send("HEAD", "/events").status == 503
    deadline = threading.Event()
    while client.send("HEAD", "/events").status == 503:  # until the server has seen that it has gone
        deadline.wait(0.01)
    with watch(client.address, "?timeout=0"):
        pass


def test_one_reading_of_the_log_serves_all_who_keep_up(
    start_server: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start_server()
    pages: list[int] = []
    original = Engine.event_page

    def event_page(engine: Engine, after: int, *more: Any) -> Any:
        page = original(engine, after, *more)
        pages.extend([after] if page.events else [])
        return page

    monkeypatch.setattr(Engine, "event_page", event_page)
    with ThreadPoolExecutor(20) as threads:

        def follow(ready: threading.Barrier) -> list[int | None]:
            with watch(client.address, "?status=Completed") as watching:
                watching.frame()
                ready.wait()
                return [watching.next().id for _ in range(5)]

        ready = threading.Barrier(21)
        found = [threads.submit(follow, ready) for _ in range(20)]
        ready.wait()
        submit(client, *"abcde")
        seen = [future.result(timeout=60) for future in found]

    assert seen == [[3, 6, 9, 12, 15]] * 20
    assert len(pages) == len(set(pages))


def test_who_does_not_read_holds_up_nobody_and_gets_all_afterwards(
    start_server: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "_KEPT_BYTES", 1)
    client = start_server(max_backlog=10_000)
    orders = [make_order(f"{'o' * 50}-{number}") for number in range(2_000)]
    with socket.create_connection(client.address, timeout=60) as slow, watch(client.address) as quick:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = slow.recv(1)
        quick.frame()
        client.engine.submit_many(orders)
        client.engine.drain(timeout=60)

        assert [quick.next().id for _ in range(6_000)] == list(range(1, 6_001))
        response = http.client.HTTPResponse(_Joined(head, slow), method="GET")  # type: ignore[arg-type]  # as a socket
        response.begin()
        watching = Watch(response)
        assert [watching.next().id for _ in range(6_000)] == list(range(1, 6_001))


class _Joined:
    """A socket of which some was read already."""

    def __init__(self, head: bytes, connection: socket.socket) -> None:
        self._head, self._connection = head, connection

    def makefile(self, mode: str) -> Any:
        """As a socket's."""
        file = self._connection.makefile(mode)
        head, read = self._head, file.readline

        def readline(limit: int = -1) -> bytes:
            nonlocal head
            line, head = head + read(limit), b""
            return line

        file.readline = readline
        return _Readable(file, readline)


class _Readable:
    """A file with a `readline` of its own."""

    def __init__(self, file: Any, readline: Callable[..., bytes]) -> None:
        self._file, self.readline = file, readline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_stream_ends_with_the_engine(client: Client) -> None:
    with watch(client.address, "?after=0") as watching:
        submit(client, "a")
        assert watching.next().id == 1
        client.engine.interrupt_waits()
        client.served.interrupt_waits()
        assert [frame.id for frame in watching.rest()] in ([2, 3], [2], [])


@pytest.mark.engine_at_hand
def test_an_unexpected_error_ends_all_streams_and_the_next_ones_are_served(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with watch(client.address) as watching:
        watching.next("metrics")  # from here on the feed follows the log
        with monkeypatch.context() as broken:
            broken.setattr(event_feed, "_Chunk", None)
            submit(client, "a")
            assert watching.rest() == []
    assert "unexpected error in the feed of events" in caplog.text

    with watch(client.address, Last_Event_ID=watching.last_id) as watching:
        assert [watching.next().id for _ in range(3)] == [1, 2, 3]


def test_the_feed_ends_with_the_last_who_watches_and_begins_anew(start_engine: Callable[..., OrderEngine]) -> None:
    feed = EventFeed(start_engine(), 1)

    for _ in range(2):
        watcher = feed.watch(None, EVERYTHING, wants_metrics=False)
        watcher.next()
        watcher.next()
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "ordermill-events"]
        watcher.close()
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_another_wsgi_server_serves_it_too(
    start_engine: Callable[..., OrderEngine], waitress: Callable[..., tuple[str, int]]
) -> None:
    engine = start_engine()
    address = waitress(wsgi_application(engine, max_watchers=1), threads=2)
    with watch(address, "?after=0&timeout=0.5") as watching:
        engine.submit(make_order("a"))
        assert [frame.event for frame in watching.rest()] == STEPS
