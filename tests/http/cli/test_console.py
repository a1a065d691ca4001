"""What others have written is shown by the commands, and is no command to the terminal."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import Order, OrderEngine, Reject
from ordermill.engine.testing import make_order
from ordermill.http.cli.console import out

if TYPE_CHECKING:
    from tests.http.conftest import Client

Run = Callable[..., Any]

HOSTILE = "paid\x1b]0;owned\x07\x1b[2K\r\x9b1A\u202e\u2066\nForged: Completed"
SHOWN = "paid\\x1b]0;owned\\x07\\x1b[2K\\r\\x9b1A\\u202e\\u2066\\nForged: Completed"


def reject(order: Order) -> None:
    """A handler that rejects, or fails."""
    if order.order_id == "o-1":
        raise Reject(HOSTILE)
    raise ValueError(HOSTILE)


@pytest.mark.parametrize(("order_id", "error"), [("o-1", "rejected: "), ("o-2", "ValueError: ")])
def test_an_error_of_a_handler_is_stored_as_it_can_be_shown(
    start_engine: Callable[..., OrderEngine], order_id: str, error: str
) -> None:
    engine = start_engine(reject, max_attempts=1)

    engine.submit(make_order(order_id)).wait(timeout=60)

    assert engine.order(order_id).last_error == error + SHOWN
    assert engine.history(order_id)[-1].reason.startswith(error + SHOWN)


@pytest.mark.parametrize("arguments", [("status", "o-1"), ("list",)])
@pytest.mark.sqlite
def test_what_an_older_database_holds_is_shown_and_does_nothing(
    start_engine: Callable[..., OrderEngine], database: Path, run: Run, arguments: tuple[str, ...]
) -> None:
    engine = start_engine(reject)
    engine.submit(make_order("o-1")).wait(timeout=60)
    engine.stop()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE orders SET last_error = ?", (HOSTILE,))
        connection.execute("UPDATE transitions SET reason = ? WHERE to_status = 'Failed'", (HOSTILE,))

    done = run(*arguments, "--db", str(database))

    assert SHOWN.partition("\\n")[0] in done.out
    assert all(line.isprintable() for line in done.out.split("\n"))
    assert not [line for line in done.out.split("\n") if line.startswith("Forged")]


def test_the_word_of_a_server_is_shown_and_does_nothing(client: Client, run: Run) -> None:
    refusal = run("status", "x\x1b[2K\ny", "--url", client.server.url).err

    assert "\\x1b[2K" in refusal
    assert refusal.removesuffix("\n").isprintable()


def test_titles_and_styled_lines_are_shown_likewise(capsys: pytest.CaptureFixture[str]) -> None:
    out.print(HOSTILE, style="red", highlight=False, soft_wrap=True)

    assert capsys.readouterr().out == SHOWN.replace("\\n", "\n    ") + "\n"
