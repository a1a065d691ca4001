"""The alerts and the dashboard in docs/ load, and ask for nothing that the metrics do not have."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from shutil import which
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ordermill.engine import Order, Reject

if TYPE_CHECKING:
    from tests.http.conftest import Client

DOCS = Path(__file__).parents[2] / "docs"

needs_promtool = pytest.mark.skipif(which("promtool") is None, reason="promtool is not installed")


def reject(_: Order) -> None:
    """A handler."""
    raise Reject("nothing to pay")


@pytest.fixture
def told(start_server: Callable[..., Client], order: Callable[..., dict[str, Any]]) -> dict[str, set[str]]:
    """The names of all samples that a server tells, each with the names of its labels."""
    client = start_server(reject)
    client.post("/orders", order("o-1"))
    client.engine.drain(timeout=60)
    client.post("/webhooks", {"url": "https://shop.example/"})
    text = client.get("/metrics", Accept="text/plain").body.decode()
    return {sample.name: set(sample.labels) for family in parse_text(text) for sample in family.samples}


@pytest.fixture
def dashboard() -> dict[str, Any]:
    """What Grafana imports."""
    loaded: dict[str, Any] = json.loads((DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))
    return loaded


def alerts() -> list[dict[str, Any]]:
    """The rules of all alerts."""
    groups = yaml.safe_load((DOCS / "prometheus-alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    """What the panels ask Prometheus for."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")


def asked(query: str) -> set[str]:
    """The names of the samples that a query reads."""
    return set(re.findall(r"\bordermill_\w+", query))


def check(path: Path) -> None:
    """Have promtool check a file of rules."""
    checked = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.sqlite  # whose log is told of too
def test_every_alert_reads_what_is_told_and_says_what_to_do(told: dict[str, set[str]]) -> None:
    for rule in alerts():
        assert asked(rule["expr"])
        assert asked(rule["expr"]) <= told.keys(), rule["alert"]
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")


@pytest.mark.sqlite  # likewise
def test_every_panel_reads_what_is_told(dashboard: dict[str, Any], told: dict[str, set[str]]) -> None:
    found = set().union(*map(asked, queries(dashboard)))

    assert len(found) > 20
    assert found <= told.keys()


def test_the_panels_have_titles_and_places_of_their_own(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    places = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]

    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    assert len({panel["title"] for panel in panels}) == len({panel["id"] for panel in panels}) == len(panels)


@needs_promtool
def test_promtool_takes_the_alerts() -> None:
    check(DOCS / "prometheus-alerts.yml")


@needs_promtool
def test_promtool_takes_the_queries_of_the_dashboard(dashboard: dict[str, Any], tmp_path: Path) -> None:
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries(dashboard))]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    check(path)


class Case(NamedTuple):
    """What an alert is to make of some series, one sample a minute."""

    alert: str
    series: dict[str, str]
    """By their names and labels, as promtool writes them."""
    silent: int
    """When it does not fire yet, in minutes."""
    fires: int | None
    """When it does; None where it never does."""
    summary: str = ""
    """What it says then."""
    labels: Mapping[str, str] = MappingProxyType({})
    """Its labels, besides `instance`, `job` and the severity."""


