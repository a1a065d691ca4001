"""The alerts and the dashboard in docs/ load, and ask for nothing that the metrics do not have."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

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


def test_every_alert_reads_what_is_told_and_says_what_to_do(told: dict[str, set[str]]) -> None:
    for rule in alerts():
        assert asked(rule["expr"])
        assert asked(rule["expr"]) <= told.keys(), rule["alert"]
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")


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
