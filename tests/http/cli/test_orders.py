"""Sending, listing and showing orders from the command line."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import OrderEngine, OrderStatus
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from tests.http.conftest import Client

    from ordermill.engine.testing import Held

Run = Callable[..., Any]
LONG = "HTTPSConnectionPool(host='payments.internal.example',port=8443):/v2/charges?order=10001 \u2013 later \U0001f641"


def line(order_id: str, **fields: Any) -> str:
    """An order as REST takes it."""
    return json.dumps({"order_id": order_id, "user_id": "u-1", "item_ids": ["sku-1"], "total_amount": 5} | fields)


def test_an_order_is_sent_from_arguments(client: Client, run: Run) -> None:
    sent = ("o-1", "--user", "ann@example.org", "--item", "a", "--item", "b", "--total", "19.99")

    done = run("submit", *sent, "--url", client.server.url)

    assert done == (0, "o-1 is Pending.\n", "")
    order = client.engine.order("o-1").order
    assert (order.user_id, order.item_ids, order.total_cents) == ("ann@example.org", ("a", "b"), 1999)
    client.engine.drain(timeout=60)
    again = run("submit", *sent, "--url", client.server.url, "--json")
    assert json.loads(again.out)["status"] == "Completed"


def test_an_order_from_arguments_may_have_what_most_have_not(client: Client, run: Run) -> None:
    more = ("--priority", "9", "--not-before", "2026-01-01T01:00:00+01:00", "--metadata", '{"shop": "b"}')
    more = (*more, "--serial-key", "k", "--complete-by", "2099-01-01T01:00:00+01:00")

    done = run("submit", "o-1", "--user", "u", "--item", "a", "--total", "1", *more, "--url", client.server.url)

    assert done == (0, "o-1 is Pending.\n", "")
    order = client.engine.order("o-1").order
    assert (order.priority, order.metadata, order.key) == (9, {"shop": "b"}, "k")
    assert order.not_before == datetime(2026, 1, 1, tzinfo=UTC)
    assert order.complete_by == datetime(2099, 1, 1, tzinfo=UTC)


def test_the_outlook_of_an_order_is_told(start_server: Callable[..., Client], run: Run, gate: Held) -> None:
    client = start_server(lambda order: gate(order) if order.order_id == "first" else None, processors=1)
    client.engine.submit_many([make_order(f"done-{number}") for number in range(25)])
    client.engine.drain(timeout=60)
    client.engine.submit(make_order("first"))
    assert gate.begun(60) == "first"
    client.engine.submit(make_order("o-1", priority=1))

    told = run("outlook", "o-1", "--url", client.server.url)
    as_json = run("outlook", "o-1", "--url", client.server.url, "--json")
    gate.release()

    first, waits, over = told.out.splitlines()
    assert told.code == 0
    assert first == "o-1: Pending, number 1 in the queue"
    assert waits == "waits for processors: 1 orders are in hand of 1 processors, 0 ahead"
    assert re.fullmatch(r"over between 2\S+Z and 2\S+Z, with 80% confidence", over)
    assert json.loads(as_json.out)["position"] == 1
    client.engine.drain(timeout=60)
    assert run("outlook", "o-1", "--url", client.server.url).out.startswith("o-1: Completed\n")


def test_an_order_is_rescheduled(client: Client, run: Run) -> None:
    client.engine.submit(make_order("o-1", not_before=datetime(2099, 1, 1, tzinfo=UTC)))

    done = run("reschedule", "o-1", "--priority", "9", "--reason", "hurry", "--url", client.server.url)

    assert done == (0, "o-1 is Pending.\n", "")
    assert client.engine.order("o-1").order.priority == 9
    by = "2099-02-01T00:00:00Z"
    assert run("reschedule", "o-1", "--complete-by", by, "--url", client.server.url).code == 0
    assert client.engine.order("o-1").order.complete_by == datetime(2099, 2, 1, tzinfo=UTC)
    assert run("reschedule", "o-1", "--no-deadline", "--url", client.server.url).code == 0
    assert client.engine.order("o-1").order.complete_by is None
    assert run("reschedule", "o-1", "--at-once", "--url", client.server.url).code == 0
    assert client.engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (
            [],
            "Say what is to change: --priority, --not-before or --at-once, --complete-by or --no-deadline, or --queue.",
        ),
        (["--at-once", "--not-before", "2099-01-01T00:00:00Z"], "Give either --not-before or --at-once."),
        (["--no-deadline", "--complete-by", "2099-01-01T00:00:00Z"], "Give either --complete-by or --no-deadline."),
    ],
)
def test_a_schedule_that_is_none_is_not_sent(run: Run, arguments: list[str], refusal: str) -> None:
    assert run("reschedule", "o-1", *arguments).refusal.startswith(refusal)


def test_what_is_wrong_with_these_is_told_by_their_options(run: Run) -> None:
    more = ("--priority", "10", "--not-before", "soon", "--metadata", "no JSON")

    refusal = run("submit", "o-1", "--user", "u", "--item", "a", "--total", "1", *more).refusal

    assert [part.split(" must ")[0] for part in refusal.split("; ") if " must " in part] == [
        "--priority:",
        "--not-before:",
        "--metadata:",
    ]


def test_what_is_wrong_with_an_order_is_told_by_the_options_that_were_typed(run: Run) -> None:
    refusal = run("submit", "o 1", "--user", "u 1", "--item", "a", "--item", "b c", "--total", "1.999").refusal

    assert [part.split(" must ")[0] for part in refusal.split("; ")] == ["ORDER_ID:", "--user:", "--item:", "--total:"]


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        ([], "ORDER_ID, --user, --item, --total"),
        (["o-1", "--item", "a"], "--user, --total"),
    ],
)
def test_an_order_that_is_not_whole_is_not_sent(run: Run, arguments: list[str], missing: str) -> None:
    assert run("submit", *arguments).refusal.startswith(f"An order needs {missing}.")


def test_a_file_and_an_order_at_once_are_refused(run: Run) -> None:
    assert run("submit", "o-1", "--file", "orders.json").refusal.startswith("Give either --file, or ORDER_ID ")


FILES = {
    "NDJSON": f"{line('o-1')}\n\n{line('o-2')}\n",
    "NDJSON of Windows": f"\ufeff{line('o-1')}\r\n{line('o-2')}\r\n",
    "an array": f"[{line('o-1')},\n {line('o-2', total_amount='1.50')}\n]",
    "an array of Windows": f"\ufeff[{line('o-1')},\r\n{line('o-2')}]",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_orders_are_sent_from_a_file(client: Client, run: Run, text: str) -> None:
    Path("orders").write_text(text, encoding="utf-8", newline="")

    done = run("submit", "--file", "orders", "--url", client.server.url)

    assert done == (0, "2 accepted, 0 were there already, 0 rejected.\n", "")
    assert {record.order_id for record in client.engine.orders()} == {"o-1", "o-2"}


def test_one_order_over_many_lines_is_sent_too(client: Client, run: Run) -> None:
    Path("order.json").write_text(json.dumps(json.loads(line("o-1")), indent=2), encoding="utf-8")

    assert run("submit", "--file", "order.json", "--url", client.server.url).code == 0
    assert client.engine.order("o-1").order.user_id == "u-1"


def test_orders_come_from_standard_input(client: Client, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(line("o-1").encode())))

    assert run("submit", "--file", "-", "--url", client.server.url).out.startswith("1 accepted")


def test_a_bad_order_of_a_file_keeps_none_of_the_others_out(client: Client, run: Run) -> None:
    Path("orders").write_text(f"{line('o-1')}\n{line('o-2', user_id='')}\nnothing\n{line('o-1')}", encoding="utf-8")

    done = run("submit", "--file", "orders", "--url", client.server.url)
    as_json = run("submit", "--file", "orders", "--url", client.server.url, "--json")

    first, second, last = done.out.splitlines()
    assert first.startswith("order 2, o-2: /user_id: must be ")
    assert second.startswith("order 3, which has no name: The body is not valid JSON")
    assert (done.code, last) == (1, "1 accepted, 1 were there already, 2 rejected.")
    assert as_json.code == 1
    assert {name: json.loads(as_json.out)[name] for name in ("accepted", "duplicates", "rejected")} == {
        "accepted": 0,
        "duplicates": 2,
        "rejected": 2,
    }


def test_very_many_orders_are_sent_in_parts(client: Client, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ordermill.http.cli.orders._SENT_AT_ONCE", 2)
    Path("orders").write_text("\n".join(line(f"o-{number}") for number in range(5)), encoding="utf-8")

    assert run("submit", "--file", "orders", "--url", client.server.url).out.startswith("5 accepted")


def test_a_file_that_is_not_there_is_refused(run: Run) -> None:
    refusal = run("submit", "--file", "nowhere").refusal

    assert refusal == "Cannot read the orders of --file nowhere: No such file or directory."


@pytest.fixture
def shop(client: Client) -> Client:
    """A client of a server that has completed five orders of two users."""
    client.engine.submit_many([make_order(f"o-{number}", user_id=f"u-{number % 2}") for number in range(5)])
    client.engine.drain(timeout=60)
    return client


def sources(shop: Client) -> list[list[str]]:
    """Where orders are listed from."""
    return [["--db", shop.engine.address], ["--url", shop.server.url]]


def test_orders_are_listed_from_a_database_and_from_a_server(
    shop: Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ordermill.http.cli.remote._PAGE", 2)

    def listed(*filters: str) -> list[str]:
        """The orders, which both must list."""
        by_db, by_url = (json.loads(run("list", *where, *filters, "--json").out) for where in sources(shop))
        assert by_db == by_url
        return [order["order_id"] for order in by_db["orders"]]

    assert listed() == ["o-4", "o-3", "o-2", "o-1", "o-0"]
    assert listed("--limit", "3") == ["o-4", "o-3", "o-2"]
    assert listed("--user", "u-1") == ["o-3", "o-1"]
    assert listed("--status", "Completed", "--user", "u-0", "--limit", "1") == ["o-4"]
    assert listed("--status", "Failed") == []


def test_a_list_for_people_has_a_row_for_each(shop: Client, run: Run) -> None:
    for where in sources(shop):
        rows = [row for row in run("list", *where).out.splitlines() if row.startswith("│ o-")]
        assert [row.split("│")[1].strip() for row in rows] == ["o-4", "o-3", "o-2", "o-1", "o-0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--status", "done"],
            "--status must be Pending, Processing, Completed, Failed, Cancelled or Review, not 'done'.",
        ),
        (["--limit", "0"], "--limit must be a whole number from 1 up, not '0'."),
    ],
)
def test_a_filter_that_is_none_is_refused_with_what_there_is(run: Run, arguments: list[str], message: str) -> None:
    assert run("list", *arguments).refusal == message


def test_a_server_tells_the_status_as_its_database_does(shop: Client, run: Run) -> None:
    by_db, by_url = (run("status", "o-1", *where) for where in sources(shop))

    assert by_db.code == 0
    assert by_db == by_url
    assert run("status", "o-9", "--url", shop.server.url).refusal == "There is no order 'o-9'."


def test_a_settlement_to_another_status_is_refused_with_those_there_are(run: Run) -> None:
    assert run("settle", "o-1", "Pending").refusal == "STATUS must be Completed or Failed, not 'Pending'."


def test_reasons_go_into_the_history(held: Client, run: Run) -> None:
    held.engine.submit_many([make_order(f"o-{number}") for number in range(20)])

    assert run("cancel", "o-19", "--reason", "sold out", "--url", held.server.url).code == 0
    assert held.engine.history("o-19")[-1].reason == "sold out"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, LONG),
        ({"COLUMNS": "60"}, LONG),
        ({"PYTHONIOENCODING": "iso-8859-1"}, LONG.encode("iso-8859-1", "backslashreplace").decode("iso-8859-1")),
        ({"PYTHONIOENCODING": "ascii", "COLUMNS": "60"}, LONG.encode("ascii", "backslashreplace").decode()),
    ],
    ids=str,
)
def test_a_long_reason_is_there_whole_in_a_pipe_and_under_any_encoding(
    tmp_path: Path, environment: dict[str, str], shown: str
) -> None:
    def fail(_: object) -> None:
        raise ConnectionError(LONG)

    with OrderEngine(tmp_path / "orders.db", handler=fail, max_attempts=1) as engine:
        assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.FAILED

    for command in (["status", "o-1"], ["list"], ["status", "o-1", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "ordermill.http", *command],
            cwd=tmp_path,
            env={"PATH": "", "PYTHONUTF8": "0", "LC_ALL": "C.UTF-8"} | environment,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        encoding = environment.get("PYTHONIOENCODING", "utf-8")
        text = done.stdout.decode(encoding)
        if "--json" in command:
            assert LONG in json.loads(text)["transitions"][-1]["reason"]
        else:
            side = "\u2502" if "\u2502" in text else "|"
            last_cells = "".join(row.rstrip(f"{side} ").rpartition(side)[2] for row in text.splitlines())
            assert shown.replace(" ", "") in last_cells.replace(" ", "")