OF = 'instance="i",job="o"'
WAITS = f'ordermill_oldest_order_age_seconds{{status="Pending",{OF}}}'
PAUSED = f"ordermill_paused{{{OF}}}"
BACKLOG = f"ordermill_backlog{{{OF}}}"
QUEUE_WAITS = {
    f'ordermill_queue_pending{{queue="mail",{OF}}}': "7x60",
    f'ordermill_queue_processing{{queue="mail",{OF}}}': "0x60",
}
STILL = "orders of the queue mail wait, and none is at work"
CASES = [
    Case("OrdermillIsGone", {"up": "0x10"}, 1, 3, "Ordermill tells no metrics"),
    Case("OrdermillIsGone", {f"ordermill_uptime_seconds{{{OF}}}": "0+60x10"}, 9, None),
    Case(
        "OrdermillOrdersWaitLong",
        {WAITS: "0+60x60", PAUSED: "0x60"},
        *(19, 22, "An order has been waiting for 22m 0s", {"status": "Pending"}),
    ),
    Case("OrdermillOrdersWaitLong", {WAITS: "0+60x60", PAUSED: "1x60"}, 22, None),
    Case("OrdermillBacklogGrows", {BACKLOG: "0+100x60"}, 20, 30, "3000 orders are unfinished, and they become more"),
    Case("OrdermillBacklogGrows", {BACKLOG: "3000x60"}, 30, None),
    Case(
        "OrdermillAttemptsFail",
        {
            f'ordermill_failed_attempts_total{{error="ProviderDown",{OF}}}': "0+15x20",
            f'ordermill_failed_attempts_total{{error="rejected",{OF}}}': "0+5x20",
            f"ordermill_attempts_total{{{OF}}}": "0+100x20",
        },
        *(3, 10, "20% of the attempts fail"),
    ),
    Case(
        "OrdermillOrdersFail",
        {f"ordermill_orders_failed_total{{{OF}}}": "0x5 1x20"},
        4,
        8,
        "Orders have failed for good",
    ),
    Case(
        "OrdermillOrdersAreLate",
        {f"ordermill_orders_late_total{{{OF}}}": "0x5 1x20"},
        *(4, 8, "Orders were not completed in time"),
    ),
    Case(
        "OrdermillQueueIsPaused",
        {f'ordermill_queue_paused{{queue="mail",{OF}}}': "1x60"},
        *(20, 31, "The queue mail has been paused for half an hour", {"queue": "mail"}),
    ),
    Case("OrdermillQueueStandsStill", QUEUE_WAITS, 5, 11, f"7 {STILL}", {"queue": "mail"}),
    Case("OrdermillQueueStandsStill", QUEUE_WAITS | {PAUSED: "1x60"}, 20, None),
    Case("OrdermillQueueStandsStill", QUEUE_WAITS | {f'ordermill_queue_paused{{queue="mail",{OF}}}': "1x60"}, 20, None),
    Case(
        "OrdermillOrdersNeedReview",
        {f'ordermill_orders{{status="Review",{OF}}}': "2x60"},
        *(10, 16, "2 orders wait for a decision", {"status": "Review"}),
    ),
    Case("OrdermillIsPaused", {PAUSED: "1x60"}, 20, 31, "Ordermill has been paused for half an hour"),
    Case(
        "OrdermillIsSlow",
        {
            f'ordermill_order_end_to_end_seconds_bucket{{le="{le}",{OF}}}': values
            for le, values in {"60": "0x60", "130": "0+60x60", "+Inf": "0+60x60"}.items()
        },
        *(5, 20, "Orders take 2m 6s from acceptance to the end"),
    ),
    Case(
        "OrdermillCommitsAreSlow",
        {
            f'ordermill_commit_seconds_bucket{{le="{le}",{OF}}}': values
            for le, values in {"0.5": "0x60", "1": "0+60x60", "+Inf": "0+60x60"}.items()
        },
        *(5, 20, "Transactions take 975ms"),
    ),
    Case(
        "OrdermillHandlersHang",
        {f"ordermill_abandoned_handlers{{{OF}}}": "3x20"},
        *(3, 6, "3 handlers have overrun their time and run on"),
    ),
    Case(
        "OrdermillLogIsLarge",
        {f"ordermill_wal_bytes{{{OF}}}": f"{512 * 2**20}x30"},
        *(5, 11, "The write-ahead log has 512MiB"),
    ),
    Case(
        "OrdermillWebhookIsBehind",
        {f'ordermill_webhook_lag_seconds{{webhook_id="wh_1",{OF}}}': "600x20"},
        *(3, 6, "A webhook is 10m 0s behind", {"webhook_id": "wh_1"}),
    ),
    Case(
        "OrdermillHasIncidents",
        {f"ordermill_incidents_total{{{OF}}}": "0x5 1x20"},
        *(4, 8, "An actor has met with an unexpected error"),
    ),
]


def tried(case: Case, rule: dict[str, Any]) -> dict[str, Any]:
    """A case, as promtool writes it."""
    of = {} if "absent" in rule["expr"] else {"instance": "i", "job": "o"}
    fired = {
        "exp_labels": of | dict(case.labels) | rule["labels"],
        "exp_annotations": rule["annotations"] | {"summary": case.summary},
    }
    looks: dict[int | None, list[Any]] = {case.silent: [], case.fires: [fired]}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minutes}m", "alertname": case.alert, "exp_alerts": expected}
            for minutes, expected in looks.items()
            if minutes is not None
        ],
    }


@needs_promtool
def test_every_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    rules = {rule["alert"]: rule for rule in alerts()}
    path = tmp_path / "cases.yml"
    tests = [tried(case, rules[case.alert]) for case in CASES]
    path.write_text(yaml.safe_dump({"rule_files": [str(DOCS / "prometheus-alerts.yml")], "tests": tests}))

    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert {case.alert for case in CASES if case.fires} == rules.keys()
