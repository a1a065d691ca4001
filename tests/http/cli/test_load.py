"""The load generator: what it sends, and that it does not call a load good when the server disagrees."""

from __future__ import annotations

import asyncio
import io
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from rich.console import Console

from ordermill.http.cli import load as load_file
from ordermill.http.cli.load import LoadError, LoadReport, render, run_load
from ordermill.http.cli.remote import Server, ServerRefused
from ordermill.http.security.api_keys import Role, create_key
from ordermill.store.domain.lifecycle import OrderStatus

if TYPE_CHECKING:
    from tests.http.conftest import Client

SECONDS_EACH = 0.5


class FakeFacade:
    """Answers like a server that completes every order in half a second; a test changes the answer it is about."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.status = "Completed"
        self.metrics_after: dict[str, Any] = {}
        """What the metrics say wrongly once orders have come."""
        self.refusals: list[web.Response] = []
        """Answers to the first orders that are sent."""
        self.lost: web.Response | None = None
        """The answer to whoever asks for an order."""
        self.is_leaving = False
        """Whether the connection breaks instead."""
        self._transports: list[asyncio.Transport | None] = []
        self.connections = 0
        """How many were opened."""
        self.together: asyncio.Barrier | None = None
        """Holds each order until so many are sent."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    @web.middleware
    async def note_connection(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Count connections by their first requests."""
        self.connections += request.transport not in self._transports
        self._transports.append(request.transport)
        response: web.StreamResponse = await handler(request)
        return response

    async def submit(self, request: web.Request) -> web.Response:
        """POST /orders."""
        if self.together is not None:
            await self.together.wait()
        if self.refusals:
            return self.refusals.pop(0)
        self.orders.append(await request.json())
        return web.json_response({}, status=201)

    async def read(self, request: web.Request) -> web.Response:
        """GET /orders/{order_id}."""
        if self.is_leaving and request.transport is not None:
            request.transport.close()
        return self.lost or web.json_response({"status": self.status})

    async def history(self, request: web.Request) -> web.Response:
        """GET /orders/{order_id}/history, a step on each page."""
        times = ("00:00:00.000000Z", "00:00:01.000000Z", "00:00:01.500000Z")
        statuses = (None, "Pending", "Processing", self.status)
        steps = zip(statuses, statuses[1:], times, strict=False)
        history = [{"from": source, "to": target, "at": f"2026-01-01T{at}"} for source, target, at in steps]
        place = int(request.query.get("cursor", "0"))
        cursor = str(place + 1) if place + 1 < len(history) else None
        return web.json_response({"transitions": history[place : place + 1], "next_cursor": cursor})

    async def metrics(self, _: web.Request) -> web.Response:
        """GET /metrics."""
        count = len(self.orders)
        completed = count if self.status == "Completed" else 0
        right = {
            "total_orders_processed": completed,
            "average_processing_time_seconds": SECONDS_EACH if completed else 0.0,
            "orders_by_status": {status: count if status == self.status else 0 for status in OrderStatus},
            "processing_seconds_total": completed * SECONDS_EACH,
            "processing_seconds_count": completed,
        }
        return web.json_response(right | (self.metrics_after if count else {}))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Serve from a thread."""
        loop = asyncio.new_event_loop()
        application = web.Application(middlewares=[self.note_connection])
        application.add_routes(
            [
                web.post("/orders", self.submit),
                web.get("/orders/{order_id}", self.read),
                web.get("/orders/{order_id}/history", self.history),
                web.get("/metrics", self.metrics),
            ]
        )
        runner = web.AppRunner(application, shutdown_timeout=0)
        loop.run_until_complete(runner.setup())
        loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        self._port = runner.addresses[0][1]
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(runner.cleanup())
            loop.close()


@pytest.fixture
def facade(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFacade]:
    """A fake server that listens, and whose metrics are what they are."""
    monkeypatch.setattr(load_file, "_TOLD_SECONDS", 0)
    fake = FakeFacade()
    with fake.listening():
        yield fake


@pytest.fixture
def load() -> Callable[..., LoadReport]:
    """Runs a small load without showing anything."""

    def run(url: str, orders: int = 6, concurrency: int = 3, timeout_seconds: float = 30) -> LoadReport:
        return run_load(Server(url), orders, concurrency, Console(quiet=True), timeout_seconds)

    return run


Load = Callable[..., LoadReport]
Run = Callable[..., Any]


def problem(status: int, **headers: str) -> web.Response:
    """A refusal."""
    return web.json_response({"title": "No", "detail": "not this one"}, status=status, headers=headers)


def printed(report: LoadReport) -> str:
    """A report as people see it."""
    console = Console(file=io.StringIO(), width=120)
    render(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_load_agrees_with_a_real_server(client: Client, load: Load) -> None:
    host, port = client.address
    report = load(f"http://{host}:{port}", orders=40, concurrency=8)
    assert report.mismatches == []
    assert report.ok
    assert report.sent == report.accepted == 40
    assert report.statuses == {OrderStatus.COMPLETED: 40}
    assert client.engine.metrics().total_orders_processed == 40


def test_a_load_sends_a_key_where_one_is_needed(start_server: Callable[..., Client], tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys", [Role.SUBMIT, Role.READ])
    client = start_server(keys_file=str(tmp_path / "keys"))

    report = run_load(Server(client.server.url, key), 20, 5, Console(quiet=True), 30)

    assert (report.ok, report.accepted) == (True, 20)


def test_as_many_orders_are_in_flight_together_as_there_are_connections(facade: FakeFacade, load: Load) -> None:
    facade.together = asyncio.Barrier(50)
    assert load(facade.url, orders=50, concurrency=50).ok


def test_orders_are_different_from_each_other_and_from_those_of_another_run(facade: FakeFacade, load: Load) -> None:
    load(facade.url)
    load(facade.url)
    assert len({order["order_id"] for order in facade.orders}) == len(facade.orders) == 12


def test_orders_say_what_the_options_say(client: Client, run: Run) -> None:
    given = ["--priority", "7", "--serial-key", "k", "--queue", "mail", "--metadata", '{"shop": 3}']
    times = ["--not-before", "2026-01-01T00:00:00Z", "--complete-by", "2099-01-01T00:00:00Z"]

    done = run("load", "--orders", "3", "--concurrency", "2", "--yes", *given, *times, "--url", client.server.url)

    assert done.code == 0
    orders = client.get("/orders").json["orders"]
    assert len(orders) == 3
    for order in orders:
        assert (order["priority"], order["key"], order["queue"], order["metadata"]) == (7, "k", "mail", {"shop": 3})
        assert order["complete_by"] == "2099-01-01T00:00:00.000000Z"


def test_what_orders_cannot_say_is_refused_before_any_is_sent(run: Run) -> None:
    refused = run("load", "--priority", "12", "--serial-key", "two words", "--url", "http://127.0.0.1:9")

    assert "--priority: " in refused.refusal
    assert "--serial-key: " in refused.refusal


def test_a_request_takes_no_longer_than_the_longest(facade: FakeFacade, load: Load) -> None:
    milliseconds = load(facade.url).milliseconds
    assert list(milliseconds) == ["p50", "p90", "p99", "max"]
    assert 0 < milliseconds["p50"] <= milliseconds["p90"] <= milliseconds["p99"] <= milliseconds["max"]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"total_orders_processed": 5}, "total_orders_processed grew by 5, Completed are 6"),
        (
            {"orders_by_status": dict.fromkeys(OrderStatus, 0) | {"Completed": 7}},
            "the metrics count 7 more orders Completed, seen were 6",
        ),
        (
            {"processing_seconds_total": 3.25, "average_processing_time_seconds": 3.25 / 6},
            "the metrics count 3.250000 s of processing, the histories say 3.000000",
        ),
        ({"average_processing_time_seconds": 9.0}, "average_processing_time_seconds is 9.000000 s"),
        ({"orders_by_status": {}}, "the metrics count 0 more orders Completed, seen were 6"),
    ],
    ids=["total", "status count", "processing time", "average", "status left out"],
)
def test_wrong_metrics_are_a_mismatch(facade: FakeFacade, load: Load, wrong: dict[str, Any], complaint: str) -> None:
    facade.metrics_after = wrong
    report = load(facade.url)
    assert not report.ok
    [mismatch] = report.mismatches
    assert complaint in mismatch
    assert complaint in printed(report)
    assert "the metrics agree" not in printed(report)


