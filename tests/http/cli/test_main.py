"""The command line, in this process; `serve` has tests of its own in end_to_end."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ordermill.engine import EngineConfig, InvalidConfiguration, OrderEngine, OrderStatus
from ordermill.engine.testing import make_order
from ordermill.http.cli.main import load_function, weights_with_keys
from ordermill.http.config import ServerConfig

Run = Callable[..., Any]
COMMANDS = [
    "serve",
    "load",
    "submit",
    "list",
    "init-db",
    "seed",
    "status",
    "metrics",
    "verify",
    "cancel",
    "retry",
    "settle",
    "backup",
    "keys",
]


@pytest.fixture
def seeded(run: Run) -> Run:
    """Runs commands over orders.db with the sample orders."""
    assert run("seed").code == 0
    return run


def damage(statement: str) -> None:
    """Change the database past the engine."""
    with closing(sqlite3.connect("orders.db")) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize("arguments", [[], *([command] for command in COMMANDS)])
def test_every_command_has_help(run: Run, arguments: list[str]) -> None:
    done = run(*arguments, "--help")

    assert (done.code, done.err) == (0, "")
    assert "Usage: " in done.out
    if not arguments:
        assert all(command in done.out for command in COMMANDS)


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version") == (0, f"ordermill {version('ordermill')}\n", "")


def test_the_help_of_serve_lists_every_setting(run: Run) -> None:
    help_ = run("serve", "--help").out

    for name in (*ServerConfig.__struct_fields__, *EngineConfig.__struct_fields__, "db", "handler", "log_level"):
        assert f"--{name.replace('_', '-')} " in help_
        assert f"ORDERMILL_{name.upper()}" in help_


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("load", ["--url", "--orders", "--concurrency", "--yes", "--key", "--ca", "--json"]),
        ("init-db", ["--db"]),
        ("seed", ["--db"]),
        ("submit", ["--user", "--item", "--total", "--file", "--url", "--key", "--ca", "--json"]),
        ("list", ["--status", "--user", "--limit", "--db", "--url", "--key", "--ca", "--json"]),
        ("status", ["--db", "--url", "--key", "--ca", "--json"]),
        ("metrics", ["--db", "--url", "--key", "--ca", "--json"]),
        ("cancel", ["--reason", "--url", "--key", "--ca", "--json"]),
        ("verify", ["--db", "--json"]),
    ],
)
def test_the_help_of_a_command_lists_its_options(run: Run, command: str, options: list[str]) -> None:
    help_ = run(command, "--help").out

    assert all(f"{option} " in help_ for option in options)


@pytest.mark.parametrize("arguments", [["nothing"], ["status"], ["metrics", "--colour"], ["init-db", "a", "b"]])
def test_a_command_line_that_is_none_is_refused_as_usual(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)

    assert done.code == 2
    assert "Usage: " in done.err
    assert "Traceback" not in done.err


def test_init_db_makes_a_database_that_agrees(run: Run) -> None:
    assert run("init-db", "--db", "new.db") == (0, f"{Path('new.db').resolve()} is ready.\n", "")

    assert run("verify", "--db", "new.db") == (0, "0 orders: everything agrees.\n", "")


def test_init_db_changes_nothing_in_a_database_that_is_there(seeded: Run) -> None:
    assert seeded("init-db").code == 0

    assert seeded("verify").out == "7 orders: everything agrees.\n"


def test_the_database_is_named_by_a_url_or_the_environment_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("seed", "--db", "sqlite:///by-url.db")
    assert Path("by-url.db").exists()
    monkeypatch.setenv("ORDERMILL_DB", "by-url.db")

    assert run("verify").out == "7 orders: everything agrees.\n"
    assert run("verify", "--db", "other.db").code == 1


def test_sample_orders_go_into_an_empty_database_only(run: Run) -> None:
    path = Path("orders.db").resolve()
    assert run("seed") == (0, f"{path} has 7 sample orders.\n", "")

    assert run("seed").refusal == f"{path} has orders already: sample orders go into an empty database only."
    assert run("verify").out == "7 orders: everything agrees.\n"


def test_an_engine_processes_the_sample_orders_that_are_pending(seeded: Run) -> None:
    with OrderEngine("orders.db", handler=lambda _: None) as engine:
        engine.drain(timeout=30)

    metrics = json.loads(seeded("metrics", "--json").out)
    assert metrics["orders_by_status"] == dict.fromkeys(OrderStatus, 0) | {
        "Completed": 4,
        "Failed": 1,
        "Cancelled": 1,
        "Review": 1,
    }
    assert seeded("verify").code == 0


def test_status_tells_where_an_order_is_and_how_it_got_there(seeded: Run) -> None:
    done = seeded("status", "sample-2")

    first, *table = done.out.splitlines()
    assert (done.code, first) == (0, "sample-2: Completed, 349.00 for bob, sku-desk")
    steps = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table if line.startswith("│")]
    assert [step[1:4] for step in steps] == [
        ["", "Pending", "0"],
        ["Pending", "Processing", "1"],
        ["Processing", "Pending", "1"],
        ["Pending", "Processing", "2"],
        ["Processing", "Completed", "2"],
    ]
    assert steps[0][0] == "2026-01-01T00:00:01.000000Z"
    assert steps[2][4] == "TimeoutError: the payment service did not answer; tried again in 1.5 s"


def test_status_as_json_is_the_order_and_its_transitions(seeded: Run) -> None:
    assert json.loads(seeded("status", "sample-4", "--json").out) == {
        "order_id": "sample-4",
        "user_id": "alice",
        "item_ids": ["sku-chair"],
        "total_amount": "129.00",
        "status": "Cancelled",
        "attempts": 0,
        "failures": 0,
        "last_error": None,
        "ready_at": None,
        "created_at": "2026-01-01T00:00:03.000000Z",
        "updated_at": "2026-01-01T00:00:09.000000Z",
        "transitions": [
            {"from": None, "to": "Pending", "at": "2026-01-01T00:00:03.000000Z", "attempt": 0, "reason": "accepted"},
            {
                "from": "Pending",
                "to": "Cancelled",
                "at": "2026-01-01T00:00:09.000000Z",
                "attempt": 0,
                "reason": "cancelled before work began",
            },
        ],
    }


def test_status_shows_ids_and_reasons_as_they_are(run: Run) -> None:
    def fail(_: object) -> None:
        raise ValueError("[bold]loud[/bold] [/nothing] :warning:")

    with OrderEngine("orders.db", handler=fail, max_attempts=1) as engine:
        engine.submit(make_order("is:ok:1")).wait(timeout=60)

    done = run("status", "is:ok:1")

    assert done.code == 0
    assert done.out.startswith("is:ok:1: Failed")
    assert "ValueError: [bold]loud[/bold] [/nothing] :warning:; failed attempt 1 of 1" in done.out


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_status_of_an_order_that_is_not_there(seeded: Run, as_json: list[str]) -> None:
    assert seeded("status", "nobody", *as_json).refusal == "There is no order 'nobody'."


def test_metrics_are_a_table(seeded: Run) -> None:
    done = seeded("metrics")

    rows = dict(
        [cell.strip() for cell in line.split("│")[1:-1]] for line in done.out.splitlines() if line.startswith("│")
    )
    assert done.code == 0
    assert rows == {
        "total orders processed": "2",
        "average processing time": "0.310000 s",
        "orders Pending": "2",
        "orders Processing": "0",
        "orders Completed": "2",
        "orders Failed": "1",
        "orders Cancelled": "1",
        "orders Review": "1",
    }


def test_metrics_as_json_are_those_of_rest(seeded: Run) -> None:
    assert json.loads(seeded("metrics", "--json").out) == {
        "total_orders_processed": 2,
        "average_processing_time_seconds": 0.31,
        "orders_by_status": {
            "Pending": 2,
            "Processing": 0,
            "Completed": 2,
            "Failed": 1,
            "Cancelled": 1,
            "Review": 1,
        },
        "processing_seconds_total": 0.62,
        "processing_seconds_count": 2,
        "late_orders": 0,
    }


DAMAGES = [
    (
        "UPDATE totals SET value = value + 1 WHERE name = 'Completed'",
        "the total Completed is 3, recounted 2",
    ),
    (
        "UPDATE totals SET value = 620001 WHERE name = 'processing_microseconds'",
        "the total processing_microseconds is 620001, recounted 620000",
    ),
    (
        "DELETE FROM transitions WHERE order_id = 'sample-7'",
        "order 'sample-7': is Pending, but its history ends with None",
    ),
]


@pytest.mark.parametrize(("statement", "fault"), DAMAGES)
def test_verify_finds_damage(seeded: Run, statement: str, fault: str) -> None:
    damage(statement)

    done = seeded("verify")

    assert done.code == 1
    assert done.out.splitlines()[0] == fault
    assert done.out.splitlines()[-1].startswith("7 orders: ")
    assert done.out.splitlines()[-1].endswith(" faults.")


def test_verify_as_json_lists_the_faults(seeded: Run) -> None:
    assert json.loads(seeded("verify", "--json").out) == {"orders": 7, "faults": []}
    statement, fault = DAMAGES[0]
    damage(statement)

    done = seeded("verify", "--json")

    assert (done.code, json.loads(done.out)) == (1, {"orders": 7, "faults": [fault]})


@pytest.mark.parametrize("command", [["status", "o-1"], ["metrics"], ["verify"]])
def test_reading_a_database_that_is_not_there_makes_none(run: Run, command: list[str]) -> None:
    line = run(*command).refusal

    path = Path("orders.db").resolve()
    assert line == f"There is no database {path}: create it with `ordermill init-db` or by starting an engine."
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", [["init-db"], ["seed"], ["serve"], ["verify"]])
def test_a_folder_that_is_missing_is_named_and_not_made(run: Run, command: list[str]) -> None:
    line = run(*command, "--db", "missing/orders.db").refusal

    assert line.startswith(f"There is no folder {Path('missing').resolve()}: make it, ")
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", [["status", "o-1"], ["metrics"], ["verify"], ["init-db"], ["seed"], ["serve"]])
def test_a_file_that_is_no_database_is_refused_and_left_alone(run: Run, command: list[str]) -> None:
    Path("orders.db").write_text("my diary\n" * 500)

    assert run(*command).refusal.startswith(f"Cannot use {Path('orders.db').resolve()} as a database: ")
    assert [path.name for path in Path().iterdir()] == ["orders.db"]
    assert Path("orders.db").read_text() == "my diary\n" * 500


@pytest.mark.parametrize("command", [["init-db"], ["seed"], ["serve", "--port", "0"]])
def test_nothing_writes_beside_a_running_engine(run: Run, command: list[str]) -> None:
    with OrderEngine("orders.db", handler=lambda _: None):
        line = run(*command).refusal

    assert line.startswith(f"An engine is running over {Path('orders.db').resolve()} already (process {os.getpid()} ")


@pytest.mark.parametrize("command", [["status", "o-1"], ["metrics"], ["verify"]])
def test_reading_beside_a_running_engine_is_fine(run: Run, command: list[str]) -> None:
    with OrderEngine("orders.db", handler=lambda _: None) as engine:
        engine.submit(make_order()).wait(timeout=60)

        assert run(*command).code == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--threads", "0"], "--threads must be a whole number from 1 to 1000, not '0'."),
        (["--processors", "0"], "--processors must be a whole number from 1 to 1000, not '0'."),
        (["--max-backlog", "0"], "--max-backlog must be a whole number from 1 up, not '0'."),
        (["--log-level", "loud"], "--log-level must be debug, info, warning or error, not 'loud'."),
        (["--port", "99999"], "--port must be a whole number from 0 to 65535, not '99999'."),
        (["--port=8x"], "--port must be a whole number from 0 to 65535, not '8x'."),
        (["--handler-timeout", "0"], "--handler-timeout must be a number above 0 to 1000000000, not '0'."),
        (["--retry-seconds", "nan"], "--retry-seconds must be a number from 0 to 1000000000, not 'nan'."),
        (["--executor", "fibres"], "--executor must be threads, processes or dask://HOST:8786, not 'fibres'."),
        (
            ["--db", "mysql://db/orders"],
            "No support for 'mysql' databases: use a path, sqlite:///orders.db or postgresql://host/database.",
        ),
        (["--handler", "nowhere"], "A handler is named module:function; 'nowhere' is not."),
        (["--probe", "nowhere"], "A probe is named module:function; 'nowhere' is not."),
    ],
)
def test_serve_refuses_bad_settings_in_one_line(run: Run, options: list[str], text: str) -> None:
    assert run("serve", *options).refusal == text
    assert not list(Path().iterdir())


@pytest.mark.parametrize("name", ["", ":", "module", "module:", ":function", "a:b:"])
def test_a_handler_that_is_not_named_module_function_is_refused(name: str) -> None:
    with pytest.raises(InvalidConfiguration):
        load_function(name, "handler")


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = tmp_path / "handlers_of_this_test.py"
    module.write_text("LIMIT = 5\ndef charge(order): return 'charged'\n")
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return module


def test_a_handler_is_imported_from_the_working_directory(handlers: Path) -> None:
    assert load_function(f"{handlers.stem}:charge", "handler")(make_order()) == "charged"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no_such_module:charge", "Cannot import the handler's module 'no_such_module': "),
        ("handlers_of_this_test.py:charge", "Cannot import the handler's module 'handlers_of_this_test.py': "),
        (".handlers_of_this_test:charge", "Cannot import the handler's module '.handlers_of_this_test': "),
        ("handlers_of_this_test:change", "The module 'handlers_of_this_test' has no function 'change'."),
        ("handlers_of_this_test:LIMIT", "The module 'handlers_of_this_test' has no function 'LIMIT'."),
    ],
)
def test_a_handler_that_is_not_there_is_refused(handlers: Path, name: str, text: str) -> None:
    assert handlers.exists()
    with pytest.raises(InvalidConfiguration) as error:
        load_function(name, "handler")

    assert str(error.value).startswith(text)


def test_a_handlers_module_that_is_no_python_is_refused(handlers: Path) -> None:
    handlers.write_text("def charge(order)\n")

    with pytest.raises(InvalidConfiguration, match=r"expected ':' \(handlers_of_this_test.py, line 1\)"):
        load_function("handlers_of_this_test:charge", "handler")


def test_a_key_is_printed_once_and_listed_without_its_secret(run: Run) -> None:
    made = run("keys", "create", "--keys-file", "keys", "--role", "submit", "--role", "read", "--user", "u-1")
    listed = run("keys", "list", "--keys-file", "keys")
    shown = json.loads(run("keys", "list", "--keys-file", "keys", "--json").out)

    key_id, secret = made.out.strip().split("_")[1:]
    assert (made.code, made.err) == (0, "")
    assert key_id in listed.out
    assert "u-1" in listed.out
    assert secret not in listed.out
    assert shown[0].pop("created_at")
    assert shown == [{"id": key_id, "roles": ["read", "submit"], "user": "u-1", "weight": None, "name": None}]


def test_a_key_gives_its_user_a_weight_where_the_setting_says_nothing_of_him(run: Run) -> None:
    run("keys", "create", "--keys-file", "keys", "--role", "submit", "--user", "u-1", "--weight", "3")
    run("keys", "create", "--keys-file", "keys", "--role", "submit", "--user", "u-2", "--weight", "0.5")

    shown = json.loads(run("keys", "list", "--keys-file", "keys", "--json").out)

    assert [one["weight"] for one in shown] == [3, 0.5]
    assert weights_with_keys(None, "keys") == "u-1=3, u-2=0.5"
    assert weights_with_keys("u-2=7, u-3=2", "keys") == "u-1=3, u-2=7, u-3=2"
    assert weights_with_keys("u-3=2", None) == "u-3=2"


def test_a_role_that_there_is_not_is_refused_with_those_there_are(run: Run) -> None:
    done = run("keys", "create", "--keys-file", "keys", "--role", "submit", "--role", "admin")

    assert done.refusal == "--role must be submit, read or operate, not 'admin'."
    assert not Path("keys").exists()


def test_a_key_is_revoked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERMILL_KEYS_FILE", "keys")
    key_id = run("keys", "create", "--role", "operate", "--name", "me").out.split("_")[1]

    assert run("keys", "revoke", key_id).out == f"The key {key_id} is revoked.\n"
    assert run("keys", "revoke", key_id).refusal.startswith(f"There is no key '{key_id}' in keys")
    assert json.loads(run("keys", "list", "--json").out) == []


@pytest.mark.parametrize("arguments", [["create"], ["create", "--keys-file", "keys"], ["list"], ["revoke", "x"]])
def test_keys_need_a_file_and_a_role(run: Run, arguments: list[str]) -> None:
    done = run("keys", *arguments)

    assert done.code == 2
    assert "Missing option" in done.err


def test_a_server_that_others_could_reach_does_not_start_without_keys(run: Run) -> None:
    assert "say --allow-anonymous" in run("serve", "--host", "0.0.0.0", "--port", "0").refusal
    assert not Path("orders.db").exists()


def test_no_command_but_load_pays_for_the_client_that_load_sends_with() -> None:
    seen = "import sys, ordermill.http.cli.main; print('aiohttp' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
