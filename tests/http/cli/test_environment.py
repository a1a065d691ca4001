"""Environment variables: a slip in a name is refused, and what Kubernetes sets is let be."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]

SERVICE = {
    "ORDERMILL_SERVICE_HOST": "10.96.0.12",
    "ORDERMILL_SERVICE_PORT": "8080",
    "ORDERMILL_SERVICE_PORT_HTTP": "8080",
    "ORDERMILL_PORT": "tcp://10.96.0.12:8080",
    "ORDERMILL_PORT_8080_TCP": "tcp://10.96.0.12:8080",
    "ORDERMILL_PORT_8080_TCP_PROTO": "tcp",
    "ORDERMILL_PORT_8080_TCP_PORT": "8080",
    "ORDERMILL_PORT_8080_TCP_ADDR": "10.96.0.12",
    "ORDERMILL_DB_SERVICE_HOST": "10.96.0.13",
    "ORDERMILL_DB_PORT": "udp://10.96.0.13:5432",
    "ORDERMILL_DB_PORT_5432_UDP_ADDR": "10.96.0.13",
}
"""What Kubernetes sets for the services `ordermill` and `ordermill-db`."""


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ORDERMILL_PROCESORS", "ORDERMILL_PROCESSORS"),
        ("ORDERMILL_MAX_BACK_LOG", "ORDERMILL_MAX_BACKLOG"),
        ("ORDERMILL_KEYFILE", "ORDERMILL_KEYS_FILE"),
        ("ORDERMILL_processors", "ORDERMILL_PROCESSORS"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "init-db", "list"])
def test_a_variable_that_sets_nothing_is_refused_with_the_nearest_that_does(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, name: str, nearest: str
) -> None:
    monkeypatch.setenv(name, "3")

    assert run(command).refusal.startswith(f"{name} sets nothing: do you mean {nearest}? ")


def test_a_variable_far_from_all_is_refused_as_well(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERMILL_QQQ", "3")

    assert run("init-db").refusal.startswith("ORDERMILL_QQQ sets nothing: do you mean ORDERMILL_")


def test_a_variable_of_another_command_is_no_mistake(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERMILL_KEY", "om_1_2")
    monkeypatch.setenv("ORDERMILL_PROCESSORS", "3")

    assert run("init-db").code == 0


def test_what_kubernetes_sets_for_services_is_ignored(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICE.items():
        monkeypatch.setenv(name, value)

    assert run("init-db").code == 0
    # A port that is no number would have been refused.
    assert run("serve", "--handler", "nowhere").refusal == "A handler is named module:function; 'nowhere' is not."
    assert "ORDERMILL_PORT" not in os.environ


def test_a_port_that_is_none_is_refused_all_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERMILL_PORT", "tcp:8080")

    assert run("serve").refusal == "ORDERMILL_PORT must be a whole number from 0 to 65535, not 'tcp:8080'."


def test_what_scripts_and_tests_read_is_let_be(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERMILL_PY", "/usr/bin/python3")
    monkeypatch.setenv("ORDERMILL_TEST_ANYTHING", "1")

    assert run("init-db").code == 0


def test_a_flag_is_true_or_false(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERMILL_ALLOW_ANONYMOUS", "perhaps")

    assert run("serve").refusal == "ORDERMILL_ALLOW_ANONYMOUS must be true or false, not 'perhaps'."
