"""Lines of the log, as text and as JSON."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from ordermill.http.cli.logs import LogFormat, LogLevel, configure, formatter


def record(message: str = "moved", *, error: BaseException | None = None, **extra: object) -> logging.LogRecord:
    """An event that is logged."""
    info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("ordermill.http", logging.INFO, "file.py", 1, message, None, info)
    made.__dict__.update(extra)
    return made


def test_a_line_of_text_ends_with_what_it_is_about() -> None:
    line = formatter(LogFormat.TEXT).format(record(request_id="r-1", order_id="o-1", attempt=2, key_id=None))

    assert line.endswith(" INFO ordermill.http: moved [request_id=r-1 order_id=o-1 attempt=2]")


def test_a_line_of_text_about_nothing_ends_with_its_message() -> None:
    assert formatter(LogFormat.TEXT).format(record(order_id="")).endswith(" INFO ordermill.http: moved")


def test_a_line_of_json_has_a_member_for_each_thing() -> None:
    line = json.loads(formatter(LogFormat.JSON).format(record("a\nb", request_id="r-1", order_id="o-1", attempt=2)))

    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "ordermill.http",
        "message": "a\nb",
        "request_id": "r-1",
        "order_id": "o-1",
        "attempt": 2,
    }


def test_a_traceback_is_in_the_same_line_of_json() -> None:
    try:
        raise ZeroDivisionError("unexpected")
    except ZeroDivisionError as error:
        line = formatter(LogFormat.JSON).format(record(error=error))

    assert line.count("\n") == 0
    assert "ZeroDivisionError: unexpected" in json.loads(line)["exc_info"]


HOSTILE = "x\n2026-11-27 00:00:00,000 ERROR ordermill.store: forged\x1b[2K\r\x9b1A\u202e\u2028"


def test_nothing_in_a_line_of_text_forges_another_one_or_moves_the_cursor() -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError as caught:
        error = caught

    written = formatter(LogFormat.TEXT).format(record(HOSTILE, error=error, order_id=HOSTILE, request_id=HOSTILE))

    first, *others = written.split("\n")
    assert len([line for line in others if line.strip()]) >= 3
    assert all(line.startswith("    ") for line in others)
    assert all(line.isprintable() for line in (first, *others))


def test_nothing_in_a_line_of_json_moves_the_cursor_and_all_of_it_is_read_as_it_was() -> None:
    written = formatter(LogFormat.JSON).format(record(HOSTILE, order_id=HOSTILE))

    assert written.isprintable()
    assert (json.loads(written)["message"], json.loads(written)["order_id"]) == (HOSTILE, HOSTILE)


def test_lines_go_to_standard_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.Logger("root")
    monkeypatch.setattr(logging, "root", root)
    configure(LogLevel.INFO, LogFormat.JSON)

    root.info("hello", extra={"request_id": "r-1"})

    assert json.loads(capsys.readouterr().err)["request_id"] == "r-1"
    assert root.handlers[0].stream is sys.stderr  # type: ignore[attr-defined]  # a StreamHandler


@pytest.mark.parametrize(("level", "ours", "others"), [("debug", 10, 20), ("info", 20, 20), ("error", 40, 40)])
def test_other_packages_never_log_for_debugging(
    monkeypatch: pytest.MonkeyPatch, level: str, ours: int, others: int
) -> None:
    root = logging.Logger("root")
    monkeypatch.setattr(logging, "root", root)

    configure(LogLevel(level))

    assert logging.getLogger("ordermill.engine.transitions").getEffectiveLevel() == ours
    assert root.getEffectiveLevel() == others