def test_a_refused_order_is_counted_with_its_reason(facade: FakeFacade, load: Load) -> None:
    facade.refusals = [problem(422), problem(422)]
    report = load(facade.url)
    assert report.accepted == 4
    assert report.failed == {"422 No: not this one": 2}
    assert not report.ok


def test_an_order_that_should_come_later_is_sent_again(facade: FakeFacade, load: Load) -> None:
    facade.refusals = [problem(503, **{"Retry-After": "0"}), problem(429, **{"Retry-After": "0"})]
    report = load(facade.url)
    assert report.deferred == 2
    assert report.accepted == 6
    assert report.ok
    assert "the metrics agree" in printed(report)


def test_an_order_in_review_is_not_waited_for_but_is_a_mismatch(facade: FakeFacade, load: Load) -> None:
    facade.status = "Review"
    report = load(facade.url)
    assert report.statuses == {OrderStatus.REVIEW: 6}
    assert report.mismatches == ["6 orders wait in Review"]


def test_orders_that_never_end_end_the_load(facade: FakeFacade, load: Load) -> None:
    facade.status = "Pending"
    with pytest.raises(LoadError, match=r"Not done within 0\.1 s"):
        load(facade.url, timeout_seconds=0.1)


def test_a_server_of_another_kind_is_an_error(facade: FakeFacade, load: Load) -> None:
    facade.orders.append({})
    facade.metrics_after = {"orders_by_status": "many"}
    with pytest.raises(LoadError, match="does not answer as an Ordermill server does"):
        load(facade.url)


