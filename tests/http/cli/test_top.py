"""The overview in a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import OrderEngine
from ordermill.engine.testing import make_order
from ordermill.http.cli import top
from ordermill.http.cli.remote import ServerRefused
from ordermill.http.processes.remote_engine import RemoteEngine
from ordermill.http.security.access import Role
from ordermill.http.security.api_keys import create_key

if TYPE_CHECKING:
    from tests.http.conftest import Client

    from ordermill.engine.testing import Held

Run = Callable[..., Any]


def rows(text: str) -> dict[str, list[str]]:
    """The cells of each row, by the first."""
    cells = ([cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines())
    return {first: rest for first, *rest in (row for row in cells if row)}


def test_the_first_line_says_that_all_is_well(client: Client, run: Run) -> None:
    client.engine.submit_many(make_order(str(number)) for number in range(3))
    client.engine.drain(timeout=60)

    done = run("top", "--once", "--url", client.server.url)

    assert (done.code, done.err) == (0, "")
    first, second, *_ = done.out.splitlines()
    assert first.strip() == "All is well"
    assert second.startswith(f"{client.server.url}, up for ")
    assert second.rstrip().endswith(", 0 of 8 processors at work")
    shown = rows(done.out)
    assert shown["Completed"][0] == "3"
    assert shown["Failed"] == ["0", "-"]
    assert float(shown["last minute"][1]) > 0
    for name in ("queueing", "processing", "end to end", "a transaction"):
        assert all(cell.endswith("ms") or cell.endswith("s") for cell in shown[name])


def test_what_waits_and_what_is_at_work_is_shown(start_server: Callable[..., Client], gate: Held, run: Run) -> None:
    client = start_server(gate, processors=1)
    client.engine.submit(make_order("a"))
    gate.begun()
    client.engine.submit(make_order("b"))

    done = run("top", "--once", "--url", client.server.url)

    assert "1 of 1 processors at work" in done.out
    shown = rows(done.out)
    assert (shown["Pending"][0], shown["Processing"][0]) == ("1", "1")
    assert shown["Pending"][1] != "-"
    gate.release()


def test_the_first_line_says_what_to_look_at(client: Client, run: Run) -> None:
    client.engine.pause(reason="the provider is down")

    lines = run("top", "--once", "--url", client.server.url).out.splitlines()

    assert lines[0].startswith("Orders are taken, but: paused until somebody resumes")
    assert "the provider is down" in lines[0]


def test_the_first_line_says_why_no_orders_are_taken(client: Client, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for engine_type in (OrderEngine, RemoteEngine):
        monkeypatch.setattr(engine_type, "unready_reasons", lambda _: ("the disk is full\x1b[2J",))

    lines = run("top", "--once", "--url", client.server.url).out.splitlines()

    assert lines[0].strip() == "Orders are not taken: the disk is full\\x1b[2J"


def test_a_server_with_keys_wants_one(start_server: Callable[..., Client], run: Run, tmp_path: Any) -> None:
    key = create_key(tmp_path / "keys", [Role.READ])
    client = start_server(keys_file=str(tmp_path / "keys"))

    assert "key" in run("top", "--once", "--url", client.server.url).refusal
    assert run("top", "--once", "--url", client.server.url, "--key", key).code == 0


def test_a_server_that_is_not_there_is_told_once(run: Run) -> None:
    assert run("top", "--url", "http://127.0.0.1:9").refusal.startswith("Cannot reach http://127.0.0.1:9")


def test_an_overview_goes_on_when_the_server_is_gone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> object:
        raise ServerRefused("Cannot reach it.\x07")

    monkeypatch.setattr(top.Server, "readiness", fail)

    assert str(top._look_again(top.Server("http://127.0.0.1:9"))) == "Cannot reach it.\\x07"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0.0, "0.0 ms"),
        (0.0123, "12.3 ms"),
        (1.0, "1.0 s"),
        (90.0, "1.5 min"),
        (5_400.0, "1.5 h"),
        (216_000.0, "2.5 d"),
    ],
)
def test_a_time_is_shown_in_the_unit_that_fits(seconds: float | None, shown: str) -> None:
    assert top._span(seconds) == shown
