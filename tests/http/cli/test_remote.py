"""What an operator has a running server do, from the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ordermill.engine import OrderStatus, Reject
from ordermill.engine.testing import make_order
from ordermill.http.cli.main import main
from ordermill.http.cli.remote import ServerRefused, move_order
from ordermill.http.keys import Role, create_key

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `ordermill …` and gives its exit code."""

    def invoke(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["ordermill", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return invoke


def test_an_operator_cancels_an_order_that_is_pending(
    start_server: Any, gate: Any, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    client = start_server(gate, processors=1)
    client.engine.submit_many([make_order("first"), make_order("second")])
    gate.wait_until_entered()

    assert run("cancel", "second", "--reason", "ordered twice", "--url", client.server.url) == 0
    assert capsys.readouterr().out == "second is Cancelled.\n"
    assert client.engine.status("second") is OrderStatus.CANCELLED
    assert client.engine.history("second")[-1].reason == "ordered twice"


def test_an_operator_retries_an_order_that_failed(
    start_server: Any, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts: list[str] = []

    def reject_once(order: Any) -> None:
        attempts.append(order.order_id)
        if len(attempts) == 1:
            raise Reject("no")

    client = start_server(reject_once)
    assert client.engine.submit(make_order("o-1")).wait(timeout=5) is OrderStatus.FAILED

    assert run("retry", "o-1", "--url", client.server.url, "--json") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "Pending"
    assert client.engine.wait("o-1", timeout=5) is OrderStatus.COMPLETED


def test_what_the_server_refuses_is_told_in_its_own_words(
    client: Any, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    client.engine.submit(make_order("o-1")).wait(timeout=5)

    assert run("settle", "o-1", "Failed", "--reason", "late", "--url", client.server.url) == 1
    assert "Order 'o-1' is Completed" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nowhere", ""])
def test_a_server_that_cannot_be_reached_is_a_clear_error(url: str) -> None:
    with pytest.raises(ServerRefused, match="Is it running"):
        move_order(url, "o-1", "cancel")


def test_an_order_id_cannot_lead_to_another_path(client: Any) -> None:
    with pytest.raises(ServerRefused, match="no order"):
        move_order(client.server.url, "../orders/bulk?x=", "cancel")


def test_an_operator_sends_a_key_where_one_is_needed(
    start_server: Any, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    operator, reader = create_key(keys, [Role.OPERATE]), create_key(keys, [Role.READ])

    def reject(_: Any) -> None:
        raise Reject("no")

    client = start_server(reject, keys_file=str(keys))
    client.engine.submit(make_order("o-1")).wait(timeout=5)

    assert run("retry", "o-1", "--url", client.server.url) == 1
    assert "Send a key" in capsys.readouterr().err
    assert run("retry", "o-1", "--url", client.server.url, "--key", reader) == 1
    assert "a key with the role operate" in capsys.readouterr().err
    monkeypatch.setenv("ORDERMILL_KEY", operator)
    assert run("retry", "o-1", "--url", client.server.url) == 0