def test_a_server_that_is_not_running_is_an_error_that_says_what_to_do(load: Load) -> None:
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ServerRefused, match="Start it with `ordermill serve`"):
            load(f"http://127.0.0.1:{bound.getsockname()[1]}")


def test_an_accepted_order_that_is_gone_is_an_error(facade: FakeFacade, load: Load) -> None:
    facade.lost = problem(404)
    with pytest.raises(LoadError, match="was accepted, and is gone: 404 No: not this one"):
        load(facade.url, orders=1)


def test_a_server_that_goes_away_meanwhile_is_an_error_that_says_so(facade: FakeFacade, load: Load) -> None:
    facade.is_leaving = True
    with pytest.raises(ServerRefused, match="Cannot reach"):
        load(facade.url)


def test_a_date_to_come_back_at_is_a_refusal(facade: FakeFacade, load: Load) -> None:
    facade.refusals = [problem(503, **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})]
    assert load(facade.url).failed == {"503 No: not this one": 1}


@pytest.mark.parametrize(
    "url", ["", "nonsense", "localhost:8080", "http://", "http://a:99999", "http://a/b", "ftp://a"]
)
def test_an_address_that_is_none_is_an_error_that_shows_one(load: Load, url: str) -> None:
    with pytest.raises(ServerRefused, match=r"write it like http://127\.0\.0\.1:8080"):
        load(url)


def test_a_load_too_big_for_comparing_times_says_so(facade: FakeFacade, load: Load) -> None:
    report = load(facade.url, orders=1001, concurrency=100)
    assert report.ok
    assert not report.times_compared
    assert "not compared above 1,000 orders" in printed(report)


@pytest.mark.parametrize(("handler", "whose"), [(None, "simulated handler"), (lambda _: None, "server's own handler")])
def test_a_report_says_whose_figures_it_has(start_server: Any, load: Load, handler: Any, whose: str) -> None:
    client = start_server(handler, simulate_seconds=0)

    report = load(client.server.url)

    assert report.simulated is (handler is None)
    assert f"Finishing includes the {whose}" in " ".join(printed(report).split())


def test_no_two_rows_of_a_report_are_called_the_same(facade: FakeFacade, load: Load) -> None:
    rows = [row.split("│")[1].strip() for row in printed(load(facade.url)).splitlines() if row.startswith("│")]

    assert len(rows) == len(set(rows))


def test_made_up_orders_go_to_a_real_handler_only_where_that_was_allowed(
    client: Client, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("load", "--orders", "5", "--concurrency", "5", "--url", client.server.url)

    monkeypatch.setattr(sys, "stdin", io.StringIO())
    refusal = run(*command).refusal
    assert refusal.startswith(f"The server at {client.server.url} has a handler, which would work on 5 made-up orders")
    assert refusal.endswith("say --yes if it may.")
    assert client.engine.orders() == []

    assert run(*command, "--yes").code == 0
    assert len(client.engine.orders()) == 5


@pytest.mark.parametrize(("word", "code", "sent"), [("n", 1, 0), ("y", 0, 5)])
def test_at_a_terminal_it_is_asked(
    client: Client, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, word: str, code: int, sent: int
) -> None:
    terminal = io.StringIO(f"{word}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)

    done = run("load", "--orders", "5", "--concurrency", "5", "--url", client.server.url)

    assert "Send them? [y/N]" in done.out
    assert (done.code, len(client.engine.orders())) == (code, sent)


def test_metrics_that_are_told_a_moment_later_agree(
    start_server: Any, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start_server(None, simulate_seconds=0)
    original, seen = load_file._metrics, []

    async def ask(session: Any) -> Any:
        seen.append(await original(session))
        return seen[0] if len(seen) == 2 else seen[-1]

    monkeypatch.setattr(load_file, "_metrics", ask)
    monkeypatch.setattr(load_file, "_TOLD_SECONDS", 60)

    assert run("load", "--orders", "5", "--concurrency", "5", "--url", client.server.url).code == 0
    assert len(seen) >= 3


def test_a_server_that_simulates_is_not_asked_about(
    start_server: Any, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start_server(None, simulate_seconds=0)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    assert run("load", "--orders", "5", "--concurrency", "5", "--url", client.server.url).code == 0


def test_what_the_server_refuses_is_one_sentence(start_server: Any, tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys", [Role.OPERATE], "u-1")
    client = start_server(keys_file=str(tmp_path / "keys"))

    with pytest.raises(LoadError, match=r"This needs a key that is not bound to a user\.$"):
        run_load(Server(client.server.url, key), 1, 1, Console(quiet=True))


def test_a_connection_that_was_idle_for_long_is_not_used_again(
    facade: FakeFacade, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ordermill.http.cli.load._IDLE_SECONDS", 0.0)

    assert load(facade.url, orders=5, concurrency=1).ok
    # Before and after, the metrics; and of each order its sending, its end and three pages of its history.
    assert facade.connections == 2 + 5 * (2 + 3)
