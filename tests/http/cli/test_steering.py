"""Steering a running server from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import OrderFilter
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from tests.http.conftest import Client

Run = Callable[..., Any]


def test_a_server_is_paused_and_resumed(client: Client, run: Run) -> None:
    url = ("--url", client.server.url)

    paused = run("pause", "--reason", "the provider is down", *url)
    shown = run("control", *url)
    resumed = run("resume", "--reason", "it is back", *url)

    assert paused == (0, "Paused: the provider is down, 8 processors.\n", "")
    assert shown == paused
    assert resumed == (0, "Running, 8 processors.\n", "")


@pytest.mark.parametrize(("typed", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("7d", 604800)])
def test_a_pause_may_last_for_a_while(client: Client, run: Run, typed: str, seconds: int) -> None:
    before = client.engine.metrics().uptime_seconds

    control = json.loads(run("pause", "--for", typed, "--url", client.server.url, "--json").out)

    (entry,) = client.engine.audit()
    assert entry.target == f"until {control['paused_until']}"
    until_us = client.engine.control().paused_until_us
    assert until_us is not None
    assert abs(until_us - entry.at_us - seconds * 1e6) < 1e6 * (client.engine.metrics().uptime_seconds - before + 1)


@pytest.mark.parametrize("typed", ["", "soon", "0", "-5", "5 years", "1e9h"])
def test_what_is_no_duration_is_refused(run: Run, typed: str) -> None:
    assert run("pause", "--for", typed).refusal.startswith("--for must be a time such as 90s, 10m, 2h or 7d, not ")


def test_processors_are_set_and_set_back(client: Client, run: Run) -> None:
    url = ("--url", client.server.url)

    assert run("processors", "3", *url) == (0, "Running, 3 processors.\n", "")
    assert run("processors", *url) == (0, "Running, 8 processors.\n", "")
    assert "from 1 to 1000" in run("processors", "0", *url).refusal


def test_queues_are_set_and_shown(client: Client, run: Run) -> None:
    url = ("--url", client.server.url)

    state = json.loads(run("queue", "mail", "--pause", "--concurrency", "5", "--rate", "2.5", *url, "--json").out)
    resumed = json.loads(run("queue", "mail", "--resume", "--rate", "0", *url, "--json").out)
    shown = run("queues", *url)
    listed = json.loads(run("queues", *url, "--json").out)["queues"]

    assert (state["paused"], state["concurrency"], state["rate"]) == (True, 5, 2.5)
    assert (resumed["paused"], resumed["concurrency"], resumed["rate"]) == (False, 5, None)
    assert "mail" in shown.out
    assert [queue["queue"] for queue in listed] == ["default", "mail"]
    assert run("queue", "mail", *url).refusal.startswith("Say what is to change: ")


def test_the_audit_log_is_shown_from_the_database_and_from_the_server(client: Client, run: Run) -> None:
    client.engine.pause(reason="an outage")
    client.engine.submit(make_order("o-1"))
    client.engine.cancel("o-1", "ordered twice")

    from_server = run("audit", "--url", client.server.url, "--limit", "1")
    from_database = run("audit", "--db", client.engine.address, "--json")

    assert "cancel" in from_server.out
    assert "ordered twice" in from_server.out
    assert "an outage" not in from_server.out
    entries = json.loads(from_database.out)["entries"]
    assert [(entry["action"], entry["target"]) for entry in entries] == [("cancel", "o-1"), ("pause", None)]
    assert json.loads(run("audit", "--url", client.server.url, "--json").out) == {"entries": entries}


def test_what_was_done_to_many_orders_is_listed(client: Client, run: Run) -> None:
    client.engine.pause()
    client.engine.submit(make_order("o-1"))
    for wanted in ("o-1", "o-2"):
        client.engine.start_action("cancel", OrderFilter(order_id_prefix=wanted))

    listed = json.loads(run("actions", "--url", client.server.url, "--json").out)["actions"]

    assert [(one["action_id"], one["orders"]) for one in listed] == [
        ("2", "orders where order_id_prefix=o-2"),
        ("1", "orders where order_id_prefix=o-1"),
    ]
    shown = run("actions", "--url", client.server.url, "--limit", "1").out
    assert "cancel" in shown
    assert "o-1" not in shown


def test_a_rehearsal_is_told_from_the_command_line(client: Client, run: Run) -> None:
    url = ("--url", client.server.url)

    told = run(
        "rehearse", "--processors", "16", "--arrivals", "1.3", "--fail", "ProviderDown", "--fail-for", "10m", *url
    )
    as_json = json.loads(run("rehearse", *url, "--json").out)

    assert told.code == 0
    assert told.out.startswith("0 orders are unfinished; 16 processors")
    assert "nobody can tell when it is empty: only 0 attempts were measured" in told.out
    assert (as_json["processors"], as_json["empty"]) == (8, None)
    assert "--fail-for says how long --fail goes on" in run("rehearse", "--fail-for", "10m", *url).refusal
