"""What the engine logs may fail in a handler of the program's, and that is all that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ordermill.engine import OrderEngine, OrderStatus, StoreUnavailable
from ordermill.engine import logger as logger_module
from ordermill.engine.logger import EngineLogger
from ordermill.engine.testing import make_order
from ordermill.store.ledger import Ledger


class BrokenHandler(logging.Handler):
    """A handler that raises, as no handler should."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def handle(self, record: logging.LogRecord) -> bool:  # noqa: ARG002  # logging's
        raise self._error


@pytest.fixture
def break_logs() -> Iterator[Callable[[BaseException], None]]:
    """Makes every line that is logged raise an error."""
    log = logging.getLogger("ordermill")
    before = log.level

    def install(error: BaseException) -> None:
        log.addHandler(BrokenHandler(error))
        log.setLevel(logging.DEBUG)

    yield install
    log.setLevel(before)
    log.handlers.clear()


def test_an_error_of_a_handler_is_shown_and_not_raised(
    break_logs: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    break_logs(ValueError("broken handler"))

    EngineLogger("ordermill.engine.test").warning("anything")

    assert "ValueError: broken handler" in capsys.readouterr().err


def test_a_line_names_where_it_was_logged(caplog: pytest.LogCaptureFixture) -> None:
    EngineLogger("ordermill.engine.test").warning("%d orders", 3, extra={"order_id": "o-1"})

    (record,) = caplog.records
    assert (record.name, record.getMessage(), record.funcName) == (
        "ordermill.engine.test",
        "3 orders",
        "test_a_line_names_where_it_was_logged",
    )
    assert record.__dict__["order_id"] == "o-1"


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3)], ids=["error", "exit"])
def test_an_engine_whose_log_cannot_be_written_does_all_its_work(
    start_engine: Callable[..., OrderEngine],
    break_logs: Callable[[BaseException], None],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    record = Ledger.record
    faults: list[BaseException] = [RuntimeError("a bug"), StoreUnavailable(OSError("disk full"))]

    def record_sometimes(self: Ledger, orders: Any, moves: Any, *more: Any) -> Any:
        if moves and faults:
            raise faults.pop()
        return record(self, orders, moves, *more)

    monkeypatch.setattr(Ledger, "record", record_sometimes)
    handled: list[str] = []
    engine = start_engine(lambda order: handled.append(order.order_id))
    break_logs(error)

    receipts = engine.submit_many(make_order(f"o-{number}") for number in range(20))

    assert [receipt.wait(timeout=60) for receipt in receipts] == [OrderStatus.COMPLETED] * 20
    assert sorted(handled) == sorted(receipt.order_id for receipt in receipts)
    engine.stop()


def test_what_goes_wrong_all_the_time_is_logged_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(logger_module.time, "monotonic", lambda: now)
    log = EngineLogger("ordermill.engine.test")
    for now in (1000.0, 1000.1, 1059.9, 1060.0, 1119.0):
        log.log_seldom(logging.ERROR, "it fails: %s", now)
        log.log_seldom(logging.ERROR, "something else fails")

    assert [record.getMessage() for record in caplog.records] == [
        "it fails: 1000.0",
        "something else fails",
        "it fails: 1060.0",
        "something else fails",
    ]
