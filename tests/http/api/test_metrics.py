"""The metrics call: exact, and in the format that the client prefers."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ordermill.engine import Engine, Order, OrderStatus, Reject, StoreUnavailable
from ordermill.engine.testing import ManualClock
from ordermill.http.api import metrics as metrics_calls
from ordermill.store import queries
from ordermill.store.connect import connect
from ordermill.store.domain.metrics import PROCESSING_MICROSECONDS, TIMED_ORDERS

if TYPE_CHECKING:
    from tests.http.conftest import Client

    from ordermill.engine.testing import Held

    MakeOrder = Callable[..., dict[str, Any]]


def handle(order: Order) -> None:
    """Rejects every third order."""
    if int(order.order_id) % 3 == 0:
        raise Reject("every third")


@pytest.fixture
def at_rest(start_server: Callable[..., Client], order: MakeOrder) -> Client:
    """A client of a server that has 200 Completed and 100 Failed orders, and nothing to do."""
    client = start_server(handle)
    client.post("/orders/bulk", [order(str(number)) for number in range(300)])
    client.engine.drain(timeout=60)
    return client


def recount(client: Client) -> dict[str, int]:
    """What the tables say, counted anew."""
    readers = connect(client.engine.address).open_readers(max_connections=1)
    try:
        with readers.connection_context():
            return dict(queries.recount(readers))
    finally:
        readers.close_all()


def samples(families: Any) -> dict[str, float]:
    """The values of all samples by their names and labels."""
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_at_rest_the_metrics_equal_a_recount_to_the_last_digit(at_rest: Client) -> None:
    counts = recount(at_rest)

    reply = at_rest.get("/metrics")

    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    metrics = reply.json
    assert metrics["total_orders_processed"] == counts["Completed"] == 200
    assert metrics["orders_by_status"] == {status: counts[status] for status in OrderStatus}
    assert metrics["orders_by_status"]["Failed"] == 100
    assert counts[PROCESSING_MICROSECONDS] > 0
    assert metrics["processing_seconds_count"] == counts[TIMED_ORDERS] == 200
    assert metrics["processing_seconds_total"] == counts[PROCESSING_MICROSECONDS] / 1e6
    mean = counts[PROCESSING_MICROSECONDS] / counts[TIMED_ORDERS] / 1e6
    assert metrics["average_processing_time_seconds"] == mean
    assert (metrics["backlog"], metrics["incidents"]) == (0, 0)


def test_the_metrics_are_the_same_after_a_restart(at_rest: Client, start_server: Callable[..., Client]) -> None:
    before = at_rest.get("/metrics").json
    at_rest.engine.stop()

    after = start_server().get("/metrics").json

    assert after["attempts"] == {"begun": 0, "failed": 0, "retries": 0, "failed_by_error": {}}
    of_the_orders = ("total_orders_processed", "average_processing_time_seconds", "orders_by_status", "backlog")
    for name in (*of_the_orders, "processing_seconds_total", "processing_seconds_count"):
        assert after[name] == before[name]


def test_an_acknowledged_order_is_in_the_metrics_at_once(held: Client, gate: Held, order: MakeOrder) -> None:
    for number in range(1, 21):
        held.post("/orders", order(str(number)))

        metrics = held.get("/metrics").json

        assert metrics["backlog"] == number
        by_status = metrics["orders_by_status"]
        assert by_status["Pending"] + by_status["Processing"] == number
    gate.release()


def test_a_new_server_has_processed_nothing(start_server: Callable[..., Client]) -> None:
    metrics = start_server(processors=3).get("/metrics").json

    assert metrics["mailboxes"].keys() == {"intake", "recorder", "pool", "metrics"}
    assert metrics["uptime_seconds"] >= 0
    assert (
        metrics.items()
        >= {
            "total_orders_processed": 0,
            "average_processing_time_seconds": 0.0,
            "orders_by_status": dict.fromkeys(OrderStatus, 0),
            "processing_seconds_total": 0.0,
            "processing_seconds_count": 0,
            "simulated": False,
            "backlog": 0,
            "processors": 3,
            "processors_busy": 0,
            "oldest_seconds": dict.fromkeys(OrderStatus),
            "webhook_lag_seconds": {},
            "incidents": 0,
        }.items()
    )


def test_work_that_is_only_simulated_is_said_to_be(start_server: Callable[..., Client]) -> None:
    client = start_server(None)

    assert client.get("/metrics").json["simulated"] is True
    assert "ordermill_simulated 1.0\n" in client.get("/metrics", Accept="text/plain").body.decode()


def expected_samples(client: Client) -> dict[str, float]:
    """The samples that say what the JSON says."""
    metrics = client.get("/metrics").json
    return {
        "ordermill_orders_processed_total": metrics["total_orders_processed"],
        "ordermill_processing_seconds_count": metrics["processing_seconds_count"],
        "ordermill_processing_seconds_sum": metrics["processing_seconds_total"],
        "ordermill_simulated": metrics["simulated"],
        "ordermill_backlog": metrics["backlog"],
        "ordermill_processors": metrics["processors"],
        "ordermill_incidents_total": metrics["incidents"],
        "ordermill_attempts_total": metrics["attempts"]["begun"],
        "ordermill_failed_attempts_total rejected": metrics["attempts"]["failed"],
        "ordermill_order_end_to_end_seconds_count": metrics["timings"]["end_to_end"]["overall"]["count"],
        "ordermill_commit_seconds_count": metrics["commits"]["count"],
        "ordermill_commit_steps_sum": metrics["commits"]["steps"],
        **{f"ordermill_orders {status}": count for status, count in metrics["orders_by_status"].items()},
    }


def test_prometheus_text_says_the_same(at_rest: Client) -> None:
    reply = at_rest.get("/metrics", Accept="text/plain")

    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = list(parse_text(reply.body.decode()))
    assert all(family.documentation for family in families)
    found = samples(families)
    assert found["ordermill_uptime_seconds"] >= 0
    assert found.items() >= expected_samples(at_rest).items()


def test_openmetrics_says_the_same(at_rest: Client) -> None:
    reply = at_rest.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert reply.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    found = samples(parse_openmetrics(reply.body.decode()))
    assert found["ordermill_uptime_seconds"] >= 0
    assert found.items() >= expected_samples(at_rest).items()


@pytest.mark.sqlite  # whose log has a size
def test_the_metrics_tell_how_long_orders_took_and_how_many_attempts_failed(at_rest: Client) -> None:
    metrics = at_rest.get("/metrics").json

    assert metrics["attempts"] == {
        "begun": 300,
        "failed": 100,
        "retries": 0,
        "failed_by_error": {"rejected": 100},
    }
    timings = metrics["timings"]
    assert timings["relative_error"] == 0.01
    for name, count in (("queueing", 300), ("processing", 200), ("end_to_end", 200)):
        overall = timings[name]["overall"]
        assert timings[name]["last_10_minutes"] == overall
        assert overall["count"] == count
        assert 0 < overall["p50"] <= overall["p95"] <= overall["p99"] < 60
    assert metrics["commits"]["steps"] == 900
    assert metrics["wal_bytes"] > 0
    assert metrics["rates"]["last_minute"]["completed"] > 0


def test_the_oldest_order_of_each_status_is_told_by_its_age(
    start_server: Callable[..., Client], gate: Held, order: MakeOrder
) -> None:
    client = start_server(gate, processors=1)
    client.post("/orders", order("1"))
    gate.begun()
    client.post("/orders", order("2"))

    metrics = client.get("/metrics").json

    ages = metrics["oldest_seconds"]
    assert ages["Completed"] is None
    assert 0 <= ages["Pending"] <= ages["Processing"] < 60
    assert metrics["processors_busy"] == 1
    gate.release()


def test_the_metrics_are_told_while_the_database_does_not_answer(
    at_rest: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> dict[OrderStatus, datetime | None]:
        raise StoreUnavailable(OSError("disk I/O error"))

    monkeypatch.setattr(Engine, "oldest", fail)

    metrics = at_rest.get("/metrics").json

    assert (metrics["oldest_seconds"], metrics["webhook_lag_seconds"]) == (None, None)
    assert metrics["total_orders_processed"] == 200
    assert b"ordermill_oldest_order_age_seconds{" not in at_rest.get("/metrics", Accept="text/plain").body


def test_what_was_done_when_is_told_for_charts(at_rest: Client) -> None:
    for window in ("15m", "day", "week"):
        chart = at_rest.get(f"/metrics/history?window={window}").json

        assert chart["window"] == window
        assert [sum(done) for done in list(zip(*chart["points"], strict=True))[2:5]] == [300, 200, 100]
        assert all(point[0] <= time.time() <= point[0] + 4_000 for point in chart["points"])


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("text/html", "application/json"),
        ("image/png, text/css;q=0.5", "application/json"),
        ("application/json, text/plain;q=0.5", "application/json"),
        ("text/plain;q=0.5, application/json", "application/json"),
        ("text/plain;q=0.4, */*;q=0.8", "application/json"),
        ("text/plain;q=0, */*", "application/json"),
        ("text/plain;q=0", "application/json"),
        ("text/plain;q=x, application/json", "application/json"),
        ("text/plain;q=", "application/json"),
        (";;;,,,=", "application/json"),
        ("text/plain", "text/plain"),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain"),
        ("text/plain, application/json;q=0.9", "text/plain"),
        ("application/json;q=0.1, text/plain", "text/plain"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            "application/openmetrics-text",
        ),
    ],
)
def test_the_format_is_the_one_that_the_client_prefers(client: Client, accept: str, media_type: str) -> None:
    reply = client.get("/metrics", Accept=accept)

    assert (reply.status, reply.headers.get_content_type()) == (200, media_type)


def test_the_metrics_take_no_parameters(client: Client) -> None:
    reply = client.get("/metrics?format=text")

    assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, "/query/format")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("name", ["client", "at_rest"])
def test_promtool_finds_nothing_to_mend(name: str, request: pytest.FixtureRequest) -> None:
    text = request.getfixturevalue(name).get("/metrics", Accept="text/plain").body

    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_late_orders_are_counted(start_server: Callable[..., Client], order: MakeOrder) -> None:
    client = start_server(lambda _: None)
    client.post("/orders/bulk", [order("late", complete_by="2001-01-01T00:00:00Z"), order("plain")])
    client.engine.drain(timeout=60)

    assert client.get("/metrics").json["late_orders"] == 1
    found = samples(parse_text(client.get("/metrics", Accept="text/plain").body.decode()))
    assert found["ordermill_orders_late_total"] == 1


def test_how_right_it_was_when_orders_would_be_over_is_told(
    start_server: Callable[..., Client], gate: Held, order: MakeOrder
) -> None:
    clock = ManualClock()
    client = start_server(lambda given: gate(given) if given.order_id == "last" else None, clock=clock, processors=1)
    client.post("/orders/bulk", [order(str(number)) for number in range(25)])
    client.engine.drain(timeout=60)
    assert client.get("/metrics").json["outlooks"] is None
    assert "ordermill_outlooks" not in client.get("/metrics", Accept="text/plain").body.decode()
    client.post("/orders", order("last"))
    assert gate.begun(60) == "last"

    assert client.get("/orders/last/outlook").json["expected"] is not None
    client.engine.control()  # the recorder has noted what was told
    gate.release()
    client.engine.drain(timeout=60)
    clock.advance(1)
    client.engine.control()
    client.engine.control()  # what came with the one before is done

    assert client.get("/metrics").json["outlooks"] == {"kept": 1.0, "of": 1, "days": 7}
    found = samples(parse_text(client.get("/metrics", Accept="text/plain").body.decode()))
    assert (found["ordermill_outlooks_kept_ratio"], found["ordermill_outlooks_judged"]) == (1.0, 1.0)


def test_prometheus_is_told_how_many_orders_of_each_queue_there_are(
    start_server: Callable[..., Client], gate: Held, order: MakeOrder
) -> None:
    client = start_server(gate, processors=1)
    client.post("/orders", order("1", queue="mail"))
    gate.begun()
    client.post("/orders", order("2", queue="mail"))
    client.post("/orders", order("3"))
    client.send_json("PUT", "/queues/slow", {"paused": True}, {})

    found = samples(parse_text(client.get("/metrics", Accept="text/plain").body.decode()))

    assert {name: value for name, value in found.items() if name.startswith("ordermill_queue_")} == {
        "ordermill_queue_pending default": 1,
        "ordermill_queue_pending mail": 1,
        "ordermill_queue_pending slow": 0,
        "ordermill_queue_processing default": 0,
        "ordermill_queue_processing mail": 1,
        "ordermill_queue_processing slow": 0,
        "ordermill_queue_paused default": 0,
        "ordermill_queue_paused mail": 0,
        "ordermill_queue_paused slow": 1,
    }
    gate.release()


def test_queues_are_counted_anew_after_some_seconds_only(
    start_server: Callable[..., Client], order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start_server()
    client.post("/control/pause", {})

    def pending() -> float:
        text = client.get("/metrics", Accept="text/plain").body.decode()
        return samples(parse_text(text))["ordermill_queue_pending default"]

    monkeypatch.setattr(metrics_calls, "_COUNTED_SECONDS", 3_600.0)
    assert pending() == 0
    client.post("/orders", order("1"))
    assert pending() == 0
